"""How much of an outcome's variance each factor of a crossed design accounts for, and each two together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from siamkit.stats.effects import Trials


@dataclass(frozen=True)
class Share:
    """What a term accounts for.

    Args:
        factors: one for itself, two for what they do together beyond what each does alone; none for the rest:
            three factors and more together, and chance.
        share: of the outcome's variance.
    """

    factors: tuple[str, ...]
    share: float

    def __str__(self) -> str:
        return " × ".join(self.factors) or "the rest"


def variance_shares(trials: Trials) -> list[Share]:
    """The analysis of variance of a crossed design, η² = SS / SS_total, the largest share first.

    With as many trials of each pair of levels as of any other, the sums of squares of factors and of pairs
    add up to no more than the whole (Fisher 1925), and nothing has to be guessed. No such design, no answer:
    then `siamkit.stats.importance` estimates by a forest.

    Args:
        trials: laid out without regard to results.

    Returns:
        The shares, and at the end the rest; empty where trials are not balanced.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats.effects import Trials
        >>> from siamkit.stats.anova import variance_shares
        >>> cells = [{"metric": m, "loss": l} for m in ("cosine", "dot") for l in ("triplet", "margin")]
        >>> found = variance_shares(Trials(cells, np.array([0.5, 0.6, 0.8, 0.9]), True, True))
        >>> [(str(each), round(each.share, 2)) for each in found]
        [('metric', 0.9), ('loss', 0.1), ('metric × loss', 0.0), ('the rest', 0.0)]
    """
    names = list(dict.fromkeys(name for each in trials.factors for name in each))
    columns = {name: [str(each.get(name)) for each in trials.factors] for name in names}
    names = [name for name in names if len(set(columns[name])) > 1]
    total = float(((trials.values - trials.values.mean()) ** 2).sum())
    if not trials.balanced or not names or not total > 0 or not _crossed(columns, names):
        return []
    alone = {name: _between([columns[name]], trials.values) for name in names}
    both = {
        (a, b): _between([columns[a], columns[b]], trials.values) - alone[a] - alone[b]
        for a, b in combinations(names, 2)
    }
    found = [Share((name,), value / total) for name, value in alone.items()]
    found += [Share(pair, max(0.0, value / total)) for pair, value in both.items()]
    rest = max(0.0, 1 - sum(each.share for each in found))
    return [*sorted(found, key=lambda each: -each.share), Share((), rest)]


def _crossed(columns: dict[str, list[str]], names: list[str]) -> bool:
    """Whether each level meets each level of every other factor equally often."""
    for a, b in combinations(names, 2):
        counts = Counter(zip(columns[a], columns[b], strict=True))
        if len(counts) < len(set(columns[a])) * len(set(columns[b])) or len(set(counts.values())) > 1:
            return False
    return len(names) > 1 or len(set(Counter(columns[names[0]]).values())) == 1


def _between(columns: list[list[str]], values: NDArray[np.float64]) -> float:
    """The sum of squares between the groups that columns make."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, key in enumerate(zip(*columns, strict=True)):
        groups.setdefault(key, []).append(row)
    mean = values.mean()
    return float(sum(len(rows) * (values[rows].mean() - mean) ** 2 for rows in groups.values()))
