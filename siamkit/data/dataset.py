"""Datasets: items in memory, as read, with their targets, ids and further columns."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np

from siamkit.errors import DataError, nearest
from siamkit.io.targets import as_labels
from siamkit.io.values import rows_not_finite
from siamkit.registry.specs import IMAGE_FITS, INPUTS, SUPERVISIONS, Supervision

Array = np.ndarray[Any, np.dtype[Any]]
Leaf = Array | dict[str, Array]
"""One view of n items: an array `(n, …)`, or a dict of arrays (columns, record fields)."""

_VIEWS: Mapping[str, int] = {"labels": 1, "pairs": 2, "scores": 2, "triplets": 3}

_HASH_BYTES = 1 << 24  # bytes that are hashed at a time

# The dtype kinds and numbers of axes that each kind of input may have, and the words for them.
_SHAPES: Mapping[str, tuple[str, tuple[int, ...], str]] = {
    "image": ("biuf", (3, 4), "numbers (n, height, width, channels) or (n, height, width)"),
    "tokens": ("iu", (2,), "whole numbers (n, length)"),
    "text": ("UOT", (1,), "texts (n,)"),
    "series": ("biuf", (3,), "numbers (n, steps, features)"),
    "vector": ("biuf", (2,), "numbers (n, features)"),
}


def take(leaf: Leaf, indices: Array) -> Leaf:
    """Return the items at `indices`, of any shape: `(n, …)` indexed by `(*s)` gives `(*s, …)`."""
    if isinstance(leaf, dict):
        return {name: values[indices] for name, values in leaf.items()}
    return leaf[indices]


def join(leaves: Sequence[Leaf]) -> Leaf:
    """Return the items of several leaves of one kind as one leaf, in their order."""
    first = leaves[0]
    if isinstance(first, dict):
        return {name: np.concatenate([cast(Any, leaf)[name] for leaf in leaves]) for name in first}
    return np.concatenate(cast(Any, leaves))


def length(leaf: Leaf) -> int:
    """Return the number of items in a leaf."""
    return len(next(iter(leaf.values()))) if isinstance(leaf, dict) else len(leaf)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Items in memory, not preprocessed; the constructor checks them.

    Args:
        views: the views, each of n items: 1 view for labels, 2 for pairs and scores, 3 for triplets. A single
            view of supervision `views` holds items without labels, of which augmentation makes two views.
        target: `(n,)`, class ids or names (labels), 1 if alike and 0 if not (pairs), or graded similarity
            (scores); None for triplets and views.
        supervision: the kind of the target: labels, pairs, scores, triplets or views.
        input: the kind of input that a view holds, one of `siamkit.registry.specs.INPUTS`.
        columns: further columns `(n,)`, to split by.
        ids: `(n,)` names of the items; "0", "1", … by default.
        notes: sentences about items that were omitted or resized, to print with results.
        image_fit: how a model fits images of another size into the size of these, one of `IMAGE_FITS`.

    Raises:
        DataError: the arguments do not fit together.
    """

    views: tuple[Leaf, ...]
    target: Array | None
    supervision: Supervision
    input: str
    columns: Mapping[str, Array] = field(default_factory=dict)
    ids: Array = field(default_factory=lambda: np.empty(0, dtype=np.str_))
    notes: tuple[str, ...] = ()
    image_fit: str = "crop"

    def __post_init__(self) -> None:
        if self.supervision not in SUPERVISIONS:
            raise DataError(
                f"unknown supervision {self.supervision!r}; {nearest(self.supervision, SUPERVISIONS)}"
            )
        if self.input not in INPUTS:
            raise DataError(f"unknown input {self.input!r}; {nearest(self.input, INPUTS)}")
        if self.image_fit not in IMAGE_FITS:
            raise DataError(f"unknown image_fit {self.image_fit!r}; {nearest(self.image_fit, IMAGE_FITS)}")
        object.__setattr__(self, "views", tuple(self.views))
        count = _VIEWS.get(self.supervision)
        if len(self.views) != count if count else not self.views:
            raise DataError(f"{self.supervision} need {count or 'one or more'} views, got {len(self.views)}")
        for number, view in enumerate(self.views, start=1):
            check_leaf(f"view {number}", view, self.input)
        n = len(self)
        if not n:
            raise DataError("the dataset is empty")
        object.__setattr__(self, "target", check_target(self.target, self.supervision))
        columns = {name: np.asarray(column) for name, column in self.columns.items()}
        object.__setattr__(self, "columns", columns)
        ids = np.asarray(self.ids).astype(np.str_) if len(self.ids) else np.arange(n).astype(np.str_)
        object.__setattr__(self, "ids", ids)
        lengths = {f"view {number}": length(view) for number, view in enumerate(self.views, start=1)}
        lengths |= {} if self.target is None else {"the target": len(self.target)}
        lengths |= {f"column {name!r}": len(column) for name, column in columns.items()}
        lengths |= {"ids": len(ids)}
        for name, size in lengths.items():
            if size != n:
                raise DataError(f"view 1 holds {n} items but {name} {size}")

    def __len__(self) -> int:
        return length(self.views[0])

    def take(self, indices: Array) -> Dataset:
        """Return the items at `indices`, `(m,)` whole numbers, as a dataset of m items."""
        return dataclasses.replace(
            self,
            views=tuple(take(view, indices) for view in self.views),
            target=None if self.target is None else self.target[indices],
            columns={name: values[indices] for name, values in self.columns.items()},
            ids=self.ids[indices],
        )

    def joined(self, other: Dataset) -> Dataset:
        """Return these items followed by those of another dataset of the same kind and columns."""
        pairs = zip(self.views, other.views, strict=True)
        has_target = self.target is not None and other.target is not None
        return dataclasses.replace(
            self,
            views=tuple(join(pair) for pair in pairs),
            target=np.concatenate([cast(Any, self.target), other.target]) if has_target else None,
            columns={
                name: np.concatenate([values, other.columns[name]]) for name, values in self.columns.items()
            },
            ids=np.concatenate([self.ids, other.ids]),
        )

    @property
    def is_unlabelled(self) -> bool:
        """Whether these are single items without labels."""
        return self.supervision == "views" and len(self.views) == 1

    def unlabelled(self) -> Dataset:
        """Return the items of the only view without their labels."""
        return dataclasses.replace(self, target=None, supervision="views")

    @cached_property
    def classes(self) -> Array:
        """Return the distinct classes `(classes,)`, sorted; for labels only."""
        return self._classes_and_codes[0]

    @cached_property
    def codes(self) -> Array:
        """Return the index of each item's class in `classes`, `(n,)` int32; for labels only."""
        return self._classes_and_codes[1]

    @cached_property
    def _classes_and_codes(self) -> tuple[Array, Array]:
        if self.target is None or self.supervision != "labels":
            raise DataError(f"only labelled data have classes, these are {self.supervision}")
        classes, codes = np.unique(self.target, return_inverse=True)
        return classes, codes.astype(np.int32)

    def fingerprint(self) -> str:
        """Return a SHA-256 of kind, views and target; it does not depend on the machine or file format."""
        digest = hashlib.sha256(f"{self.supervision} {self.input}".encode())
        for view in self.views:
            digest.update(b"view")
            for name, values in sorted(view.items()) if isinstance(view, dict) else [("", view)]:
                digest.update(name.encode())
                _hash_values(digest, values)
        if self.target is not None:
            digest.update(b"target")
            _hash_values(digest, self.target)
        return digest.hexdigest()


def check_leaf(name: str, leaf: Leaf, kind: str) -> None:
    """Raise DataError unless the leaf can be a view of this kind of input; `""` allows every kind."""
    if kind == "tabular" and not isinstance(leaf, dict):
        raise DataError(f"{name} should be a dict of columns, each (n,), got {type(leaf).__name__}")
    if isinstance(leaf, dict):
        if not leaf:
            raise DataError(f"{name} has no fields")
        for key, values in leaf.items():
            if kind == "tabular":
                is_numeric_column(f"column {key!r} of {name}", values)
            else:
                check_leaf(f"field {key!r} of {name}", values, "")
        if len({len(values) for values in leaf.values()}) > 1:
            sizes = ", ".join(f"{key!r} {len(values)}" for key, values in leaf.items())
            raise DataError(f"the fields of {name} should have one length, got {sizes}")
        return
    if not isinstance(leaf, np.ndarray) or leaf.ndim == 0:
        raise DataError(f"{name} should be a NumPy array of items, got {type(leaf).__name__}")
    kinds, axes, words = _SHAPES.get(kind, ("biufUOT", range(1, 9), "numbers or texts (n, …)"))
    if leaf.dtype.kind not in kinds or leaf.ndim not in axes:
        raise DataError(f"{name} should hold {words}, got {leaf.dtype} of shape {leaf.shape}")
    if kind == "image":
        check_channels_last(name, leaf)
    if leaf.dtype.kind == "O" and not all(isinstance(value, str) for value in leaf.flat):
        raise DataError(f"{name} should hold {words}, got {_first_non_text(leaf)!r}")
    if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
        item = rows_not_finite(leaf)[0]
        raise DataError(f"{name} should hold finite numbers, got NaN or infinity in item {item}")


def check_channels_last(name: str, images: Array) -> None:
    """Raise DataError for images whose shape can only be `(n, channels, height, width)`."""
    if images.ndim == 4 and images.shape[1] <= 4 < min(images.shape[2:]):
        raise DataError(
            f"{name} of shape {images.shape} has its channels first; images are (n, height, width, "
            "channels), so use np.moveaxis(x, 1, -1)"
        )


def is_numeric_column(name: str, values: Array) -> bool:
    """Return whether a table's column holds numbers (NaN where missing) or texts ("" or None where missing).

    Raises:
        DataError: the column holds neither, or infinite numbers.
    """
    words = "numbers or texts (n,)"
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        got = f"shape {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise DataError(f"{name} should hold {words}, got {got}")
    if values.dtype.kind in "biuf":
        if np.isinf(values).any():
            item = int(np.argmax(np.isinf(values)))
            raise DataError(f"{name} should hold finite numbers, got {values[item]} in item {item}")
        return True
    if values.dtype.kind not in "OUT":
        raise DataError(f"{name} should hold {words}, got {values.dtype}")
    for value in values:
        if not isinstance(value, str) and not is_missing(value):
            raise DataError(f"{name} should hold {words} of one type, got {value!r} among texts")
    return False


def is_missing(value: object) -> bool:
    """Return whether a value in a column of texts means a missing one: None, NaN or an empty text."""
    return value is None or value == "" or (isinstance(value, float) and value != value)


def check_target(target: Array | None, supervision: str) -> Array | None:
    """Return the target `(n,)` as a dataset stores it.

    Raises:
        DataError: the target does not fit the supervision.
    """
    if supervision in ("triplets", "views"):
        if target is not None:
            raise DataError(f"{supervision} have no target, got one")
        return None
    if target is None:
        raise DataError(f"{supervision} need a target")
    target = np.asarray(target)
    if target.ndim != 1:
        raise DataError(f"the target should be one value per item, got an array of shape {target.shape}")
    if target.dtype.kind == "f" and len(wrong := rows_not_finite(target)):
        raise DataError(
            f"the target should hold finite numbers, got {target[wrong[0]]} for item {wrong[0]}, the first "
            f"of {len(wrong):,} among {len(target):,}"
        )
    return _labels(target) if supervision == "labels" else _pair_targets(target, supervision)


def _labels(target: Array) -> Array:
    if target.dtype.kind in "UT":
        return target.astype(np.str_)
    if target.dtype.kind == "O":
        if all(isinstance(value, str) for value in target):
            return target.astype(np.str_)
        raise DataError(f"labels should be whole numbers or texts, got {_first_non_text(target)!r}")
    if target.dtype.kind == "f":
        fractional = target[target != np.floor(target)]
        if len(fractional):
            raise DataError(f"labels should be whole numbers or texts, got {fractional[0]}")
        return as_labels(target)
    if target.dtype.kind not in "biu":
        raise DataError(f"labels should be whole numbers or texts, got {target.dtype}")
    return target


def _pair_targets(target: Array, supervision: str) -> Array:
    if target.dtype.kind not in "biuf":
        raise DataError(f"the target of {supervision} should hold numbers, got {target.dtype}")
    if supervision == "scores":
        return target
    invalid = target[~np.isin(target, (0, 1))]
    if len(invalid):
        raise DataError(f"the target of pairs should be 1 (alike) or 0 (not), got {invalid[0]}")
    return target.astype(np.int32)


def _first_non_text(values: Array) -> object:
    return next(value for value in values.flat if not isinstance(value, str))


def _hash_values(digest: Any, values: Array) -> None:
    texts = values.dtype.kind not in "biuf"
    digest.update(f"{'text' if texts else values.dtype.newbyteorder('<').str} {values.shape} ".encode())
    step = max(1, _HASH_BYTES * len(values) // max(1, values.nbytes))
    for start in range(0, len(values), step):
        chunk = values[start : start + step]
        if texts:
            # Each text with its length: the hash does not depend on how the array stores its texts.
            # A missing text counts as an empty one.
            for text in chunk.ravel():
                encoded = (text if isinstance(text, str) else "").encode("utf-8", "surrogatepass")
                digest.update(len(encoded).to_bytes(8, "little") + encoded)
        else:
            digest.update(np.ascontiguousarray(chunk, dtype=chunk.dtype.newbyteorder("<")).tobytes())
