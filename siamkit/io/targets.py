"""Targets: classes of items, 1 and 0 of pairs, or scores; and which of them a loss can use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from siamkit.errors import DataError, ModelError
from siamkit.io.values import as_array, as_column

_LARGEST_EXACT = {"bfloat16": 2**8, "float16": 2**11, "float32": 2**24}  # above, whole numbers are rounded


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
    dtype = str(getattr(values, "dtype", labels.dtype)).rpartition(".")[2]
    limit = _LARGEST_EXACT.get(dtype, 2**53)
    large = np.flatnonzero(np.abs(labels) > limit)
    if large.size:
        raise DataError(
            f"{name} of type {dtype} are rounded above {limit}, so that different ids become equal, "
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


def is_graded(
    values: Any, *, name: str = "targets of pairs", remedy: str = "call siamkit.evaluation.evaluate_scores"
) -> bool:
    """Return whether the targets of pairs are graded scores, rather than 1 (alike) and 0 (not).

    Args:
        values: the targets `(n,)`.
        name: the name of the values, for messages.
        remedy: the user's way to say that they are scores, for messages.

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
            f"{_conversion(targets)}, or {remedy} if these are scores"
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


PairTarget = Literal["scores", "probability", "binary", "none"]
"""The target of a pair for a loss: a score, a number from 0 to 1, 1 or 0, or none (its views are alike)."""


@dataclass(frozen=True)
class TargetRule:
    """The rule by which targets on the host become the targets of one loss.

    They are checked on the host, since compiled code cannot raise an error for a value.

    Args:
        loss: the loss's name.
        num_classes: the number of classes for which the loss has proxies; None without proxies.
        stateful: whether the loss stores the labels of earlier batches.
        pair_target: the target of a pair.
        low, high: the bounds of a score.
    """

    loss: str
    num_classes: int | None = None
    stateful: bool = False
    pair_target: PairTarget = "scores"
    low: float = -math.inf
    high: float = math.inf

    def prepare(self, target: Any, views: int, *, renumber: bool) -> NDArray[Any]:
        """Return the target `(n,)`: int32 labels or targets of pairs; float32 scores, or zeros for nothing.

        Args:
            target: the target `(n,)`, in any container.
            views: the number of views of the items: 1 for labeled items.
            renumber: whether labels may be renumbered, because no other batch has the same classes.

        Raises:
            DataError: a target is missing, or means nothing to the loss.
            ModelError: the loss cannot use these labels without numbers for the classes.
        """
        if views == 1:
            shape = as_array(target, name="labels").shape
            if len(shape) != 1 and shape[1:] != (1,):
                raise ModelError(
                    f"{self.loss} takes one class id per item, (n,), got labels of shape {shape}; turn "
                    "one-hot rows into ids by argmax(axis=1)"
                )
            return self._class_ids(whole_labels(target), renumber)
        kind = self.pair_target if views == 2 else "none"
        targets = as_column(target, name="targets")
        if kind == "none":
            return self._no_target(targets, views)
        if kind == "probability" and not (
            targets.dtype.kind in "biuf" and ((targets >= 0) & (targets <= 1)).all()
        ):
            kind = "binary"
        if kind == "binary":
            return pair_targets(targets, name=f"targets of pairs for the loss {self.loss!r}")
        scores = graded_targets(targets, name=f"targets for the loss {self.loss!r}")
        if scores.size and (scores.min() < self.low or scores.max() > self.high):
            raise DataError(
                f"scores for the loss {self.loss!r} should be from {self.low:g} to {self.high:g}, as the "
                f"metric's values are, got {scores.min():g} to {scores.max():g}; scale them"
            )
        return scores.astype(np.float32)

    def check_classes(self, labels: NDArray[Any], items: str = "items") -> None:
        """Check that labels of all items have something to learn from.

        Args:
            labels: the labels `(n,)`.
            items: the name of the items, for messages.

        Raises:
            DataError: the items have one class only; or no class has two items, and the loss has no proxies.
        """
        counts = np.unique(labels, return_counts=True)[1]
        if len(counts) < 2:
            raise DataError(f"all {len(labels)} {items} have one class, so there is nothing to distinguish")
        if counts.max() < 2 and self.num_classes is None:
            raise DataError(
                f"each of the {len(labels)} {items} has a class of its own, but the loss {self.loss!r} "
                "compares items of the same class"
            )

    def _no_target(self, targets: NDArray[Any], views: int) -> NDArray[Any]:
        if targets.size and (targets != targets[0]).any():
            remedy = (
                "pass no target, or use a loss over pairs, such as contrastive"
                if views == 2
                else ("pass no target")
            )
            raise DataError(
                f"the loss {self.loss!r} takes the {views} views of a row by their position and would ignore "
                f"these targets ({_seen(targets)}); {remedy}"
            )
        return np.zeros(len(targets), np.float32)

    def _class_ids(self, labels: NDArray[Any], renumber: bool) -> NDArray[Any]:
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
        if self.stateful or not renumber:
            reason = "keeps labels from batch to batch" if self.stateful else "gets its labels batch by batch"
            raise ModelError(
                f"the loss {self.loss!r} {reason}, so it needs whole numbers of 32 bits, got {got}; number "
                "the classes first: np.unique(labels, return_inverse=True)[1]"
            )
        # Only the equality of labels matters.
        return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
