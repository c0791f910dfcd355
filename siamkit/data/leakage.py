"""Overlap between the parts of a split: identical items, nearly identical items, and classes.

If test items were seen in training, their score measures memorization in part. Identical items are searched
among all items; nearly identical items among at most 20,000 items of the training part and 5,000 of each
other part, drawn at random, so that the search takes a few seconds at any size. Nothing is removed. No Keras
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any

import numpy as np

from siamkit.data._sketches import Sketch, item_digests, sketch_of
from siamkit.data.dataset import Array, Dataset, Leaf, take
from siamkit.data.splits import PARTS, SIDES, item_groups

MAX_ITEMS = {"train": 20_000, "valid": 5_000, "test": 5_000}
MAX_EXAMPLES = 5
MAX_WORDS = 60  # letters that describe an item
MAX_BLOCK_VALUES = 2**22  # distances, or numbers of items, in memory at once
MAX_FIT_VALUES = 2**24  # numbers of the training items that the sketch is fitted on


def find_overlap(parts: Mapping[str, Dataset], max_items: Mapping[str, int] = MAX_ITEMS) -> dict[str, Any]:
    """Return what the parts of a split have in common.

    For pairs, both sides are searched: a pair overlaps if one of its two items is in any pair of the other
    part.

    Args:
        parts: `train`, `valid` and `test`, as read.
        max_items: the maximum number of items of each part among which nearly identical ones are searched.

    Returns:
        JSON data: `looked_at`, the number of items of each part that were searched; and `between`, which has
        for each two parts the number of items of the second part that are `exact` copies of an item in the
        first, or else `near` one, `examples`, a list of `[id in the first, id in the second, exact or
        near]`, and `items`, the contents of these examples in words. For pairs, `between` also has the number
        that are in the first part as a `whole`, and the number with an item that is `crossed`, on the other
        side of a pair in the first part; and `largest` has the fraction of the pairs in the largest group of
        pairs with the same `left` item, with the same `right` item, or linked by items (`components`). For
        labels also `classes`, the number of classes in each part, and `seen`, the number of these that are in
        the training part.

    Example:
        >>> import numpy as np
        >>> from siamkit.data import Dataset, find_overlap
        >>> x, y = np.random.default_rng(0).normal(size=(40, 5)), np.arange(40) % 2
        >>> data = Dataset((np.concatenate([x, x[:3]]),), np.r_[y, y[:3]], "labels", "vector")
        >>> rows = {"train": np.arange(20), "valid": np.arange(20, 30), "test": np.arange(30, 43)}
        >>> overlap = find_overlap({part: data.take(indices) for part, indices in rows.items()})
        >>> [(between["parts"], between["exact"]) for between in overlap["between"]]
        [(['train', 'valid'], 0), (['train', 'test'], 3), (['valid', 'test'], 0)]
    """
    train = next(iter(parts.values()))
    fit_items = MAX_FIT_VALUES // _values_per_item(train.views[0]) + 10
    rows = _sample(len(train), min(max_items.get("train", len(train)), fit_items))
    sketch = sketch_of(train.input, take(train.views[0], rows))
    described = {
        name: _DescribedPart.of(part, sketch, max_items.get(name, len(part))) for name, part in parts.items()
    }
    overlap: dict[str, Any] = {
        "looked_at": {name: len(part.rows) for name, part in described.items()},
        "between": [
            {"parts": [first, second], **_between(described[first], described[second], sketch)}
            for first, second in combinations(parts, 2)
        ],
    }
    digests = [
        list(chain(*(part.digests[view] for part in described.values()))) for view in range(len(train.views))
    ]
    overlap["largest"] = {"components": _largest(item_groups(digests))}
    if len(digests) == len(SIDES):
        overlap["largest"] |= {side: _largest(item_groups(digests, {"side": side})) for side in SIDES}
    if train.supervision == "labels":
        overlap["classes"] = {name: len(part.classes) for name, part in parts.items()}
        overlap["seen"] = {
            name: int(np.isin(part.classes, train.classes).sum()) for name, part in parts.items()
        }
    return overlap


def _largest(groups: Array) -> float:
    """Return the fraction of the rows in the largest group; 1 if there are too few groups for three parts."""
    sizes = np.bincount(groups)
    return float(sizes.max() / len(groups)) if len(sizes) >= len(PARTS) else 1.0


@dataclass(frozen=True)
class _Match:
    """An item of the second part, and the row of the first part that has it, exactly or nearly."""

    row: int
    view: int
    match: int
    how: str


@dataclass(frozen=True)
class _DescribedPart:
    """A part of the split, with digests of all its items and sketches of a sample.

    Args:
        part: the items of this part.
        digests: for each view, one digest per item.
        rows: the items that have sketches.
        sketches: for each view, `(rows, d)`.
    """

    part: Dataset
    digests: list[list[bytes]]
    rows: Array
    sketches: list[Array]

    @classmethod
    def of(cls, part: Dataset, sketch: Sketch, max_items: int) -> _DescribedPart:
        rows = _sample(len(part), max_items)
        return cls(
            part,
            [item_digests(view, part.input) for view in part.views],
            rows,
            [_sketches(sketch, view, rows) for view in part.views],
        )


def _between(a: _DescribedPart, b: _DescribedPart, sketch: Sketch) -> dict[str, Any]:
    exact = _exact_matches(a, b)
    near = {row: match for row, match in _near_matches(a, b, sketch).items() if row not in exact}
    between: dict[str, Any] = {"exact": len(exact), "near": len(near)}
    if len(b.digests) > 1:
        pairs = {frozenset(pair) for pair in zip(*a.digests, strict=True)}
        between["whole"] = sum(frozenset(pair) in pairs for pair in zip(*b.digests, strict=True))
    if len(b.digests) == len(SIDES):
        sides = [set(digests) for digests in a.digests]
        between["crossed"] = sum(
            left in sides[1] or right in sides[0] for left, right in zip(*b.digests, strict=True)
        )
    examples = [match for _, match in [*sorted(exact.items()), *sorted(near.items())]][:MAX_EXAMPLES]
    between["examples"] = [
        [str(a.part.ids[each.match]), str(b.part.ids[each.row]), each.how] for each in examples
    ]
    contents = [describe_item(b.part.views[each.view], each.row, b.part.input) for each in examples]
    between["items"] = list(dict.fromkeys(content for content in contents if content is not None))
    return between


def describe_item(leaf: Leaf, row: int, kind: str) -> str | None:
    """Return the content of an item in a few words; None if it is not words or a few numbers.

    Example:
        >>> import numpy as np
        >>> describe_item(np.array(["red hat"]), 0, "text")
        "'red hat'"
    """
    if isinstance(leaf, dict):
        cells = {name: values[row] for name, values in leaf.items() if values.ndim == 1}
        words = ", ".join(f"{name} {value}" for name, value in cells.items())
    elif kind == "text":
        words = repr(" ".join(str(leaf[row]).split()))
    elif kind == "tokens":
        words = "tokens " + " ".join(map(str, np.trim_zeros(leaf[row], "b")))
    elif kind == "vector":
        words = "numbers " + " ".join(f"{value:g}" for value in leaf[row])
    else:
        return None
    return (words if len(words) <= MAX_WORDS else words[: MAX_WORDS - 1] + "…") or None


def _exact_matches(a: _DescribedPart, b: _DescribedPart) -> dict[int, _Match]:
    """Return for rows of b a row of a with the same item in any view."""
    row_of = {digest: row for view in a.digests for row, digest in enumerate(view)}
    return {
        row: _Match(row, view, row_of[digest], "exact")
        for view, digests in enumerate(b.digests)
        for row, digest in enumerate(digests)
        if digest in row_of
    }


def _near_matches(a: _DescribedPart, b: _DescribedPart, sketch: Sketch) -> dict[int, _Match]:
    """Return for rows of b a row of a with a nearly identical item in any view."""
    matches: dict[int, _Match] = {}
    for view, (b_view, b_sketches) in enumerate(zip(b.part.views, b.sketches, strict=True)):
        for a_view, a_sketches in zip(a.part.views, a.sketches, strict=True):
            nearest = _nearest(b_sketches, a_sketches)
            step = _items_per_block(b_view)
            for start in range(0, len(nearest), step):
                b_rows, a_rows = b.rows[start : start + step], a.rows[nearest[start : start + step]]
                same = sketch.same(take(a_view, a_rows), take(b_view, b_rows))
                found = zip(b_rows[same], a_rows[same], strict=True)
                matches |= {int(i): _Match(int(i), view, int(j), "near") for i, j in found}
    return matches


def _nearest(rows: Array, candidates: Array) -> Array:
    """Return the nearest candidate of each row, `(n,)`, by Euclidean distance, computed in blocks."""
    squares = (candidates**2).sum(axis=1) / 2
    step = max(1, MAX_BLOCK_VALUES // len(candidates))
    blocks = (rows[start : start + step] @ candidates.T - squares for start in range(0, len(rows), step))
    return np.concatenate([block.argmax(axis=1) for block in blocks])


def _sample(count: int, maximum: int) -> Array:
    """Return random rows in ascending order."""
    return np.sort(np.random.default_rng(0).permutation(count)[:maximum])


def _sketches(sketch: Sketch, leaf: Leaf, rows: Array) -> Array:
    step = _items_per_block(leaf)
    blocks = (rows[start : start + step] for start in range(0, len(rows), step))
    return np.concatenate([sketch.rows(take(leaf, block)) for block in blocks])


def _items_per_block(leaf: Leaf) -> int:
    return max(1, min(4096, MAX_BLOCK_VALUES // _values_per_item(leaf)))


def _values_per_item(leaf: Leaf) -> int:
    fields = leaf.values() if isinstance(leaf, dict) else [leaf]
    return int(max(1, sum(values[:1].size for values in fields)))
