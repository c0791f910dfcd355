"""The figures there are, in one spelling everywhere, and which way is better. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from siamkit.errors import DataError
from siamkit.registry.specs import SUPERVISIONS

Group = Literal[
    "retrieval", "ranking", "verification", "graded", "clustering", "neighbours", "geometry", "cost", "speed"
]

GROUPS: tuple[Group, ...] = get_args(Group)
"""What is computed together. `ranking` wants all of each ranking, `retrieval` only its beginning."""

QUICK: frozenset[Group] = frozenset({"retrieval", "verification"})
"""The groups that cost little more than the distances themselves."""


@dataclass(frozen=True)
class Measure:
    """A named figure.

    Args:
        direction: which way is better; None where neither is.
        supervisions: the kinds of evaluation data it can be computed on.
        group: what it is computed with.
        summary: what it says, in a line.
    """

    direction: Literal["maximize", "minimize"] | None
    supervisions: tuple[str, ...]
    group: Group
    summary: str


_UP: Literal["maximize"] = "maximize"
_DOWN: Literal["minimize"] = "minimize"
_LABELS = ("labels",)
_VERIFIED = ("labels", "pairs")
_SCORES = ("scores",)

_TABLE: dict[Group, tuple[tuple[str, Literal["maximize", "minimize"] | None, tuple[str, ...], str], ...]] = {
    "retrieval": (
        ("recall_at_1", _UP, _LABELS, "share of queries with a relevant item first"),
        ("recall_at_5", _UP, _LABELS, "share of queries with a relevant item among the first 5"),
        ("recall_at_10", _UP, _LABELS, "share of queries with a relevant item among the first 10"),
        ("precision_at_1", _UP, _LABELS, "share of first items that are relevant"),
        ("precision_at_5", _UP, _LABELS, "share of the first 5 items that are relevant"),
        ("precision_at_10", _UP, _LABELS, "share of the first 10 items that are relevant"),
        ("r_precision", _UP, _LABELS, "share of relevant items among the first R, their number"),
        ("map_at_r", _UP, _LABELS, "mean average precision over the first R items"),
        ("ndcg_at_10", _UP, _LABELS, "gain of the first 10, discounted by rank, of what could be"),
    ),
    "ranking": (
        ("mrr", _UP, _LABELS, "mean of 1 / rank of the first relevant item"),
        ("map", _UP, _LABELS, "mean average precision over the whole ranking"),
    ),
    "verification": (
        ("roc_auc", _UP, _VERIFIED, "chance that a pair alike is nearer than a pair not alike"),
        ("eer", _DOWN, _VERIFIED, "error rate where false accepts and false rejects are equal"),
        ("tar_at_far_1e-1", _UP, _VERIFIED, "pairs alike accepted with 10% false accepts"),
        ("tar_at_far_1e-2", _UP, _VERIFIED, "pairs alike accepted with 1% false accepts"),
        ("tar_at_far_1e-3", _UP, _VERIFIED, "pairs alike accepted with 0.1% false accepts"),
    ),
    "graded": (
        ("spearman", _UP, _SCORES, "rank correlation of similarity with the given scores"),
        ("pearson", _UP, _SCORES, "linear correlation of similarity with the given scores"),
    ),
    "clustering": (
        ("nmi", _UP, _LABELS, "normalised mutual information of clusters and classes"),
        ("ami", _UP, _LABELS, "mutual information of clusters and classes, less chance's"),
        ("ari", _UP, _LABELS, "pairs that clusters and classes agree on, less chance's"),
    ),
    "neighbours": (
        ("knn_accuracy", _UP, _LABELS, "share of items whose 5 nearest vote for their class"),
        ("accuracy_5_way_1_shot", _UP, _LABELS, "which of 5 classes, from 1 example of each"),
        ("accuracy_5_way_5_shot", _UP, _LABELS, "which of 5 classes, from 5 examples of each"),
    ),
    "geometry": (
        ("alignment", _DOWN, _LABELS, "mean squared distance of unit vectors of one class"),
        ("uniformity", _DOWN, SUPERVISIONS, "log of how unevenly unit vectors fill the sphere"),
        ("effective_rank", _UP, SUPERVISIONS, "in how many directions embeddings differ"),
        ("spread", None, SUPERVISIONS, "width against distance from zero; 0 is one point"),
        ("intrinsic_dimension", None, SUPERVISIONS, "dimension of what the embeddings lie on"),
        ("anisotropy", _DOWN, SUPERVISIONS, "mean cosine of two embeddings"),
        ("hubness", _DOWN, _LABELS, "skewness of how often an item is among the 10 nearest of others"),
        ("norm_spread", None, SUPERVISIONS, "standard deviation of the norms, of their mean"),
        ("class_ratio", _DOWN, _LABELS, "distance within classes, of that between them"),
    ),
    "cost": (
        ("bytes_per_vector", _DOWN, SUPERVISIONS, "what one embedding takes to store"),
        ("parameters", _DOWN, SUPERVISIONS, "how many numbers the model has learnt"),
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
"""Every figure, by its name."""

OBJECTIVES: Mapping[str, Measure] = MappingProxyType(
    {name: measure for name, measure in _MEASURES.items() if measure.direction is not None}
)
"""Those that an objective may name: of which one way is better."""

DEFAULT_OBJECTIVE: Mapping[str, str] = MappingProxyType(
    {"labels": "map_at_r", "pairs": "roc_auc", "scores": "spearman"}
)
"""What a study optimises when nobody says otherwise, by supervision of the data."""


def groups_of(names: Iterable[str]) -> frozenset[Group]:
    """The groups that certain figures are computed with."""
    return frozenset(MEASURES[name].group for name in names if name in MEASURES)


def chosen(groups: Iterable[Group]) -> frozenset[Group]:
    """The groups as a set.

    Raises:
        DataError: there is no such group.
    """
    found: frozenset[Group] = frozenset([groups] if isinstance(groups, str) else groups)  # type: ignore[list-item]
    for each in found:
        if each not in GROUPS:
            raise DataError(f"groups should be some of {', '.join(GROUPS)}, got {each!r}")
    return found
