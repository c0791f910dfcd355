"""Verification: the ROC curve of matching and non-matching pairs, its measures, and choosing a threshold.

A threshold is compared in float32, as distances are computed: a pair at exactly the threshold is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.backend.select import on_accelerator
from siamkit.errors import DataError
from siamkit.evaluation.distances import Metric, distance_tiles, oriented, value_tiles
from siamkit.evaluation.measures import LIMITS, Measures, Threshold, ThresholdRule, as_threshold
from siamkit.evaluation.scan import (
    Accumulator,
    Chunk,
    DeviceTile,
    Histogram,
    Queries,
    counted_on_device,
)
from siamkit.io.targets import pair_targets

RATES = {"1e-1": 0.1, "1e-2": 0.01, "1e-3": 0.001}
"""The false accept rates at which `tar_at_far_…` is measured."""


@dataclass(frozen=True)
class Curve:
    """The error rates at each threshold, one row for each distance; the first row accepts no pair.

    Args:
        distances: `(n,)`, ascending; -inf first.
        far: `(n,)`, false accept rate: the fraction of non-matching pairs accepted.
        frr: `(n,)`, false reject rate: the fraction of matching pairs rejected.
        alike, unlike: the number of matching and of non-matching pairs.
        width: the width of the bin that each distance is the center of; 0 for the distances themselves.
    """

    distances: NDArray[np.float64]
    far: NDArray[np.float64]
    frr: NDArray[np.float64]
    alike: int
    unlike: int
    width: float = 0.0

    @classmethod
    def of(
        cls,
        distances: NDArray[np.floating],
        alike: NDArray[np.int64],
        unlike: NDArray[np.int64],
        width: float = 0.0,
    ) -> Curve | None:
        """Return the curve of pair counts at distinct ascending distances; None if a kind has no pairs."""
        positives, negatives = int(alike.sum()), int(unlike.sum())
        if not positives or not negatives:
            return None
        # Counts are summed, not fractions, so each rate is exactly the quotient of two integers.
        far = np.append(0, np.cumsum(unlike)) / negatives
        frr = (positives - np.append(0, np.cumsum(alike))) / positives
        return cls(np.append(-np.inf, distances.astype(np.float64)), far, frr, positives, negatives, width)

    @classmethod
    def of_pairs(cls, distances: NDArray[np.float32], alike: NDArray[np.bool_]) -> Curve | None:
        """Return the curve of the distances `(n,)` of pairs, exact; None if all are of one kind."""
        distinct, index = np.unique(distances, return_inverse=True)
        of_alike, of_unlike = (np.bincount(index[kind], minlength=len(distinct)) for kind in (alike, ~alike))
        return cls.of(distinct, of_alike, of_unlike)

    @property
    def hits(self) -> NDArray[np.float64]:
        """The number of matching pairs accepted, `(n,)`."""
        return np.asarray(np.rint((1 - self.frr) * self.alike), np.float64)

    @property
    def false(self) -> NDArray[np.float64]:
        """The number of non-matching pairs accepted, `(n,)`."""
        return np.asarray(np.rint(self.far * self.unlike), np.float64)

    @property
    def precision(self) -> NDArray[np.float64]:
        """The fraction of accepted pairs that match, `(n,)`; NaN where no pair is accepted."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.hits / (self.hits + self.false), np.float64)

    @property
    def auc(self) -> float:
        """The ROC-AUC: P(d⁺ < d⁻) + P(d⁺ = d⁻) / 2, for distances of matching and non-matching pairs."""
        hits, false = -np.diff(self.frr), np.diff(self.far)
        return min(max(float(np.sum(hits * (1 - self.far[1:] + false / 2))), 0.0), 1.0)

    @property
    def eer(self) -> float:
        """The error rate at which FAR = FRR, interpolated linearly between the points of the curve."""
        gap = self.far - self.frr  # from -1 up to 1
        after = int(np.argmax(gap >= 0))
        step = -gap[after - 1] / (gap[after] - gap[after - 1])
        return float(self.far[after - 1] + step * (self.far[after] - self.far[after - 1]))

    @property
    def average_precision(self) -> float:
        """Σ (Rᵢ - Rᵢ₋₁) Pᵢ over the distinct distances, R being recall and P precision."""
        return min(float(np.sum(np.diff(self.hits) * self.precision[1:]) / self.alike), 1.0)

    def choose(self, rule: ThresholdRule) -> float:
        """Return the threshold, as a distance, that a rule chooses.

        Raises:
            DataError: no threshold keeps the rule's limit on these pairs.
        """
        row = self._best_row(rule)
        if row == 0:  # to accept no pair
            lowest = np.float32(self.distances[1])
            below = min(np.nextafter(lowest, np.float32(-np.inf)), lowest - np.finfo(np.float32).tiny)
            return float(self.distances[1] - self.width / 2 if self.width else below)
        if row + 1 == len(self.distances):
            return float(self.distances[row] + self.width / 2)
        low, high = float(self.distances[row]), float(self.distances[row + 1])
        middle = float(np.float32(low / 2 + high / 2))  # accepts exactly the distances up to low
        return middle if middle < high else low

    def _best_row(self, rule: ThresholdRule) -> int:
        """Return the row that a rule chooses; 0 accepts no pair."""
        hits, false, pairs = self.hits, self.false, self.alike + self.unlike
        if rule.name in LIMITS:
            return self._row_within(rule.name, *rule.values)
        if rule.name == "cost":
            accept, reject = (value / max(rule.values) for value in rule.values)
            loss = (accept * false + reject * (self.alike - hits)) / pairs
        elif rule.name == "f1":
            loss = 1 - 2 * hits / (hits + false + self.alike)
        elif rule.name == "accuracy":
            loss = (false + self.alike - hits) / pairs
        else:
            loss = self.far + self.frr
        loss = np.round(loss, 12)  # so that rounding does not decide between equals
        row = 1 + int(np.argmin(loss[1:]))
        return 0 if loss[0] < loss[row] else row

    def _row_within(self, name: str, limit: float) -> int:
        """Return the best row that accepts a matching pair and keeps the limit of a measure."""
        hits, false, precision = self.hits, self.false, self.precision
        if name == "far" and limit < 1 / self.unlike:
            raise DataError(
                f"a false accept rate of {limit:g} takes at least {math.ceil(1 / limit):,} pairs that are "
                f"not alike, got {self.unlike:,}: use more pairs, or a rate of at least "
                f"{_rounded_up(1 / self.unlike):g}"
            )
        kept = {
            "far": self.far <= limit,
            "precision": precision >= limit,
            "recall": hits / self.alike >= limit,
        }
        rows = np.flatnonzero(kept[name] & (hits > 0))
        if not rows.size:
            found = (
                f"a precision of at least {limit:g} on these pairs; the best is {np.nanmax(precision):.4g}"
                if name == "precision"
                else f"a false accept rate of at most {limit:g} on these pairs; the best is "
                f"{self.far[hits > 0].min():.4g}"
            )
            raise DataError(f"no threshold that accepts a matching pair has {found}")
        # Both counts grow with the row: of rows with equal counts of one kind, the best is at one end.
        if name == "recall":
            return int(rows[false[rows] == false[rows[0]]][-1])
        return int(rows[hits[rows] == hits[rows].max()][0])

    def tar_at_far(self, most: float) -> float:
        """Return the largest fraction of matching pairs that is accepted while FAR is at most `most`.

        NaN if there are fewer than 1 / `most` non-matching pairs: a single false accept would exceed it.
        """
        if self.unlike * most < 1:
            return math.nan
        return float(1 - self.frr[self.far <= most].min())

    def at(self, threshold: float) -> dict[str, float | int]:
        """Return the measures `AT_THRESHOLD` if distances of at most a threshold are accepted."""
        with np.errstate(over="ignore"):
            row = int(np.searchsorted(self.distances, float(np.float32(threshold)), side="right")) - 1
        far, frr = float(self.far[row]), float(self.frr[row])
        hits, false = round((1 - frr) * self.alike), round(far * self.unlike)
        return {
            "far": far,
            "frr": frr,
            "false_accepts": false,
            "false_rejects": self.alike - hits,
            "precision": hits / (hits + false) if hits + false else math.nan,
            "recall": hits / self.alike,
            "f1": 2 * hits / (hits + false + self.alike),
            "accuracy": (hits + self.unlike - false) / (self.alike + self.unlike),
            "balanced_accuracy": 1 - (far + frr) / 2,
        }

    def thinned(self, most: int = 500) -> Curve:
        """Return the curve with at most `most` points, denser where it bends."""
        if len(self.far) <= most:
            return self
        # Even steps along FAR, along FRR, and along the logarithm of FAR, as in a DET curve.
        count = most // 3
        low = 1 / self.unlike
        rates = np.concatenate([np.linspace(0, 1, count), np.geomspace(low, 1, count)])
        kept = np.concatenate(
            [
                np.searchsorted(self.far, rates),
                np.searchsorted(-self.frr, -np.linspace(0, 1, count)),
                [0, len(self.far) - 1],
            ]
        )
        rows = np.unique(np.clip(kept, 0, len(self.far) - 1))
        return replace(self, distances=self.distances[rows], far=self.far[rows], frr=self.frr[rows])


AT_THRESHOLD = (
    "far", "frr", "false_accepts", "false_rejects", "precision", "recall", "f1", "accuracy",
    "balanced_accuracy",
)  # fmt: skip
"""The measures that belong to a threshold."""


def verification_measures(
    curve: Curve | None,
    sign: int,
    threshold: Threshold | None = None,
    own_threshold: float | None = None,
) -> dict[str, float | int]:
    """Return the measures of the curve, and those at one or two thresholds.

    Args:
        curve: the ROC curve; if None, all measures are NaN.
        sign: 1 if the metric is a distance, -1 if it is a similarity: thresholds are in the metric's own
            orientation.
        threshold: the threshold, or how to choose it from these pairs, as `as_threshold` takes it.
        own_threshold: a second threshold, such as that of the model.

    Returns:
        `roc_auc`, `eer`, `average_precision`, `tar_at_far_…`; `threshold`, and at this threshold the measures
        `AT_THRESHOLD`; with `own_threshold` also `own_threshold`, and at it `far_at_own_threshold`, ….

    Raises:
        DataError: no threshold keeps the limit that the choice sets.
    """
    asked = as_threshold(threshold)
    if curve is None:
        whole = ("roc_auc", "eer", "average_precision", *(f"tar_at_far_{name}" for name in RATES))
        return dict.fromkeys((*whole, "threshold", *AT_THRESHOLD), math.nan)
    measures: dict[str, float | int] = {
        "roc_auc": curve.auc,
        "eer": curve.eer,
        "average_precision": curve.average_precision,
        **{f"tar_at_far_{name}": curve.tar_at_far(rate) for name, rate in RATES.items()},
    }
    distance = curve.choose(asked) if isinstance(asked, ThresholdRule) else sign * asked
    measures |= {"threshold": sign * distance + 0.0, **curve.at(distance)}
    if own_threshold is not None:
        at_own = curve.at(sign * own_threshold)
        measures |= {"own_threshold": own_threshold}
        measures |= {f"{name}_at_own_threshold": value for name, value in at_own.items()}
    return measures


def chosen_threshold(
    values: NDArray[np.float32], labels: ArrayLike, metric: Metric, rule: ThresholdRule
) -> float:
    """Return the threshold that a rule chooses from pairs, in the metric's own orientation.

    Args:
        values: `(n,)`, the metric of each pair.
        labels: `(n,)`, 1 for a matching pair, 0 for a non-matching pair.
        metric: the metric.
        rule: how to choose.

    Raises:
        DataError: labels that are not 1 or 0, pairs of one kind, values that are not finite, or no threshold
            keeps the rule's limit.
    """
    alike = pair_targets(labels, len(values)).astype(bool)
    if not np.isfinite(values).all():
        raise DataError("the metric returned NaN or infinity for some pairs")
    curve = Curve.of_pairs(oriented(values, metric) + np.float32(0), alike)
    if curve is None:
        raise DataError(
            f"a threshold is chosen from pairs of both kinds, 1 (alike) and 0; all {len(values)} are "
            f"{'1' if alike.any() else '0'}"
        )
    return float(oriented(curve.choose(rule), metric))


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Args:
        measures: values of measures, by name.
        queries: arrays `(n,)` by name: the scores of each query, NaN if it has no relevant item, and
            `nearest`, the index of its nearest item; for pairs `distance`.
        curve: the ROC curve of verification; None if all pairs are of one kind, or it was not requested.
    """

    measures: Measures
    queries: dict[str, NDArray[Any]]
    curve: Curve | None


class PairCounts(Accumulator):
    """An accumulator that counts the distances of matching and of non-matching pairs.

    The pairs are those of queries i < j, or all with a gallery.
    """

    takes_pairs = True

    def __init__(self) -> None:
        self._histograms: list[Histogram] = []  # one for each thread
        self._counted = False

    def depth(self, relevant: int, findable: int) -> int:
        return 0

    def add(self, chunk: Chunk) -> None:
        if chunk.distances is not None:
            self.add_pairs(chunk.queries, chunk.rows, slice(None), chunk.distances)

    def finish(self, queries: Queries) -> None:
        if self._counted:
            return
        gallery = None if queries.within else queries.gallery
        if on_accelerator():
            tiles = partial(_device_tiles, queries, gallery)
            self._histograms.append(counted_on_device(queries.metric, tiles))
        else:
            # One tile is counted while the next one is computed.
            with ThreadPoolExecutor(1) as thread:
                counted: Future[None] = thread.submit(lambda: None)
                for tile in distance_tiles(queries.metric, queries.vectors, gallery):
                    counted.result()
                    counted = thread.submit(self.add_pairs, queries, *tile)
                counted.result()

    def add_pairs(
        self, queries: Queries, rows: slice, columns: slice, distances: NDArray[np.float32]
    ) -> None:
        self._counted = True
        alike = queries.ids[rows, None] == queries.gallery_ids[columns]
        first = columns.start or 0
        if queries.within and first < rows.stop:
            pairs = np.arange(first, first + distances.shape[1]) > np.arange(rows.start, rows.stop)[:, None]
            distances, alike = distances[pairs], alike[pairs]
        try:
            histogram = self._histograms.pop()
        except IndexError:  # all are in use
            histogram = Histogram()
        histogram.add(distances, alike)
        self._histograms.append(histogram)

    @cached_property
    def histogram(self) -> Histogram:
        """The counts of all pairs."""
        whole = Histogram()
        for histogram in self._histograms:
            whole.merge(histogram)
        return whole

    def curve(self) -> Curve | None:
        """Return the ROC curve; None if all pairs are of one kind."""
        return Curve.of(*self.histogram.counts(), self.histogram.width)


def _device_tiles(queries: Queries, gallery: NDArray[np.float32] | None) -> Iterator[DeviceTile]:
    """Yield the distances of all pairs as tensors; each pair counts once."""
    from keras import ops

    _, classes = np.unique(np.append(queries.ids, queries.gallery_ids), return_inverse=True)
    row_ids, column_ids = np.split(classes, [len(queries.ids)])
    columns_from_0 = np.arange(len(column_ids))
    rows_before = columns_from_0 if queries.within else np.full(len(row_ids), -1)
    for rows, columns, values in value_tiles(queries.metric, queries.vectors, gallery):
        height, width = values.shape
        values = ops.stop_gradient(ops.convert_to_tensor(values, "float32"))
        yield DeviceTile(
            oriented(values, queries.metric),
            _padded(rows_before[rows], height, np.iinfo(np.int32).max),
            _padded(columns_from_0[columns], width, -1),
            _padded(row_ids[rows], height),
            _padded(column_ids[columns], width),
        )


def _padded(numbers: NDArray[np.int64], size: int, value: int = 0) -> Any:
    """Return an int32 tensor of numbers, padded to a size; by default with a value that does not matter."""
    from keras import ops

    padded = np.pad(numbers.astype(np.int32), (0, size - len(numbers)), constant_values=value)
    return ops.convert_to_tensor(padded)


def _rounded_up(value: float) -> float:
    """Return the next value with three digits."""
    unit = 10 ** (math.floor(math.log10(value)) - 2)
    return float(math.ceil(value / unit) * unit)
