"""The targets that a loss can use: class ids of 32 bits, 1 and 0 for pairs, or scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from siamkit.errors import ModelError
from siamkit.io.values import graded_targets, pair_targets, whole_labels


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
