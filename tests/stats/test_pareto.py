"""The front, against a loop over all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from siamkit.stats.results import front

RNG = np.random.default_rng(0)


def slowly(values: np.ndarray, directions: list[str]) -> list[int]:
    def dominates(one: np.ndarray, other: np.ndarray) -> bool:
        better = [a > b if d == "maximize" else a < b for a, b, d in zip(one, other, directions, strict=True)]
        worse = [a < b if d == "maximize" else a > b for a, b, d in zip(one, other, directions, strict=True)]
        return any(better) and not any(worse)

    usable = [row for row in range(len(values)) if np.isfinite(values[row]).all()]
    return [row for row in usable if not any(dominates(values[other], values[row]) for other in usable)]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_it_is_what_no_other_row_dominates(objectives: int) -> None:
    for _ in range(30):
        directions = list(RNG.choice(["maximize", "minimize"], objectives))
        values = RNG.integers(0, 6, (40, objectives)).astype(float)  # with many ties and equal rows
        values[RNG.random(values.shape) < 0.02] = np.nan
        assert front(values, directions) == slowly(values, directions)


def test_equal_rows_are_on_it_together() -> None:
    assert front([[1, 2], [1, 2], [0, 3], [2, 2]], ["maximize", "minimize"]) == [3]
    assert front([[1, 2], [1, 2], [0, 3]], ["maximize", "minimize"]) == [0, 1]
    assert front([[0.3], [0.9], [0.9]], ["maximize"]) == [1, 2]


def test_nothing_has_an_empty_front_and_many_rows_are_quick() -> None:
    assert front([], ["maximize", "minimize"]) == []
    assert front([[np.nan, 1.0]], ["maximize", "minimize"]) == []
    large = RNG.normal(size=(20000, 3))
    found = front(large, ["minimize"] * 3)
    assert 20 < len(found) < 2000


def test_sums_that_round_alike_do_not_hide_a_dominated_row() -> None:
    # Beside 1e20 the smaller objective is lost in the sum, and the order is by row.
    assert front([[1e20, 5.0], [1e20, 4.0]], ["minimize", "minimize"]) == [1]
