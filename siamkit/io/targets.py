"""Targets: classes of items, 1 and 0 of pairs, or scores; and which of them a loss can use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.errors import DataError, ModelError
from siamkit.io.values import as_column

_LARGEST_EXACT = {2: 2**11, 4: 2**24, 8: 2**53}  # by the bytes of a float: above, whole numbers are rounded


def as_labels(values: Any, length: int | None = None, *, name: str = "labels") -> NDArray[Any]:
    """Return the class of each item, `(n,)`, whole floats as integers.

    Raises:
        DataError: as `as_column`; or the labels are floats that may have been rounded, or not comparable.
    """
    labels = as_column(values, length, name=name)
    if labels.dtype.kind not in "biufUM":
        raise DataError(f"{name} should be whole numbers or texts, got {labels.dtype}")
    if labels.dtype.kind != "f":
        return labels
    limit = _LARGEST_EXACT.get(labels.dtype.itemsize, 2**53)
    large = np.flatnonzero(np.abs(labels) > limit)
    if large.size:
        raise DataError(
            f"{name} of type {labels.dtype} are rounded above {limit}, so that different ids become equal, "
            f"got {labels[large[0]]:.0f} in row {large[0]}; read ids as integers or texts"
        )
    return labels if (labels != np.floor(labels)).any() else labels.astype(np.int64)


def whole_labels(values: Any, length: int | None = None, *, name: str = "labels") -> NDArray[Any]:
    """Return the class of each item, `(n,)`, to learn from: never a fraction.

    Raises:
        DataError: as `as_labels`; or a label is a number that is not whole.
    """
    labels = as_labels(values, length, name=name)
    if labels.dtype.kind == "f":
        row = np.flatnonzero(labels != np.floor(labels))[0]
        raise DataError(
            f"{name} should be whole numbers or texts, got {labels[row]} in row {row}; "
            "convert numbers that name classes to texts"
        )
    return labels


def class_ids(*columns: NDArray[Any]) -> list[NDArray[np.int64]]:
    """Return labels of any type as ids 0, 1, …, the same in every column."""
    kinds = {column.dtype.kind for column in columns}
    if kinds & {"U", "S"} and kinds & set("biufc"):  # NumPy would silently turn 1 into "1"
        dtypes = " and ".join(str(column.dtype) for column in columns)
        raise DataError(f"labels of queries and gallery should have the same type, got {dtypes}")
    try:  # different kinds are compared as in Python: in float64 large integers would become equal
        joined = np.concatenate(columns, dtype=object if len(kinds) > 1 else None)
        ids = np.unique(joined, return_inverse=True)[1].reshape(-1).astype(np.int64)
    except TypeError as error:
        raise DataError(f"labels should be comparable with each other, got {error}") from None
    return np.split(ids, np.cumsum([len(column) for column in columns])[:-1])


def is_graded(values: Any, *, name: str = "targets of pairs") -> bool:
    """Return whether the targets of pairs are graded scores, rather than 1 (alike) and 0 (not).

    Raises:
        DataError: they are two whole numbers such as 1 and -1, which could mean either.
    """
    targets = as_column(values, name=name)
    if is_binary(targets):
        return False
    distinct = np.unique(targets)
    numbers = targets.dtype.kind in "biuf"
    if not numbers or (len(distinct) == 2 and not (distinct != np.floor(distinct)).any()):
        raise DataError(
            f"{name} should be 1 (alike) or 0 (not), or scores; got {_seen(targets)}; "
            f"{_conversion(targets)}, or say that these are scores"
        )
    return True


def is_binary(targets: NDArray[Any]) -> bool:
    """Return whether all targets are 0 or 1."""
    return targets.dtype.kind in "biuf" and bool(np.isin(targets, (0, 1)).all())


def pair_targets(
    values: Any, length: int | None = None, *, name: str = "targets of pairs"
) -> NDArray[np.int32]:
    """Return the target of each pair, `(n,)`: 1 if alike, 0 if not.

    Raises:
        DataError: as `as_column`; or other values, with how to convert them.
    """
    targets = as_column(values, length, name=name)
    if is_binary(targets):
        return targets.astype(np.int32)
    raise DataError(f"{name} should be 1 (alike) or 0 (not), got {_seen(targets)}; {_conversion(targets)}")


def graded_targets(values: Any, length: int | None = None, *, name: str = "scores") -> NDArray[np.float64]:
    """Return the graded similarity of each pair, `(n,)`, finite numbers.

    Raises:
        DataError: as `as_column`; or a score is not a finite number.
    """
    targets = as_column(values, length, name=name)
    if targets.dtype.kind not in "biuf":
        raise DataError(f"{name} should be numbers, got {_seen(targets)}")
    if not np.isfinite(targets).all():
        row = np.flatnonzero(~np.isfinite(targets))[0]
        raise DataError(f"{name} should be finite, got {targets[row]} in row {row}")
    return targets.astype(np.float64)


def _seen(targets: NDArray[Any]) -> str:
    """Return the distinct values, at most 5 of them."""
    distinct = np.unique(targets)
    shown = ", ".join(str(value) for value in distinct[:5].tolist())
    return shown if len(distinct) <= 5 else f"{shown} and {len(distinct) - 5} more"


def _conversion(targets: NDArray[Any]) -> str:
    """Return how to convert targets that are not 0 and 1."""
    distinct = np.unique(targets)
    if targets.dtype.kind not in "biuf":
        return f"pass (targets == {distinct.tolist()[-1]!r}).astype(int) if that value means alike"
    if len(distinct) == 2 and distinct[0] <= 0:
        return "pass (targets > 0).astype(int)"
    if len(distinct) <= 2:
        return f"pass (targets == {distinct.tolist()[-1]}).astype(int) if {distinct.tolist()[-1]} means alike"
    return (
        "pass (targets >= limit).astype(int) with a limit of your choice, or use a loss that learns from "
        "scores, such as cosent"
    )


# ------------------------------------------------------------------ the targets of a loss


@dataclass(frozen=True)
class TargetRule:
    """The rule by which targets on the host become the targets of one loss.

    It is checked on the host, since compiled code cannot raise an error for a value.

    Args:
        loss: the loss's name.
        num_classes: the number of classes for which the loss has proxies; None without proxies.
        stateful: whether the loss stores the labels of earlier batches.
        binary: whether the target of a pair is 1 or 0; else it may be a score.
    """

    loss: str
    num_classes: int | None = None
    stateful: bool = False
    binary: bool = False

    def prepare(self, target: Any, views: int, *, whole: bool) -> np.ndarray:
        """Return the target `(n,)`: int32 labels, int32 targets of pairs, or float32 scores.

        Args:
            target: the target `(n,)`, in any container.
            views: the number of views of the items: 1 for labeled items.
            whole: whether this is the target of all batches, so that labels may be renumbered.

        Raises:
            DataError: a target is missing, or means nothing to the loss.
            ModelError: the loss cannot use these labels without numbers for the classes.
        """
        if views == 1:
            return self._class_ids(whole_labels(target), whole)
        if views > 2:  # triplets and more views have no target
            return np.asarray(target)
        if self.binary:
            return pair_targets(target, name=f"targets of pairs for the loss {self.loss!r}")
        return graded_targets(target, name=f"targets for the loss {self.loss!r}").astype(np.float32)

    def _class_ids(self, labels: np.ndarray, whole: bool) -> np.ndarray:
        numeric = labels.dtype.kind in "biu"
        low, high = (int(labels.min()), int(labels.max())) if numeric and labels.size else (0, 0)
        got = f"ids from {low} to {high}" if numeric else f"labels such as {labels.flat[0]!s:.40}"
        if self.num_classes is not None and not (numeric and low >= 0 and high < self.num_classes):
            raise ModelError(
                f"the loss {self.loss!r} has proxies for {self.num_classes} classes, so it needs class ids "
                f"from 0 to {self.num_classes - 1}, got {got}"
            )
        if numeric and low >= -(2**31) and high < 2**31:
            return labels.astype(np.int32)
        if self.stateful or not whole:
            reason = "keeps labels from batch to batch" if self.stateful else "gets its labels batch by batch"
            raise ModelError(
                f"the loss {self.loss!r} {reason}, so it needs whole numbers of 32 bits, got {got}; number "
                "the classes first: np.unique(labels, return_inverse=True)[1]"
            )
        # Only the equality of labels matters.
        return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
