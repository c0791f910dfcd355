"""A dataset: items in memory, as read, with what is known of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from siamkit.data._checks import check_leaf, check_target
from siamkit.errors import DataError, nearest
from siamkit.registry.specs import INPUTS, SUPERVISIONS, Supervision

Array = np.ndarray[Any, np.dtype[Any]]
Leaf = Array | dict[str, Array]
"""One view of n items: an array `(n, …)`, or a dict of them (columns, record fields)."""

_VIEWS: Mapping[str, int] = {"labels": 1, "pairs": 2, "scores": 2, "triplets": 3}
_CHUNK = 1 << 24


def take(leaf: Leaf, indices: Array) -> Leaf:
    """The items at `indices`, of any shape: `(n, …)` indexed by `(*s)` gives `(*s, …)`."""
    if isinstance(leaf, dict):
        return {name: values[indices] for name, values in leaf.items()}
    return leaf[indices]


def length(leaf: Leaf) -> int:
    """The number of items in a leaf."""
    return len(next(iter(leaf.values()))) if isinstance(leaf, dict) else len(leaf)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Items in memory, unprepared; whoever builds one gets it checked.

    Args:
        views: the views, each of n items: 1 for labels, 2 for pairs and scores, 3 for triplets.
        target: `(n,)` class ids or names (labels), 1 alike and 0 not (pairs), graded similarity
            (scores); None for triplets and views.
        supervision: what the data say of their items.
        input: the kind of input that a view holds, one of `siamkit.registry.specs.INPUTS`.
        columns: further columns `(n,)`, to split by.
        ids: `(n,)` names of the items; "0", "1", … unless given.

    Raises:
        DataError: if these do not fit together.
    """

    views: tuple[Leaf, ...]
    target: Array | None
    supervision: Supervision
    input: str
    columns: Mapping[str, Array] = field(default_factory=dict)
    ids: Array = field(default_factory=lambda: np.empty(0, dtype=np.str_))

    def __post_init__(self) -> None:
        if self.supervision not in SUPERVISIONS:
            raise DataError(f"no supervision {self.supervision!r}; {nearest(self.supervision, SUPERVISIONS)}")
        if self.input not in INPUTS:
            raise DataError(f"no input {self.input!r}; {nearest(self.input, INPUTS)}")
        object.__setattr__(self, "views", tuple(self.views))
        count = _VIEWS.get(self.supervision)
        if len(self.views) != count if count else len(self.views) < 2:
            raise DataError(f"{self.supervision} need {count or 'two or more'} views, got {len(self.views)}")
        for number, view in enumerate(self.views, start=1):
            check_leaf(f"view {number}", view, self.input)
        n = len(self)
        if not n:
            raise DataError("the dataset is empty")
        object.__setattr__(self, "target", check_target(self.target, self.supervision))
        object.__setattr__(self, "columns", {name: np.asarray(each) for name, each in self.columns.items()})
        ids = np.asarray(self.ids).astype(np.str_) if len(self.ids) else np.arange(n).astype(np.str_)
        object.__setattr__(self, "ids", ids)
        lengths = {f"view {number}": length(view) for number, view in enumerate(self.views, start=1)}
        lengths |= {} if self.target is None else {"the target": len(self.target)}
        lengths |= {f"column {name!r}": len(each) for name, each in self.columns.items()}
        lengths |= {"ids": len(ids)}
        for name, got in lengths.items():
            if got != n:
                raise DataError(f"view 1 holds {n} items but {name} {got}")

    def __len__(self) -> int:
        return length(self.views[0])

    def take(self, indices: Array) -> Dataset:
        """The items at `indices`, `(m,)` whole numbers, as a dataset of m items."""
        return dataclasses.replace(
            self,
            views=tuple(take(view, indices) for view in self.views),
            target=None if self.target is None else self.target[indices],
            columns={name: values[indices] for name, values in self.columns.items()},
            ids=self.ids[indices],
        )

    @cached_property
    def classes(self) -> Array:
        """`(classes,)` the distinct classes, sorted; of labels only."""
        return self._coded[0]

    @cached_property
    def codes(self) -> Array:
        """`(n,)` int32, each item's place in `classes`; of labels only."""
        return self._coded[1]

    @cached_property
    def _coded(self) -> tuple[Array, Array]:
        if self.target is None or self.supervision != "labels":
            raise DataError(f"only labelled data have classes, these are {self.supervision}")
        classes, codes = np.unique(self.target, return_inverse=True)
        return classes, codes.astype(np.int32)

    def fingerprint(self) -> str:
        """A SHA-256 over kind, views and target, the same wherever and from whatever file they came."""
        digest = hashlib.sha256(f"{self.supervision} {self.input}".encode())
        for view in self.views:
            digest.update(b"view")
            for name, values in sorted(view.items()) if isinstance(view, dict) else [("", view)]:
                digest.update(name.encode())
                _update(digest, values)
        if self.target is not None:
            digest.update(b"target")
            _update(digest, self.target)
        return digest.hexdigest()


def _update(digest: Any, values: Array) -> None:
    texts = values.dtype.kind not in "biuf"
    digest.update(f"{'text' if texts else values.dtype.newbyteorder('<').str} {values.shape} ".encode())
    step = max(1, _CHUNK * len(values) // max(1, values.nbytes))
    for start in range(0, len(values), step):
        chunk = values[start : start + step]
        if texts:
            # Each text with its length: the same hash however the array stores its texts.
            # One that is missing is like an empty one.
            given = (text if isinstance(text, str) else "" for text in chunk.ravel())
            for encoded in (text.encode("utf-8", "surrogatepass") for text in given):
                digest.update(len(encoded).to_bytes(8, "little") + encoded)
        else:
            digest.update(np.ascontiguousarray(chunk, dtype=chunk.dtype.newbyteorder("<")).tobytes())
