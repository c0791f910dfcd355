"""What two parts of a split have in common: items, exactly or nearly, and classes.

What a test part says of items that training saw is partly recall. Exact ones are found among all items;
nearly equal ones among at most 20,000 of the training part and 5,000 of each other part, drawn by chance:
in a few seconds, whatever their number. Nothing is removed. No Keras here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from siamkit.data._sketches import Sketch, plainly, sketch_of
from siamkit.data.dataset import Array, Dataset, Leaf, take

MOST = {"train": 20_000, "valid": 5_000, "test": 5_000}
EXAMPLES = 5
BLOCK = 2**22  # distances, or numbers of items, held at once
WIDEST = 2**24  # numbers of the items that the scale of all is told from


def find_overlap(parts: Mapping[str, Dataset], most: Mapping[str, int] = MOST) -> dict[str, Any]:
    """What parts of a split have in common.

    Of pairs it is their items that are looked at, on both sides: a pair counts where one of its two
    items is in the other part, in whatever pair.

    Args:
        parts: `train`, `valid` and `test`, as read.
        most: how many items of each are looked at for nearly equal ones.

    Returns:
        Plain data: `looked_at`, how many of each part; and `between`, for each two parts how many of the
        second's items are `exact` in the first, or else `near` one there, of pairs how many are there
        `whole`, and `examples`, some `[id in the first, id in the second, exact or near]`. Of labels also
        `classes`, of each part, and `seen`: how many of its classes are in the training part.

    Example:
        >>> import numpy as np
        >>> from siamkit.data import Dataset
        >>> from siamkit.data import find_overlap
        >>> x, y = np.random.default_rng(0).normal(size=(40, 5)), np.arange(40) % 2
        >>> whole = Dataset((np.concatenate([x, x[:3]]),), np.r_[y, y[:3]], "labels", "vector")
        >>> rows = {"train": np.arange(20), "valid": np.arange(20, 30), "test": np.arange(30, 43)}
        >>> found = find_overlap({part: whole.take(each) for part, each in rows.items()})
        >>> [(each["parts"], each["exact"]) for each in found["between"]]
        [(['train', 'valid'], 0), (['train', 'test'], 3), (['valid', 'test'], 0)]
    """
    train = next(iter(parts.values()))
    sample = _sample(len(train), min(most.get("train", len(train)), WIDEST // _size(train.views[0]) + 10))
    sketch = sketch_of(train.input, take(train.views[0], sample))
    looked = {name: _Looked.of(part, sketch, most.get(name, len(part))) for name, part in parts.items()}
    between = [_between(a, b, looked[a], looked[b], sketch) for a, b in combinations(parts, 2)]
    record = {"looked_at": {name: len(each.some) for name, each in looked.items()}, "between": between}
    if train.supervision == "labels":
        record["classes"] = {name: len(part.classes) for name, part in parts.items()}
        record["seen"] = {
            name: int(np.isin(part.classes, train.classes).sum()) for name, part in parts.items()
        }
    return record


@dataclass(frozen=True)
class _Looked:
    """A part: of all rows a digest of the item in each view, of some what describes it."""

    part: Dataset
    digests: list[list[bytes]]
    some: Array  # rows
    sketches: list[Array]

    @classmethod
    def of(cls, part: Dataset, sketch: Sketch, most: int) -> _Looked:
        some = _sample(len(part), most)
        return cls(
            part,
            [_digests(view, part.input) for view in part.views],
            some,
            [_by_portions(sketch, view, some) for view in part.views],
        )


def _between(first: str, second: str, a: _Looked, b: _Looked, sketch: Sketch) -> dict[str, Any]:
    exact = _exact(a, b)
    near = {row: other for row, other in _near(a, b, sketch).items() if row not in exact}
    found: dict[str, Any] = {"parts": [first, second], "exact": len(exact), "near": len(near)}
    if len(b.digests) > 1:
        there = {frozenset(each) for each in zip(*a.digests, strict=True)}
        found["whole"] = sum(frozenset(each) in there for each in zip(*b.digests, strict=True))
    some = [(row, other, "exact") for row, other in sorted(exact.items())[:EXAMPLES]]
    some += [(row, other, "near") for row, other in sorted(near.items())[: EXAMPLES - len(some)]]
    found["examples"] = [[str(a.part.ids[other]), str(b.part.ids[row]), how] for row, other, how in some]
    return found


def _exact(a: _Looked, b: _Looked) -> dict[int, int]:
    """Rows of b, each with a row of a, that hold the same item in whichever view."""
    place = {digest: row for view in a.digests for row, digest in enumerate(view)}
    return {row: place[digest] for view in b.digests for row, digest in enumerate(view) if digest in place}


def _near(a: _Looked, b: _Looked, sketch: Sketch) -> dict[int, int]:
    """The same for items that are nearly equal."""
    found: dict[int, int] = {}
    for here, described in zip(b.part.views, b.sketches, strict=True):
        for there, others in zip(a.part.views, a.sketches, strict=True):
            nearest = _nearest(described, others)
            step = _step(here)
            for start in range(0, len(nearest), step):
                mine, its = b.some[start : start + step], a.some[nearest[start : start + step]]
                same = sketch.same(take(there, its), take(here, mine))
                found |= {int(row): int(other) for row, other in zip(mine[same], its[same], strict=True)}
    return found


def _nearest(rows: Array, among: Array) -> Array:
    """`(n,)` the nearest of `among` to each row, by Euclid, in blocks."""
    squares = (among**2).sum(axis=1) / 2
    step = max(1, BLOCK // len(among))
    blocks = (rows[start : start + step] @ among.T - squares for start in range(0, len(rows), step))
    return np.concatenate([block.argmax(axis=1) for block in blocks])


def _sample(count: int, most: int) -> Array:
    """Rows by chance, in order."""
    return np.sort(np.random.default_rng(0).permutation(count)[:most])


def _by_portions(sketch: Sketch, leaf: Leaf, rows: Array) -> Array:
    step = _step(leaf)
    portions = (rows[start : start + step] for start in range(0, len(rows), step))
    return np.concatenate([sketch.rows(take(leaf, each)) for each in portions])


def _step(leaf: Leaf) -> int:
    """How many items make a portion."""
    return max(1, min(4096, BLOCK // _size(leaf)))


def _size(leaf: Leaf) -> int:
    """How many numbers or texts an item has."""
    fields = leaf.values() if isinstance(leaf, dict) else [leaf]
    return int(max(1, sum(values[:1].size for values in fields)))


def _digests(leaf: Leaf, kind: str) -> list[bytes]:
    """What stands for each item: the same for equal ones, of texts whatever their dress."""
    if kind == "text":
        return [_digest(text.encode("utf-8", "surrogatepass")) for text in plainly(leaf)]
    columns = [values for _, values in sorted(leaf.items())] if isinstance(leaf, dict) else [leaf]
    return [_digest(b"\0".join(row)) for row in zip(*map(_bytes, columns), strict=True)]


def _bytes(values: Array) -> list[bytes]:
    if values.dtype.kind in "biuf":
        return [np.ascontiguousarray(item).tobytes() for item in values]
    return [repr(item if isinstance(item, str) else str(item)).encode() for item in values]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
