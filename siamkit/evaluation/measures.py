"""The measures: names, directions, groups, and the result of an evaluation. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from siamkit.errors import DataError
from siamkit.registry.specs import SUPERVISIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from siamkit.evaluation.verification import Curve

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
