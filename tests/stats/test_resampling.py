"""How units are drawn again: whole counts, one stream whatever the portions, what they mean to pairs."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from siamkit.errors import DataError
from siamkit.stats import resampling
from siamkit.stats.resampling import (
    all_flips,
    bootstrap_weights,
    check_classes,
    exponential_weights,
    pair_weights,
    random_flips,
)


def rng():
    return np.random.default_rng(0)


def test_counts_are_multinomial():
    counts = np.concatenate(list(bootstrap_weights(5, 20_000, rng())))
    assert (counts.sum(axis=1) == 5).all()
    assert (counts == np.round(counts)).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.03)
    # n · p · (1 - p) = 4/5 on the diagonal, -n · p² = -1/5 off it.
    np.testing.assert_allclose(np.cov(counts.T), np.eye(5) - 0.2, atol=0.03)


def test_smooth_weights_have_mean_and_variance_one():
    drawn = np.concatenate(list(exponential_weights(3, 50_000, rng())))
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(3), atol=0.06)


def test_flips_are_fair_and_independent():
    drawn = np.concatenate(list(random_flips(70, 5000, rng())))  # more than fit a word
    assert drawn.shape == (5000, 70)
    assert set(np.unique(drawn)) == {0, 1}
    np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=0.04)
    correlation = np.corrcoef(drawn.T) - np.eye(70)
    assert np.abs(correlation).max() < 0.08


@pytest.mark.parametrize("draw", [bootstrap_weights, random_flips, exponential_weights])
@pytest.mark.parametrize("chunk", [1, 100, 333])
def test_what_is_drawn_does_not_depend_on_the_portions(monkeypatch, draw, chunk):
    whole = np.concatenate(list(draw(13, 50, rng())))
    monkeypatch.setattr("siamkit.stats.resampling.CHUNK", chunk)
    parts = list(draw(13, 50, rng()))
    assert len(parts) > 1
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_row_that_grows_further_on_makes_portions_smaller():
    assert len(next(bootstrap_weights(10, 1000, rng()))) == 1000
    assert len(next(bootstrap_weights(10, 1000, rng(), width=resampling.CHUNK // 7))) == 7


def test_memory_does_not_grow_with_the_resamples():
    tracemalloc.start()
    for _ in bootstrap_weights(10_000, 2000, rng()):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2000 * 10_000 * 8 / 3


def test_every_flip_goes_through_all_ways_once_but_for_the_sign():
    ways = {tuple(1 - 2 * row) for row in all_flips(5)}
    assert len(ways) == 16
    both = ways | {tuple(-each for each in way) for way in ways}
    assert both == set(itertools.product((-1, 1), repeat=5))
    assert all_flips(1).tolist() == [[0]]


def test_pairs_weigh_as_many_as_the_drawn_copies_make():
    """Copies written out one by one: of two units each with each, within a unit each with itself."""
    units = np.array([0, 0, 1, 2, 2])  # of five items
    first, second = np.triu_indices(5, 1)
    counts = np.concatenate(list(bootstrap_weights(3, 30, rng())))
    expected = np.zeros((30, len(first)))
    for row, drawn in enumerate(counts.astype(int)):
        copies = [(unit, copy) for unit in range(3) for copy in range(drawn[unit])]
        for pair, (i, j) in enumerate(zip(first, second, strict=True)):
            for one, other in itertools.product(copies, copies):
                if one[0] == units[i] and other[0] == units[j]:
                    expected[row, pair] += units[i] != units[j] or one == other
    np.testing.assert_array_equal(pair_weights(counts, units[first], units[second]), expected)


def test_too_few_classes_are_refused_with_what_would_do():
    check_classes(20)
    with pytest.raises(DataError, match=r"at least 20 of them, got 19: .* more classes, or use queries"):
        check_classes(19)
