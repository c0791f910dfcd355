"""The figures an objective may name, and which way is better. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from siamkit.specs import SUPERVISIONS


@dataclass(frozen=True)
class Figure:
    """A named figure.

    Args:
        direction: which way is better.
        supervisions: the kinds of evaluation data it can be computed on.
        summary: what it says, in a line.
    """

    direction: Literal["maximize", "minimize"]
    supervisions: tuple[str, ...]
    summary: str


_LABELS = ("labels",)
_VERIFIED = ("labels", "pairs")
_SCORES = ("scores",)

FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "recall_at_1": Figure("maximize", _LABELS, "share of queries with a relevant item first"),
        "recall_at_5": Figure("maximize", _LABELS, "share of queries with a relevant item among the first 5"),
        "recall_at_10": Figure(
            "maximize", _LABELS, "share of queries with a relevant item among the first 10"
        ),
        "precision_at_1": Figure("maximize", _LABELS, "share of first items that are relevant"),
        "r_precision": Figure("maximize", _LABELS, "share of relevant items among the first R, their number"),
        "map_at_r": Figure("maximize", _LABELS, "mean average precision over the first R items"),
        "roc_auc": Figure("maximize", _VERIFIED, "chance that a pair alike is nearer than a pair not alike"),
        "eer": Figure("minimize", _VERIFIED, "error rate where false accepts and false rejects are equal"),
        "spearman": Figure("maximize", _SCORES, "rank correlation of similarity with the given scores"),
        "pearson": Figure("maximize", _SCORES, "linear correlation of similarity with the given scores"),
        "effective_rank": Figure("maximize", SUPERVISIONS, "in how many directions embeddings differ"),
        "bytes_per_vector": Figure("minimize", SUPERVISIONS, "what one embedding takes to store"),
        "parameters": Figure("minimize", SUPERVISIONS, "how many numbers the model has learnt"),
        "flops": Figure("minimize", SUPERVISIONS, "floating-point operations to embed one item"),
        "ms_per_item": Figure("minimize", SUPERVISIONS, "milliseconds to embed one item, in full batches"),
    }
)
"""Every figure an objective may name."""

DEFAULT_OBJECTIVE: Mapping[str, str] = MappingProxyType(
    {"labels": "map_at_r", "pairs": "roc_auc", "scores": "spearman"}
)
"""What a study optimises when nobody says otherwise, by supervision of the data."""
