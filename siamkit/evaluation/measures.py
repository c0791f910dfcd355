"""The measures: names, directions, groups, limits, and how a threshold is chosen. Imports nothing heavy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Any, Literal, get_args

from siamkit.errors import DataError
from siamkit.registry.specs import SUPERVISIONS

Direction = Literal["maximize", "minimize"]

Group = Literal[
    "retrieval", "ranking", "verification", "graded", "clustering", "neighbors", "geometry", "cost", "speed"
]

GROUPS: tuple[Group, ...] = get_args(Group)
"""Measures computed together. `ranking` needs the whole of each ranking, `retrieval` only its top."""

QUICK: frozenset[Group] = frozenset({"retrieval", "verification"})
"""The groups that cost little more than the distances."""


@dataclass(frozen=True)
class Measure:
    """A measure of the quality of embeddings, such as recall_at_1.

    Args:
        direction: the better direction, `maximize` or `minimize`; None if neither is better.
        supervisions: the kinds of supervision (labels, pairs, …) that it can be computed with.
        group: the measures that it is computed together with.
        summary: its meaning in one line.
    """

    direction: Direction | None
    supervisions: tuple[str, ...]
    group: Group
    summary: str

    @property
    def has_zero(self) -> bool:
        """Whether 0 is an end or the middle of its scale, as for shares and correlations."""
        return self.direction is not None and self.group not in ("geometry", "cost", "speed")


_UP: Direction = "maximize"
_DOWN: Direction = "minimize"
_LABELS = ("labels",)
_VERIFIED = ("labels", "pairs")
_SCORES = ("scores",)

_TABLE: dict[Group, tuple[tuple[str, Direction | None, tuple[str, ...], str], ...]] = {
    "retrieval": (
        ("recall_at_1", _UP, _LABELS, "fraction of queries whose first item is relevant"),
        ("recall_at_5", _UP, _LABELS, "fraction of queries with a relevant item among the first 5"),
        ("recall_at_10", _UP, _LABELS, "fraction of queries with a relevant item among the first 10"),
        ("precision_at_1", _UP, _LABELS, "fraction of first items that are relevant"),
        ("precision_at_5", _UP, _LABELS, "fraction of the first 5 items that are relevant"),
        ("precision_at_10", _UP, _LABELS, "fraction of the first 10 items that are relevant"),
        ("r_precision", _UP, _LABELS, "fraction of relevant items among the first R, R being their number"),
        ("map_at_r", _UP, _LABELS, "mean average precision over the first R items"),
        ("ndcg_at_10", _UP, _LABELS, "normalized discounted cumulative gain of the first 10"),
    ),
    "ranking": (
        ("mrr", _UP, _LABELS, "mean of 1 / rank of the first relevant item"),
        ("map", _UP, _LABELS, "mean average precision over the whole ranking"),
    ),
    "verification": (
        ("roc_auc", _UP, _VERIFIED, "probability that a matching pair is nearer than another pair"),
        ("eer", _DOWN, _VERIFIED, "error rate at which false accepts and false rejects are equal"),
        ("tar_at_far_1e-1", _UP, _VERIFIED, "fraction of matching pairs accepted at 10% false accepts"),
        ("tar_at_far_1e-2", _UP, _VERIFIED, "fraction of matching pairs accepted at 1% false accepts"),
        ("tar_at_far_1e-3", _UP, _VERIFIED, "fraction of matching pairs accepted at 0.1% false accepts"),
        ("average_precision", _UP, _VERIFIED, "mean precision over the matching pairs, the nearest first"),
        ("threshold", None, _VERIFIED, "value of the metric up to which pairs are accepted"),
        ("far", _DOWN, _VERIFIED, "false accept rate: fraction of other pairs accepted"),
        ("frr", _DOWN, _VERIFIED, "false reject rate: fraction of matching pairs rejected"),
        ("false_accepts", None, _VERIFIED, "number of other pairs accepted"),
        ("false_rejects", None, _VERIFIED, "number of matching pairs rejected"),
        ("precision", _UP, _VERIFIED, "fraction of accepted pairs that match"),
        ("recall", _UP, _VERIFIED, "fraction of matching pairs accepted"),
        ("f1", _UP, _VERIFIED, "harmonic mean of precision and recall"),
        ("accuracy", _UP, _VERIFIED, "fraction of pairs classified correctly"),
        ("balanced_accuracy", _UP, _VERIFIED, "mean of the accuracy on matching and on other pairs"),
    ),
    "graded": (
        ("spearman", _UP, _SCORES, "rank correlation of similarity and score"),
        ("pearson", _UP, _SCORES, "linear correlation of similarity and score"),
    ),
    "clustering": (
        ("nmi", _UP, _LABELS, "normalized mutual information of clusters and classes"),
        ("ami", _UP, _LABELS, "mutual information of clusters and classes, corrected for chance"),
        ("ari", _UP, _LABELS, "pairs on which clusters and classes agree, corrected for chance"),
    ),
    "neighbors": (
        ("knn_accuracy", _UP, _LABELS, "fraction of items whose 5 nearest vote for their class"),
        ("accuracy_5_way_1_shot", _UP, _LABELS, "choice among 5 classes, from 1 example of each"),
        ("accuracy_5_way_5_shot", _UP, _LABELS, "choice among 5 classes, from 5 examples of each"),
    ),
    "geometry": (
        ("alignment", _DOWN, _LABELS, "mean squared distance of unit vectors of one class"),
        ("uniformity", _DOWN, SUPERVISIONS, "log of how unevenly unit vectors fill the sphere"),
        ("effective_rank", _UP, SUPERVISIONS, "effective number of directions in which embeddings differ"),
        ("spread", None, SUPERVISIONS, "width relative to the distance from zero; 0 is one point"),
        ("intrinsic_dimension", None, SUPERVISIONS, "dimension of the surface that embeddings are on"),
        ("anisotropy", _DOWN, SUPERVISIONS, "mean cosine of two embeddings"),
        ("hubness", _DOWN, _LABELS, "skewness of how often an item is among the 10 nearest of others"),
        ("norm_spread", None, SUPERVISIONS, "standard deviation of the norms, relative to their mean"),
        ("class_ratio", _DOWN, _LABELS, "distance within classes, relative to that between classes"),
    ),
    "cost": (
        ("bytes_per_vector", _DOWN, SUPERVISIONS, "bytes to store one embedding"),
        ("parameters", _DOWN, SUPERVISIONS, "number of trained weights of the model"),
        ("flops", _DOWN, SUPERVISIONS, "floating-point operations to embed one item"),
    ),
    "speed": (("ms_per_item", _DOWN, SUPERVISIONS, "milliseconds to embed one item, in full batches"),),
}

_MEASURES = {
    name: Measure(direction, supervisions, group, summary)
    for group, rows in _TABLE.items()
    for name, direction, supervisions, summary in rows
}

MEASURES: Mapping[str, Measure] = MappingProxyType(_MEASURES)
"""Every measure, by its name."""

COUNTS = frozenset({"false_accepts", "false_rejects"})
"""The measures that are numbers of pairs."""

OBJECTIVES: Mapping[str, Measure] = MappingProxyType(
    {name: measure for name, measure in _MEASURES.items() if measure.direction is not None}
)
"""The measures that can be an objective: those with a direction."""

DEFAULT_OBJECTIVE: Mapping[str, str] = MappingProxyType(
    {"labels": "map_at_r", "pairs": "roc_auc", "scores": "spearman"}
)
"""The default objective of a study for each supervision."""

Measures = dict[str, float | int]
"""Values of measures, by name."""


def groups_of(names: Iterable[str]) -> frozenset[Group]:
    """Return the groups that these measures are computed with."""
    return frozenset(MEASURES[name].group for name in names if name in MEASURES)


def checked_groups(groups: Iterable[Group]) -> frozenset[Group]:
    """Return the groups as a set.

    Raises:
        DataError: a group does not exist.
    """
    names: frozenset[Group] = frozenset([groups] if isinstance(groups, str) else groups)  # type: ignore[list-item]
    for name in names:
        if name not in GROUPS:
            raise DataError(f"groups should be some of {', '.join(GROUPS)}, got {name!r}")
    return names


# ------------------------------------------------------------------ thresholds

BEST_IN = ("balanced_accuracy", "accuracy", "f1")
"""The measures that a threshold can be the best in."""

LIMITS = ("far", "precision", "recall")
"""The measures that a threshold can keep within a limit."""

COSTS = ("false_accept", "false_reject")
"""The costs that a threshold can minimize."""

_FORMS = (
    "should be a number, or say how to choose it: f1, accuracy, balanced_accuracy, far=0.001, "
    "precision=0.95, recall=0.95, or cost=10:1 (a false accept costs 10, a false reject 1)"
)


@dataclass(frozen=True)
class ThresholdRule:
    """How a threshold is chosen from pairs that match and pairs that do not.

    Of equally good thresholds the one with the fewest false accepts is chosen, but one that accepts no pair
    only if it is better than all others. The threshold is midway between two neighboring distances, or the
    largest distance if accepting all pairs is best.

    Args:
        name: `balanced_accuracy`, `accuracy` or `f1`: the best value of it; `far`: the most matching pairs at
            a false accept rate of at most `values[0]`; `precision`: the most matching pairs at a precision of
            at least `values[0]`; `recall`: the fewest false accepts at a recall of at least `values[0]`;
            `cost`: the lowest `values[0]` times false accepts plus `values[1]` times false rejects.
        values: the limit, or the two costs; empty for the others.

    Raises:
        DataError: an unknown name, or values that do not fit it.

    Example:
        >>> from siamkit.evaluation import ThresholdRule
        >>> print(ThresholdRule("far", (0.001,)), ThresholdRule("cost", (10, 1)), ThresholdRule("f1"))
        far=0.001 cost=10:1 f1
    """

    name: str = "balanced_accuracy"
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        counts = {**dict.fromkeys(BEST_IN, 0), **dict.fromkeys(LIMITS, 1), "cost": 2}
        if len(self.values) != counts.get(self.name):
            raise DataError(f"a threshold {_FORMS}, got {str(self)!r}")
        if self.name == "cost":
            if not all(0 <= value < math.inf for value in self.values) or not any(self.values):
                raise DataError(f"costs should be numbers of at least 0, and not both 0, got {str(self)!r}")
        elif not all(0 < value <= 1 for value in self.values):
            raise DataError(f"{self.name} should be a fraction above 0 and at most 1, got {str(self)!r}")

    def __str__(self) -> str:
        values = ":".join(repr(float(value)).removesuffix(".0") for value in self.values)
        return f"{self.name}={values}" if values else self.name


Threshold = float | str | Mapping[str, Any] | ThresholdRule
"""A threshold, or how to choose one: a number, `"f1"`, `"far=0.001"`, `{"far": 0.001}`, …"""


def as_threshold(threshold: Threshold | None) -> float | ThresholdRule:
    """Return a threshold as a number, or as the rule that chooses it; by default `balanced_accuracy`.

    Args:
        threshold: a number in the metric's own orientation; or `f1`, `accuracy`, `balanced_accuracy`,
            `far=0.001`, `precision=0.95`, `recall=0.95`, `cost=10:1` (a false accept costs 10 times a false
            reject); or a mapping, such as `{"far": 0.001}` or `{"cost": {"false_accept": 10, "false_reject":
            1}}`.

    Raises:
        DataError: any other value.
    """
    if threshold is None or isinstance(threshold, ThresholdRule):
        return threshold or ThresholdRule()
    try:
        name, values = _parts(threshold)
    except (TypeError, ValueError, KeyError):
        raise DataError(f"a threshold {_FORMS}, got {threshold!r}") from None
    if name:
        return ThresholdRule(name, values)
    if not math.isfinite(values[0]):
        raise DataError(f"a threshold should be a finite number, got {values[0]}")
    return values[0]


def _parts(threshold: Any) -> tuple[str, tuple[float, ...]]:
    """Return the name of a rule and its values, or no name and a number."""
    if isinstance(threshold, Mapping):
        ((name, value),) = threshold.items()
        if isinstance(value, Mapping):
            value = [value[cost] for cost in COSTS if len(value) == len(COSTS)]
        return str(name), tuple(map(_number, value if isinstance(value, list) else [value]))
    name, equals, values = str(threshold).partition("=")
    if isinstance(threshold, str) and (equals or name in BEST_IN):
        return name, tuple(map(_number, values.split(":"))) if equals else ()
    return "", (_number(threshold),)


def _number(value: Any) -> float:
    """Return a number or a text of one as a float; raises TypeError or ValueError."""
    if not isinstance(value, (str, Real)) or isinstance(value, bool):
        raise TypeError(f"got {value!r}")
    return float(value)


# ------------------------------------------------------------------ constraints

FROM_SIZE = frozenset({"bytes_per_vector"})
"""The measures that follow from the size of an embedding, so that they are known before training."""

BYTES_PER_NUMBER = 4  # float32

LIMIT_PATTERN = r"\s*(<=|>=)\s*([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)\s*"


@dataclass(frozen=True)
class Constraint:
    """A limit that a measure on the validation split has to keep.

    Args:
        measure: the measure's name.
        operator: `<=` or `>=`.
        limit: the largest or the smallest value that keeps it.

    Example:
        >>> from siamkit.evaluation import Constraint
        >>> speed = Constraint.parse("ms_per_item", "<= 2")
        >>> str(speed), speed.excess(3.0), speed.excess(1.0)
        ('ms_per_item <= 2', 0.5, -0.5)
    """

    measure: str
    operator: Literal["<=", ">="]
    limit: float

    @classmethod
    def parse(cls, measure: str, text: object) -> Constraint:
        """Return the constraint that a text such as `<= 64` puts on a measure.

        Raises:
            DataError: the text is something else.
        """
        match = re.fullmatch(LIMIT_PATTERN, text) if isinstance(text, str) else None
        if match is None or not math.isfinite(limit := float(match[2])):
            raise DataError(f"should be <= or >= with a number, as a text such as '<= 64', got {text!r:.60}")
        return cls(measure, match[1], limit)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.measure} {self.operator} {repr(self.limit).removesuffix('.0')}"

    def excess(self, value: float) -> float:
        """Return how far a value is beyond the limit, at most 0 if it keeps it.

        It is relative to the limit, unless that is 0: so bytes and milliseconds can be added up.
        """
        beyond = value - self.limit if self.operator == "<=" else self.limit - value
        return beyond / (abs(self.limit) or 1.0)


def measure_of(constraint: str) -> str:
    """Return the measure of a constraint as a text."""
    return constraint.split()[0]


def excesses(constraints: Iterable[Constraint], measures: Mapping[str, float]) -> dict[str, float]:
    """Return how far measures are beyond each constraint, by the constraint as a text."""
    return {str(each): each.excess(measures[each.measure]) for each in constraints}


def broken(excesses: Mapping[str, float]) -> list[str]:
    """Return the constraints that are not kept. A result is feasible if there is none."""
    return [constraint for constraint, excess in excesses.items() if excess > 0]


def total_excess(excesses: Mapping[str, float]) -> float:
    """Return how far the constraints that are not kept are exceeded, in total; 0 if all are kept."""
    return sum(max(0.0, excess) for excess in excesses.values())
