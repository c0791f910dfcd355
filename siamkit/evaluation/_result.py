"""What an evaluation finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from siamkit.evaluation.verification import Curve

Measures = dict[str, float | int]
Queries = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Evaluation:
    """What was found of embeddings.

    Args:
        measures: by name.
        queries: arrays `(n,)` of each query's scores, NaN where it has nothing to find, and `nearest`, the
            index of its nearest item; of pairs `distance`.
        curve: of verification; None where all pairs are of one kind, or it was not asked for.
    """

    measures: Measures
    queries: Queries
    curve: Curve | None
