"""The rule for later seeds: by simulation, how often it drops the good and how often the bad."""

from __future__ import annotations

import math

import numpy as np
import pytest

from siamkit.study.worker.runner import futility

RNG = np.random.default_rng(0)


def scores(classes: int, each: int, behind: float, shared: float = 0.1) -> tuple[np.ndarray, ...]:
    """Scores by query of two configurations, whose difference varies by class and by query."""
    groups = np.repeat(np.arange(classes), each)
    hard = RNG.normal(0.6, 0.3, len(groups))  # the same for both
    by_class = RNG.normal(0, shared, classes)[groups]
    best = hard + RNG.normal(0, 0.1, len(groups))
    mine = hard - behind + by_class + RNG.normal(0, 0.1, len(groups))
    return mine, best, groups


def dropped(tries: int, *args: float, **options: float) -> float:
    return sum(futility(*scores(*args, **options)) is not None for _ in range(tries)) / tries  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", [5, 10, 50])
def test_one_that_is_as_good_is_hardly_ever_dropped(classes: int) -> None:
    # 1 in 740; of 3,000 about 4, and more than 15 once in ten thousand such tests.
    assert dropped(3000, classes, 20, 0.0) <= 15 / 3000
    assert dropped(500, classes, 20, -0.2) == 0  # nor one that is better


@pytest.mark.parametrize("classes", [10, 50])
def test_one_that_is_far_behind_is_nearly_always_dropped(classes: int) -> None:
    assert dropped(200, classes, 20, 0.3) > 0.95


def test_classes_count_and_not_only_queries() -> None:
    # A thousand queries of ten classes are hardly more than ten: were they independent, 0.1 / √10 of
    # difference between classes would be ten standard errors, and this would be dropped all the time.
    assert dropped(500, 10, 100, 0.0, shared=0.3) <= 5 / 500


def test_the_bound_by_hand() -> None:
    # Six classes of one query, differences 1, 1, 1, 1, 1, 7: mean 2, sums -1 five times and 5,
    # √(6/5 x 30) / 6 = 1. The t of 5 degrees of freedom as rare as 3 normal errors is 5.5.
    mine = -np.array([1.0, 1, 1, 1, 1, 7])
    assert futility(mine, np.zeros(6), np.arange(6)) is None
    told = futility(mine - 4, np.zeros(6), np.arange(6))
    assert (
        told == "stopped for futility: 6 below the best trial on the same 6 queries after the first seed; "
        "up to 5.5 could be chance"
    )
    told = futility(mine - 4, np.zeros(6), np.arange(6), better="it", when="at 8")
    assert told == "stopped for futility: 6 below it on the same 6 queries at 8; up to 5.5 could be chance"


def test_what_seeds_do_by_themselves_is_no_reason() -> None:
    mine, best, groups = scores(50, 20, 0.3)
    assert futility(mine, best, groups) is not None
    assert futility(mine, best, groups, seed_std=0.05) is not None
    assert futility(mine, best, groups, seed_std=0.1) is None  # 3 x √2 x 0.1 is 0.42


def test_queries_without_a_score_and_few_classes_tell_nothing() -> None:
    mine, best, groups = scores(10, 20, 0.5)
    mine[::3] = math.nan
    assert futility(mine, best, groups) is not None
    assert futility(np.full(200, math.nan), best, groups) is None
    assert futility(mine, best, groups % 4) is None
    assert futility([], [], []) is None
    names = np.array([f"class {each}" for each in groups])
    assert futility(mine, best, names) == futility(mine, best, groups)
    assert futility(best, best, groups) is None
