"""The importance of each factor: analysis of variance in a crossed design, elsewhere Optuna's evaluators."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, get_args

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from siamkit.stats.effects import Trials, is_number


@dataclass(frozen=True)
class Share:
    """The share of the outcome's variance that one term accounts for.

    Args:
        factors: the term's factors: one factor, two for their interaction, or none for the rest (higher
            interactions and chance).
        share: the share of the variance.
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
        trials: trials of a crossed design, planned regardless of results.

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


Method = Literal["fANOVA", "PED-ANOVA"]
METHODS: tuple[Method, ...] = get_args(Method)

Importances = dict[str, float]
"""The share of each factor, by name."""

MIN_TRIALS = 8
"""The minimum number of completed trials: with fewer, importances mean nothing."""

MAX_TRIALS = 300
"""The maximum number of trials to fit a forest to; of more, this many are drawn."""

LEVELS = 8
"""The number of bins of a numeric factor for a forest, whose fitting time grows with it."""

FOREST = {"n_trees": 32, "max_depth": 12, "seed": 0}


def importances(trials: Trials, method: Method = "PED-ANOVA") -> Importances:
    """Return the share of each factor that all trials have; empty with too few trials or factors.

    Args:
        trials: the completed trials, the best first, with the factors that vary.
        method: `fANOVA` (Hutter, Hoos and Leyton-Brown 2014), the share of the variance; or `PED-ANOVA`
            (Watanabe, Bansal and Hutter 2023), the share of the difference between the better trials and the
            rest.
    """
    factors, values = trials.factors, trials.values
    if len(values) < MIN_TRIALS:
        return {}
    if len(values) > MAX_TRIALS and method == "fANOVA":
        rows = np.sort(np.random.default_rng(0).choice(len(values), MAX_TRIALS, replace=False))
        factors, values = [factors[row] for row in rows], values[rows]
    spaces: dict[str, BaseDistribution] = {}
    columns: dict[str, list[Any]] = {}
    for name in trials.factor_names:
        levels = [row.get(name) for row in factors]
        columns[name], spaces[name] = (
            _forest_column(levels, values) if method == "fANOVA" else _ped_column(levels)
        )
    spaces = {name: space for name, space in spaces.items() if not space.single()}
    if len(set(values)) < 2 or len(spaces) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna_study = optuna.create_study(direction="maximize" if trials.maximize else "minimize")
    optuna_study.add_trials(
        [
            optuna.create_trial(
                params={name: columns[name][row] for name in spaces}, distributions=spaces, value=value
            )
            for row, value in enumerate(values)
        ]
    )
    evaluator: Any = (
        optuna.importance.FanovaImportanceEvaluator(**FOREST)
        if method == "fANOVA"
        else optuna.importance.PedAnovaImportanceEvaluator()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's notes on experimental features
        # The values of PED-ANOVA have a meaning relative to each other only.
        shares = optuna.importance.get_param_importances(
            optuna_study, evaluator=evaluator, normalize=method == "PED-ANOVA"
        )
    return {name: float(share) for name, share in shares.items()}


def _ped_column(levels: Sequence[Any]) -> tuple[list[Any], BaseDistribution]:
    """Return a factor as PED-ANOVA takes it: a number with many levels as a range, else categories."""
    if all(is_number(level) for level in levels) and len({str(level) for level in levels}) > LEVELS:
        numbers = [float(level) for level in levels]
        return numbers, FloatDistribution(min(numbers), max(numbers))
    names = [str(level) for level in levels]
    return names, CategoricalDistribution(sorted(set(names)))


def _forest_column(levels: Sequence[Any], values: NDArray[np.float64]) -> tuple[list[Any], BaseDistribution]:
    """Return a factor as a forest takes it: numbers in a few bins, other levels in the order of their means.

    A regression tree splits categories best in the order of their means (Breiman et al. 1984); one column of
    zeros and ones for each would take a forest hours.
    """
    if all(is_number(level) for level in levels):
        numbers = np.asarray(levels, np.float64)
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, LEVELS + 1)[1:-1]))
        bins = np.searchsorted(edges, numbers, side="right").astype(np.float64)
        column = list(bins) if len(set(bins)) > 1 else list(numbers)
    else:
        names = np.array([str(level) for level in levels])
        order = sorted(set(names), key=lambda level: float(values[names == level].mean()))
        column = [float(order.index(name)) for name in names]
    return column, FloatDistribution(min(column), max(column))
