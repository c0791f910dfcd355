"""What mattered: against hand calculations, simulation, and designs whose effects are known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from siamkit.errors import DataError
from siamkit.stats.effects import Trials

LOSSES = {"triplet": 0.5, "contrastive": 0.6, "proxy": 0.4}
METRICS = {"cosine": 0.0, "euclidean": 0.1}


def factorial(repeats=4, noise=0.02, together=0.0, seed=0):
    draw = np.random.default_rng(seed)
    factors, values = [], []
    for _, loss, metric in itertools.product(range(repeats), LOSSES, METRICS):
        surplus = together if (loss, metric) == ("proxy", "cosine") else 0.0
        factors.append({"loss": loss, "metric": metric})
        values.append(LOSSES[loss] + METRICS[metric] + surplus + draw.normal(0, noise))
    return Trials(factors, np.array(values), balanced=True)


def test_means_of_levels_and_their_order():
    trials = factorial()
    found = trials.levels("loss")
    assert [each.level for each in found] == ["contrastive", "triplet", "proxy"]
    for each in found:
        mine = [v for f, v in zip(trials.factors, trials.values, strict=True) if f["loss"] == each.level]
        assert each.mean == pytest.approx(np.mean(mine))
        assert each.best == max(mine)
        assert each.trials == each.budget == 8
        assert each.expected_best == pytest.approx(max(mine))
    lower = Trials(trials.factors, trials.values, maximize=False)
    assert [each.level for each in lower.levels("loss")] == ["proxy", "triplet", "contrastive"]
    assert lower.levels("loss")[0].low is None  # a sampler chose these: no interval


def test_intervals_hold_the_true_means_as_often_as_they_say():
    right = total = 0
    for seed in range(400):
        for each in factorial(noise=0.1, seed=seed).levels("loss"):
            right += each.low <= LOSSES[each.level] + 0.05 <= each.high
            total += 1
    assert 0.93 < right / total < 0.97


def test_the_interval_is_that_of_the_additive_model():
    trials = factorial(noise=0.05)
    design = np.array(
        [
            [1, f["loss"] == "contrastive", f["loss"] == "proxy", f["metric"] == "euclidean"]
            for f in trials.factors
        ],
        float,
    )
    left = trials.values - design @ np.linalg.solve(design.T @ design, design.T @ trials.values)
    freedom = len(trials.values) - 4
    half = stats.t.ppf(0.975, freedom) * math.sqrt((left**2).sum() / freedom / 8)
    for each in trials.levels("loss"):
        assert each.high - each.mean == pytest.approx(half)


def test_the_best_under_an_equal_budget_is_the_mean_of_the_best_of_all_such_choices():
    factors = [{"loss": "a"}] * 6 + [{"loss": "b"}] * 3
    values = np.array([0.1, 0.9, 0.4, 0.35, 0.6, 0.2, 0.5, 0.7, 0.65])
    for maximize, choose in ((True, max), (False, min)):
        found = {each.level: each for each in Trials(factors, values, maximize).levels("loss")}
        expected = np.mean([choose(chosen) for chosen in itertools.combinations(values[:6], 3)])
        assert found["a"].expected_best == pytest.approx(expected)
        assert found["b"].expected_best == pytest.approx(choose(values[6:]))
        assert found["a"].budget == 3
        assert found["a"].best == choose(values[:6])


def test_two_factors_that_only_add_have_no_surplus_and_others_have_it_where_it_is():
    alone = factorial(noise=0.0).interaction("loss", "metric")
    assert (alone.rows, alone.columns) == (tuple(LOSSES), tuple(METRICS))
    np.testing.assert_allclose(alone.residuals, 0, atol=1e-12)
    np.testing.assert_allclose(alone.means[0], [0.5, 0.6])
    assert (alone.counts == 4).all()
    together = factorial(noise=0.0, together=0.3).interaction("loss", "metric")
    # A surplus of 0.3 in one of 3 x 2 cells: (1 - 1/3) (1 - 1/2) of it stays there.
    assert together.residuals[2, 0] == pytest.approx(0.1)
    assert np.abs(together.residuals).max() == pytest.approx(0.1)
    np.testing.assert_allclose(together.residuals.sum(axis=0), 0, atol=1e-12)


def test_cells_without_trials_are_left_open():
    trials = Trials(
        [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"c": 3}], np.array([1.0, 2, 4, 9])
    )
    found = trials.interaction("a", "b")
    assert found.counts.tolist() == [[1, 1], [1, 0]]
    assert math.isnan(found.means[1, 1])
    assert math.isnan(found.residuals[1, 1])
    np.testing.assert_allclose(found.residuals[found.counts > 0], 0, atol=1e-12)
    with pytest.raises(DataError, match="no trial has the factor 'd'"):
        trials.levels("d")


def test_a_thin_design_is_told_in_words():
    assert factorial().warnings(["loss", "metric"], seeds=3) == []
    thin = Trials([{"loss": "a"}, {"loss": "a"}, {"loss": "a"}, {"loss": "b"}], np.arange(4.0))
    told = thin.warnings(["loss"], seeds=1)
    assert told[0].startswith("Only 4 trials completed")
    assert told[1].startswith("Each configuration was trained with one seed")
    assert told[2].startswith("The sampler preferred good regions")
    assert told[3] == "loss: fewer than 3 trials of b."
