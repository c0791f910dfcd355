"""The share of each factor in a study's outcome, by Optuna's evaluators on a study in memory."""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from siamkit.report.load import StoredStudy
from siamkit.report.sections._naming import is_number

Method = Literal["fANOVA", "PED-ANOVA"]
Shares = dict[str, float]
METHODS: tuple[Method, ...] = get_args(Method)

ENOUGH = 8  # completed trials below which importances say nothing
MOST = 300  # trials that a forest is grown on; more are drawn from
LEVELS = 8  # that a number is put into for a forest, whose time grows with them
FOREST = {"n_trees": 32, "max_depth": 12, "seed": 0}


def shares_of(stored: StoredStudy, method: Method = "PED-ANOVA") -> dict[str, float]:
    """The share of each factor that all trials have; empty with too few trials or factors.

    Args:
        stored: the study.
        method: `fANOVA` (Hutter, Hoos and Leyton-Brown 2014), of the variance; `PED-ANOVA` (Watanabe, Bansal
            and Hutter 2023), of what tells the better trials from the rest.
    """
    if len(stored.completed) < ENOUGH or len(stored.varied) < 2:
        return {}
    trials = stored.completed
    if len(trials) > MOST and method == "fANOVA":
        drawn = np.random.default_rng(0).choice(len(trials), MOST, replace=False)
        trials = [trials[row] for row in np.sort(drawn)]
    worth = np.array([trial["figures"][stored.objective] for trial in trials])
    spaces: dict[str, BaseDistribution] = {}
    columns: dict[str, list[Any]] = {}
    for name in stored.varied:
        values = [trial["factors"].get(name) for trial in trials]
        few = len({str(value) for value in values}) <= LEVELS
        if all(is_number(value) for value in values) and not (few and method == "PED-ANOVA"):
            if min(values) < max(values):
                columns[name] = _levels(values) if method == "fANOVA" else [float(value) for value in values]
                spaces[name] = FloatDistribution(min(columns[name]), max(columns[name]))
        elif method == "fANOVA":
            columns[name] = _ordered([str(value) for value in values], worth)
            spaces[name] = FloatDistribution(0, max(columns[name]))
        else:
            columns[name] = [str(value) for value in values]
            spaces[name] = CategoricalDistribution(sorted(set(columns[name])))
    spaces = {name: space for name, space in spaces.items() if not space.single()}
    if len(set(worth)) < 2 or len(spaces) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if stored.maximize else "minimize")
    study.add_trials(
        [
            optuna.create_trial(
                params={name: columns[name][row] for name in spaces},
                distributions=spaces,
                value=value,
            )
            for row, value in enumerate(worth)
        ]
    )
    evaluator: Any = (
        optuna.importance.FanovaImportanceEvaluator(**FOREST)
        if method == "fANOVA"
        else optuna.importance.PedAnovaImportanceEvaluator()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's notes on what is experimental
        # PED-ANOVA's numbers mean something beside each other only.
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator, normalize=method == "PED-ANOVA"
        )
    return {name: float(share) for name, share in found.items()}


def _ordered(values: list[str], worth: np.ndarray) -> list[float]:
    """Levels without an order in that of their means, by which a regression tree splits them best (Breiman
    et al. 1984); as so many columns of noughts and ones they would take a forest hours."""
    array = np.array(values)
    order = sorted(set(values), key=lambda level: float(worth[array == level].mean()))
    return [float(order.index(value)) for value in values]


def _levels(values: list[Any]) -> list[float]:
    """Numbers by their rank in a few levels, as many in each."""
    array = np.asarray(values, np.float64)
    edges = np.unique(np.quantile(array, np.linspace(0, 1, LEVELS + 1)[1:-1]))
    found = np.searchsorted(edges, array, side="right").astype(np.float64)
    return list(found) if len(set(found)) > 1 else list(array)
