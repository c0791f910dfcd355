"""The analysis of variance of a crossed design: the share of each factor, and of each pair of factors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from siamkit.stats.effects import Trials


@dataclass(frozen=True)
class Share:
    """The share of the outcome's variance that one term accounts for.

    Args:
        factors: one factor; two for their interaction; none for the rest: higher interactions and chance.
        share: of the variance.
    """

    factors: tuple[str, ...]
    share: float

    def __str__(self) -> str:
        return " × ".join(self.factors) or "the rest"


def variance_shares(trials: Trials) -> list[Share]:
    """Return the analysis of variance of a crossed design, η² = SS / SS_total, the largest share first.

    If each combination of levels has equally many trials, the sums of squares of factors and of pairs add up
    to at most the total (Fisher 1925), and nothing has to be estimated. For other designs use
    `siamkit.stats.importance`, which estimates by a forest.

    Args:
        trials: laid out without regard to results.

    Returns:
        The shares, and the rest at the end; empty if the trials are not balanced.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats import Trials, variance_shares
        >>> cells = [{"metric": m, "loss": l} for m in ("cosine", "dot") for l in ("triplet", "margin")]
        >>> shares = variance_shares(Trials(cells, np.array([0.5, 0.6, 0.8, 0.9]), True, True))
        >>> [(str(term), round(term.share, 2)) for term in shares]
        [('metric', 0.9), ('loss', 0.1), ('metric × loss', 0.0), ('the rest', 0.0)]
    """
    columns = {name: [str(factors.get(name)) for factors in trials.factors] for name in trials.factor_names}
    columns = {name: column for name, column in columns.items() if len(set(column)) > 1}
    total = float(((trials.values - trials.values.mean()) ** 2).sum())
    if not trials.balanced or not columns or not total > 0 or not _crossed(columns):
        return []
    alone = {name: _between([column], trials.values) for name, column in columns.items()}
    shares = [Share((name,), squares / total) for name, squares in alone.items()]
    for a, b in combinations(columns, 2):
        both = _between([columns[a], columns[b]], trials.values) - alone[a] - alone[b]
        shares.append(Share((a, b), max(0.0, both / total)))
    rest = max(0.0, 1 - sum(term.share for term in shares))
    return [*sorted(shares, key=lambda term: -term.share), Share((), rest)]


def _crossed(columns: Mapping[str, Sequence[str]]) -> bool:
    """Return whether each level meets each level of every other factor equally often."""
    for a, b in combinations(columns.values(), 2):
        counts = Counter(zip(a, b, strict=True))
        if len(counts) < len(set(a)) * len(set(b)) or len(set(counts.values())) > 1:
            return False
    (first, *others) = columns.values()
    return bool(others) or len(set(Counter(first).values())) == 1


def _between(columns: Sequence[Sequence[str]], values: NDArray[np.float64]) -> float:
    """Return the sum of squares between the groups that the columns define."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, key in enumerate(zip(*columns, strict=True)):
        groups.setdefault(key, []).append(row)
    mean = values.mean()
    return float(sum(len(rows) * (values[rows].mean() - mean) ** 2 for rows in groups.values()))
