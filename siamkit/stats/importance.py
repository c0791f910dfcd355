"""The importance of each factor in a study, estimated by Optuna's evaluators on a study in memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from siamkit.stats.effects import Trials, is_number

Method = Literal["fANOVA", "PED-ANOVA"]
METHODS: tuple[Method, ...] = get_args(Method)

Importances = dict[str, float]
"""The share of each factor, by name."""

MIN_TRIALS = 8
"""With fewer completed trials importances say nothing."""

MAX_TRIALS = 300
"""The most trials to fit a forest to; of more, this many are drawn."""

LEVELS = 8
"""How many levels a numeric factor is binned into for a forest, whose time grows with them."""

FOREST = {"n_trees": 32, "max_depth": 12, "seed": 0}


def importances(trials: Trials, method: Method = "PED-ANOVA") -> Importances:
    """Return the share of each factor that all trials have; empty with too few trials or factors.

    Args:
        trials: the completed trials, the best first, with the factors that vary.
        method: `fANOVA` (Hutter, Hoos and Leyton-Brown 2014), the share of the variance; `PED-ANOVA`
            (Watanabe, Bansal and Hutter 2023), the share of what separates the better trials from the rest.
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
