"""Splits into train, valid and test: by item, class, column, side of pairs, or components of shared items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamkit.data._sketches import item_digests
from siamkit.data.dataset import Array, Dataset
from siamkit.errors import DataError, nearest

PARTS = ("train", "valid", "test")

SIDES = ("left", "right")

By = str | Mapping[str, str]
"""The rule of a split: `item`, `class`, `components`, a column, or `{"side": "left"}` or `"right"`."""

Share = float | Sequence[Any]
"""The size of a part: a fraction, or a list of classes or of a column's values."""


@dataclass(frozen=True, eq=False)
class Split:
    """The items of each part of a split.

    Args:
        train: `(n_train,)` indices of the items to train on, sorted.
        valid: `(n_valid,)` indices of the items to select by.
        test: `(n_test,)` indices of the items to report on.
        record: the split's arguments and result, as JSON data: `by` in words, `seed`, `shares`, `limit`,
            `counts`, if it is by class or column the `values` of each part, and if it is by side or
            components the number of `groups` in each part; with folds the classes of each, as `folds`.
        folds: with folds, the sorted indices of the items of each, `(n_fold,)`; `valid` is the first, and
            `train` are the others.
    """

    train: Array
    valid: Array
    test: Array
    record: dict[str, Any]
    folds: tuple[Array, ...] = ()


def split(
    dataset: Dataset,
    *,
    by: By = "item",
    train: Share = 0.6,
    valid: Share = 0.2,
    test: Share = 0.2,
    seed: int = 0,
    limit: Mapping[str, int] | None = None,
    folds: int | None = None,
) -> Split:
    """Split a dataset; the same dataset and arguments always give the same split.

    Args:
        dataset: the items.
        by: the rule of the split. `item`: at random, stratified by class (or by the target of pairs).
            `class`: each class in one part only, so that valid and test hold classes never seen in training.
            `{"side": "left"}` or `{"side": "right"}`: each item of that side of the pairs in one part only.
            `components`: each item in one part only, whatever its side; pairs that share an item, directly or
            through other pairs, are in one part. Otherwise the name of a column: each of its values in one
            part only; a column that holds only "train", "valid" and "test" names the parts itself.
        train, valid, test: fractions of the items, classes or values; for a split by class or column also
            lists of classes or values, compared as texts. A part of a split by side or components has at
            most as many items more than its fraction as the largest group has items.
        seed: random seed.
        limit: the maximum number of items of a part; the selected items are also stratified.
        folds: the number of folds, for a split by class: all classes but those of test are divided into so
            many folds of about as many classes. A model is trained on all folds but one, its validation split
            (`train` and `valid` are not used). The protocol is that of Musgrave, Belongie & Lim
            2020, "A Metric Learning Reality Check".

    Raises:
        DataError: a part would be empty, or an argument names something that does not exist.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise DataError(f"seed should be a whole number from 0, got {seed!r}")
    if folds is not None:
        return _by_fold(dataset, by, test, folds, int(seed), _limits(limit))
    shares = dict(zip(PARTS, (train, valid, test), strict=True))
    limits = _limits(limit)
    rng = np.random.default_rng(int(seed))
    rule = by_in_words(by)
    details: dict[str, Any] = {}
    if by == "item":
        parts = _by_item(dataset, _fractions(shares, "item"), rng)
    elif by == "components" or not isinstance(by, str):
        if not isinstance(by, str) and len(dataset.views) != len(SIDES):
            raise DataError(f"only pairs have a {rule}, these are {dataset.supervision}; {_offered(dataset)}")
        groups = item_groups([item_digests(view, dataset.input) for view in dataset.views], by)
        parts = _by_group(groups, rule, _fractions(shares, "item"), rng)
        details["groups"] = {part: len(np.unique(groups[indices])) for part, indices in parts.items()}
    else:
        parts, details["values"] = _by_value(_column(dataset, by), by, shares, rng)
    strata = _strata(dataset)
    for part, indices in parts.items():
        if not len(indices):
            raise DataError(f"the {part} part is empty: splitting by {rule} leaves no item for it")
        parts[part] = _limited(indices, limits.get(part), strata, rng)
    record: dict[str, Any] = {"by": rule, "seed": int(seed), "shares": _as_json(shares), "limit": limits}
    record["counts"] = {part: len(indices) for part, indices in parts.items()}
    return Split(parts["train"], parts["valid"], parts["test"], record | details)


def _by_fold(dataset: Dataset, by: By, test: Share, folds: int, seed: int, limits: dict[str, int]) -> Split:
    """Split by class into folds and a test part."""
    if by != "class":
        raise DataError(f"folds divide classes, so they need by: class, got by: {by_in_words(by)}")
    if dataset.supervision != "labels":
        raise DataError(f"folds divide the classes of labelled data, these are {dataset.supervision}")
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 2:
        raise DataError(f"folds should be a whole number from 2, got {folds!r}")
    if "train" in limits:
        raise DataError("folds have no limit of train: limit valid, which is the limit of each fold")
    rng = np.random.default_rng(seed)
    column = _column(dataset, by)
    classes, codes = np.unique(column, return_inverse=True)
    names = [str(value) for value in classes]
    if isinstance(test, (int, float)):
        (share,) = _fractions({"test": test}, by)
        tested = rng.permutation(len(names))[: max(1, round(share * len(names)))]
    else:
        tested = np.array([names.index(name) for name in _listed_values({"test": test}, by, names)["test"]])
    rest = rng.permutation(np.setdiff1d(np.arange(len(names)), tested))
    if len(rest) < 2 * folds:
        raise DataError(
            f"{folds} folds need 2 classes each: {2 * folds} that are not in test, got {len(rest)}"
        )
    groups = [*np.array_split(rest, folds), tested]
    strata, parts = _strata(dataset), []
    for number, group in enumerate(groups):
        rows = np.flatnonzero(np.isin(codes, group))
        parts.append(_limited(rows, limits.get("valid" if number < folds else "test"), strata, rng))
    train = np.sort(np.concatenate(parts[1:folds]))
    chosen = [[names[code] for code in sorted(group)] for group in (*groups, np.concatenate(groups[1:folds]))]
    values = {"train": chosen[-1], "valid": chosen[0], "test": chosen[folds]}
    record = {
        "by": "class",
        "seed": seed,
        "shares": _as_json({"test": test}),
        "limit": limits,
        "counts": {"train": len(train), "valid": len(parts[0]), "test": len(parts[-1])},
        "values": values,
        "folds": chosen[:folds],
    }
    return Split(train, parts[0], parts[-1], record, tuple(parts[:-1]))


def _limited(rows: Array, limit: int | None, strata: Array, rng: np.random.Generator) -> Array:
    """Return at most `limit` of these rows, of each stratum in proportion, sorted."""
    if limit is not None and len(rows) > limit:
        rows = rows[stratified_order(strata[rows], rng)[:limit]]
    return np.sort(rows)


def by_in_words(by: By) -> str:
    """Return the rule of a split in words: `left side` for `{"side": "left"}`, other rules unchanged.

    Raises:
        DataError: the rule is neither a name nor a side.
    """
    if isinstance(by, str):
        return by
    if not isinstance(by, Mapping) or set(by) != {"side"} or by["side"] not in SIDES:
        raise DataError(f"by should be a name, {{side: left}} or {{side: right}}, got {by!r}")
    return f"{by['side']} side"


def item_groups(digests: Sequence[Sequence[bytes]], by: By = "components") -> Array:
    """Return the group of each row, `(n,)` whole numbers from 0: rows of one group share items.

    Args:
        digests: for each side of the rows, a digest per item, equal for equal items.
        by: `{"side": "left"}` or `{"side": "right"}`: rows with the same item on this side are a group.
            `components`: rows are in one group if they share an item on any side, directly or through other
            rows (connected components).

    Example:
        >>> sides = [b"a", b"a", b"b", b"c"], [b"x", b"y", b"y", b"z"]
        >>> item_groups(sides, {"side": "left"}).tolist(), item_groups(sides, "components").tolist()
        ([0, 0, 1, 2], [0, 0, 0, 1])
    """
    if not isinstance(by, str):
        names = np.array(digests[SIDES.index(by["side"])], dtype=object)
        return np.unique(names, return_inverse=True)[1]
    from scipy.sparse import coo_array  # late: slow to import
    from scipy.sparse.csgraph import connected_components

    n = len(digests[0])
    names = np.array([digest for side in digests for digest in side], dtype=object)
    # The nodes of the graph are rows (0 to n - 1) and items (from n); each row is linked to its items.
    items = n + np.unique(names, return_inverse=True)[1].ravel()
    rows, size = np.tile(np.arange(n), len(digests)), int(items.max()) + 1
    links = coo_array((np.ones(len(items), np.int8), (rows, items)), shape=(size, size))
    component: Array = connected_components(links, directed=False)[1][:n]
    return np.unique(component, return_inverse=True)[1]


def _by_group(
    groups: Array, rule: str, fractions: Sequence[float], rng: np.random.Generator
) -> dict[str, Array]:
    """Split such that each group is in one part, and the parts have about their fractions of the items.

    The groups, the largest first, go to the part that lacks the most items. A part that lacks items gets one
    group too many at worst, so it exceeds its fraction by less than the largest group.
    """
    sizes = np.bincount(groups)
    if len(sizes) < len(PARTS):
        raise DataError(
            f"train, valid and test need at least {len(PARTS)} groups of rows that share no items, got "
            f"{len(sizes)} by {rule}: almost all rows are linked by shared items"
        )
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    lacking = np.array([*fractions, max(0.0, 1 - sum(fractions))]) * len(groups)  # the last part is left out
    part_of = np.empty(len(sizes), dtype=np.int64)
    empty = set(range(len(PARTS)))
    for done, group in enumerate(order):
        # Each part gets a group, even if its fraction is small.
        choices = list(empty) if len(empty) == len(order) - done else range(len(lacking))
        part = max(choices, key=lambda part: lacking[part])
        part_of[group] = part
        lacking[part] -= sizes[group]
        empty.discard(part)
    return {name: np.flatnonzero(part_of[groups] == part) for part, name in enumerate(PARTS)}


def rows_of_large_classes(dataset: Dataset, minimum: int) -> Array:
    """Return the rows whose class has at least `minimum` items, in their order.

    Raises:
        DataError: no class has as many.
    """
    rows = np.flatnonzero(np.bincount(dataset.codes)[dataset.codes] >= minimum)
    if not len(rows):
        raise DataError(f"every class has fewer than {minimum} items (min_items_per_class), so none is left")
    return rows


def copies_among(dataset: Dataset, parts: Sequence[Array]) -> int:
    """Count the items of all parts that are an exact copy of an item in another part.

    Args:
        dataset: the items, labelled.
        parts: the indices of the items of each part, `(n_part,)`.
    """
    digests = item_digests(dataset.views[0], dataset.input)
    parts_of: dict[bytes, set[int]] = {}
    for number, rows in enumerate(parts):
        for row in rows:
            parts_of.setdefault(digests[row], set()).add(number)
    return sum(len(parts_of[digests[row]]) > 1 for rows in parts for row in rows)


def with_large_classes(dataset: Dataset, made: Split, minimum: int) -> Split:
    """Return a split into folds whose folds have only classes with at least `minimum` items in the fold.

    Raises:
        DataError: a fold has no such class.
    """
    folds = tuple(rows[rows_of_large_classes(dataset.take(rows), minimum)] for rows in made.folds)
    train = np.sort(np.concatenate(folds[1:]))
    counts = {**made.record["counts"], "train": len(train), "valid": len(folds[0])}
    record = {**made.record, "counts": counts}
    return Split(train, folds[0], made.test, record, folds)


def labelled_rows(codes: Array, share: float, seed: int) -> Array:
    """Return the rows that keep their labels if only this share does, sorted; larger shares contain smaller.

    Args:
        codes: `(n,)` the class of each item.
        share: the share of items of each class, 0 to 1; above 0, at least 2 items of each class that has two.
        seed: random seed.
    """
    order = np.random.default_rng(seed).permutation(len(codes))
    shuffled = codes[order]
    quota = np.rint(share * np.bincount(codes))
    if share > 0:
        quota = np.maximum(quota, 2)
    return np.sort(order[rank_in_group(shuffled) < quota[shuffled]])


def rank_in_group(codes: Array) -> Array:
    """Count the earlier items in each item's group, `(n,)`: `[5, 7, 5, 5]` gives `[0, 0, 1, 2]`."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ranks = np.empty(len(codes), dtype=np.int64)
    ranks[order] = np.arange(len(codes)) - np.repeat(starts, np.diff(np.r_[starts, len(codes)]))
    return ranks


def stratified_order(codes: Array, rng: np.random.Generator) -> Array:
    """Return a random order `(n,)`, every prefix of which holds each group in proportion, within one item.

    Args:
        codes: `(n,)` the group of each item, whole numbers from 0.
        rng: random generator.
    """
    sizes = np.bincount(codes)
    order = rng.permutation(len(codes))
    shuffled = codes[order]
    # A group of s items takes the positions (r + u) / s along the order, with one u for the group.
    positions = (rank_in_group(shuffled) + rng.random(len(sizes))[shuffled]) / sizes[shuffled]
    return order[np.argsort(positions, kind="stable")]


def _by_item(dataset: Dataset, fractions: Sequence[float], rng: np.random.Generator) -> dict[str, Array]:
    ends = np.cumsum(_counts(len(dataset), fractions, "items"))
    return dict(zip(PARTS, np.split(stratified_order(_strata(dataset), rng), ends), strict=False))


def _by_value(
    column: Array, by: str, shares: Mapping[str, Share], rng: np.random.Generator
) -> tuple[dict[str, Array], dict[str, list[str]]]:
    raw, codes = np.unique(column, return_inverse=True)
    names = [str(value) for value in raw]
    if not all(isinstance(share, (int, float)) for share in shares.values()):
        chosen = _listed_values(shares, by, names)
    elif by != "class" and set(names) <= set(PARTS):
        chosen = {part: [part] if part in names else [] for part in PARTS}
    else:
        what = "classes" if by == "class" else f"values of {by!r}"
        ends = np.cumsum(_counts(len(names), _fractions(shares, by), what))
        drawn = np.split(rng.permutation(len(names)), ends)
        in_order = [[names[code] for code in sorted(part)] for part in drawn]
        chosen = dict(zip(PARTS, in_order, strict=False))
    named = np.array(names)[codes]
    return {part: np.flatnonzero(np.isin(named, values)) for part, values in chosen.items()}, chosen


def _column(dataset: Dataset, by: str) -> Array:
    if by == "class" and dataset.supervision == "labels":
        return np.asarray(dataset.classes[dataset.codes])
    if by in dataset.columns:
        return dataset.columns[by]
    if by == "class":
        raise DataError(
            f"only labelled data have classes, these are {dataset.supervision}; {_offered(dataset)}"
        )
    raise DataError(f"no column {by!r} to split by; {_offered(dataset, by)}")


def _offered(dataset: Dataset, by: str = "") -> str:
    """Return what the dataset can be split by, as the end of a message."""
    rules = ["item", *(["class"] if dataset.supervision == "labels" else []), "components"]
    sides = " For pairs also {side: left} or {side: right}." if len(dataset.views) == len(SIDES) else ""
    return nearest(by, [*rules, *dataset.columns]) + sides


def _listed_values(shares: Mapping[str, Share], by: str, names: Sequence[str]) -> dict[str, list[str]]:
    what = "class" if by == "class" else f"value of {by!r}"
    part_of: dict[str, str] = {}
    for part, share in shares.items():
        if isinstance(share, (int, float, str)):
            raise DataError(f"{part} should be a list as the other parts are, got {share!r}")
        for name in map(str, share):
            if name not in names:
                raise DataError(f"no {what} is {name!r}; {nearest(name, names)}")
            if part_of.setdefault(name, part) != part:
                raise DataError(
                    f"{what} {name!r} should be in one part, got it in {part_of[name]} and {part}"
                )
    return {part: [name for name in names if part_of.get(name) == part] for part in shares}


def _fractions(shares: Mapping[str, Share], by: str) -> list[float]:
    fractions = []
    for part, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
            lists = "" if by == "item" else " or a list"
            raise DataError(f"{part} should be a fraction above 0 and up to 1{lists}, got {share!r}")
        fractions.append(float(share))
    if sum(fractions) > 1 + 1e-6:
        raise DataError(f"train, valid and test should sum to at most 1, got {sum(fractions):g}")
    return fractions


def _counts(n: int, fractions: Sequence[float], what: str) -> Array:
    """Return the number of items of n for each part: as close to its fraction as possible, and at least 1."""
    if n < len(PARTS):
        raise DataError(f"train, valid and test need at least {len(PARTS)} {what}, got {n}")
    exact = n * np.array(fractions)
    total = max(len(PARTS), round(exact.sum()))
    counts: Array = np.maximum(1, np.floor(exact)).astype(int)
    while counts.sum() != total:
        step = int(np.sign(total - counts.sum()))
        # Change the part that is furthest from its exact fraction; no part falls below 1.
        gap = np.where(counts + step > 0, step * (exact - counts), -np.inf)
        counts[np.argmax(gap)] += step
    return counts


def _strata(dataset: Dataset) -> Array:
    if dataset.supervision == "labels":
        return dataset.codes
    if dataset.supervision == "pairs" and dataset.target is not None:
        return np.asarray(dataset.target)
    return np.zeros(len(dataset), dtype=np.int32)


def _limits(limit: Mapping[str, int] | None) -> dict[str, int]:
    for part, maximum in (limit or {}).items():
        if part not in PARTS:
            raise DataError(f"no part {part!r} to limit; {nearest(part, PARTS)}")
        if isinstance(maximum, bool) or not isinstance(maximum, int) or maximum < 1:
            raise DataError(f"the limit of {part} should be a whole number from 1, got {maximum!r}")
    return dict(limit or {})


def _as_json(shares: Mapping[str, Share]) -> dict[str, Any]:
    return {
        part: share if isinstance(share, (int, float)) else [str(value) for value in share]
        for part, share in shares.items()
    }


# ------------------------------------------------------------------ which split is possible

MIN_CLASSES = 20  # for a split by class: 4 in validation and 4 in test
MIN_ITEMS = 10  # of a class, for a split by item: 2 in validation and 2 in test
MAX_LARGEST = 0.5  # share of the pairs in the largest group of a split by groups


@dataclass(frozen=True)
class SplitOption:
    """A rule to split by: what to write as `by`, whether it is possible, and why it is sensible or not."""

    by: By
    is_possible: bool
    reason: str


def options_for_labels(sizes: Sequence[int], part: str = "", group: str = "") -> list[SplitOption]:
    """Return the rules to split labelled items by, the sensible one first.

    Args:
        sizes: the number of items of each class.
        part: the column that names the parts, if there is one.
        group: the column whose values should stay together, if there is one.

    Example:
        >>> options_for_labels([25] * 12)[0].by, options_for_labels([25] * 40)[0].by
        ('item', 'class')
    """
    count, median = len(sizes), float(np.median(sizes))
    many = count >= MIN_CLASSES
    tiny = median < MIN_ITEMS and count >= MIN_CLASSES // 2
    by_class = SplitOption(
        "class",
        count >= len(PARTS),
        f"{count} classes are enough to evaluate on classes that were not trained"
        if many
        else f"classes of {median:g} items are too small to be split, so each is in one part"
        if tiny
        else f"{count} classes are few to keep some for validation and test ({MIN_CLASSES} are enough)",
    )
    by_item = SplitOption(
        "item",
        sum(sizes) >= len(PARTS),
        "the items of each class are in all parts"
        + ("" if many or tiny else f", since {count} classes are too few to keep some for validation"),
    )
    options = [by_class, by_item] if many or tiny else [by_item, by_class]
    if group:
        options.insert(0, SplitOption(group, True, f"rows with the same {group} stay together"))
    if part:
        options.insert(0, SplitOption(part, True, f"the column {part} names the parts"))
    return options


def options_for_pairs(dataset: Dataset) -> list[SplitOption]:
    """Return the rules to split pairs by, the sensible one first."""
    digests = [item_digests(view, dataset.input) for view in dataset.views]
    by_item = SplitOption("item", len(dataset) >= len(PARTS), "no item is in two pairs")
    rules: list[tuple[By, str]] = [
        ("components", "pairs that share an item stay together"),
        ({"side": "left"}, "pairs with the same left item stay together"),
        ({"side": "right"}, "pairs with the same right item stay together"),
    ]
    options = []
    for by, reason in rules:
        sizes = np.bincount(item_groups(digests, by))
        if by == "components" and len(sizes) == len(dataset):
            return [by_item]
        share = sizes.max() / len(dataset)
        is_possible = len(sizes) >= len(PARTS) and share <= MAX_LARGEST
        unless = "" if is_possible else f"; but the largest group has {share:.0%} of all pairs"
        options.append(SplitOption(by, is_possible, reason + unless))
    shared = SplitOption(
        "item", by_item.is_possible, "but items of the training part are in other parts, too"
    )
    return [
        *(each for each in options if each.is_possible),
        shared,
        *(each for each in options if not each.is_possible),
    ]
