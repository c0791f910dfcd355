"""Two contenders on the same queries: how they differ, how sure that is, and whether chance would do."""

from __future__ import annotations

from numpy.typing import ArrayLike

from siamkit.stats.bootstrap import RESAMPLES, Sample, Unit
from siamkit.stats.permutation import flipped
from siamkit.stats.results import Difference, Interval


def compare_queries(
    measure: str,
    a: ArrayLike,
    b: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    mean: Unit = "queries",
    over: Unit = "queries",
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """The difference B - A in a mean of per-query scores, paired by query, with interval and p-value.

    The mean is that of all queries, 1/n · Σ d_q, or of the classes' own means, 1/C · Σ_c d̄_c, in which a
    small class counts as much as a large one. `over` says what would be new in a repetition: queries
    of these very classes, or classes (a cluster bootstrap: whole classes are drawn), which is the question
    wherever the embedding will meet other classes than those evaluated, and the wider interval.

    The interval is `siamkit.stats._intervals.percentile_interval`; where no unit differs from
    another, `siamkit.stats._intervals.unseen` gives its width. The p-value is that of
    `siamkit.stats.permutation.permutation_p`. The two are different procedures, and where p is near
    1 - level one may see a difference and the other not; a verdict goes by the interval.

    Args:
        measure: its name, for the result.
        a, b: `(n,)`, the score of each query in [0, 1], NaN where it was excluded. A query counts if both
            scored it.
        classes: `(n,)`, the class of each query, wherever classes are spoken of.
        mean: over `queries`, or `classes` (the mean of the classes' means).
        over: `queries` or `classes`.
        resamples: how many for the interval, and at most how many for the p-value.
        level: of the interval.
        seed: of the resamples.

    Raises:
        DataError: if scores are no such numbers, fewer than 10 queries are scored for both, or there are
            fewer than 20 classes to draw.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats._paired import compare_queries
        >>> rng = np.random.default_rng(0)
        >>> a = rng.random(300) < 0.6
        >>> b = a | (rng.random(300) < 0.3)
        >>> found = compare_queries("recall_at_1", a, b)
        >>> round(found.difference, 2), found.shown, found.p < 0.001
        (0.12, True, True)
    """
    sample = Sample.of({"a": a, "b": b}, classes, mean, over)
    low, high = sample.interval(sample.scores[1] - sample.scores[0], resamples, level, seed, (-1.0, 1.0))
    of_a, of_b = (sample.mean_of(scores) for scores in sample.scores)
    return Difference(
        measure=measure,
        a=of_a,
        b=of_b,
        difference=of_b - of_a,
        low=low,
        high=high,
        level=level,
        p=flipped(sample.shares(sample.scores[1] - sample.scores[0]), resamples, seed),
        p_adjusted=None,
        over=over,
        units=sample.units,
        resamples=resamples,
    )


def interval_of(
    measure: str,
    scores: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    mean: Unit = "queries",
    over: Unit = "queries",
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean of one contender's per-query scores with its interval; see `compare_queries`.

    Two such intervals that overlap say nothing about the difference: the pairing is lost in them.

    Example:
        >>> from siamkit.stats._paired import interval_of
        >>> print(interval_of("recall_at_1", [1.0] * 100))
        recall_at_1 1.0000 [0.9638, 1.0000]
    """
    sample = Sample.of({"scores": scores}, classes, mean, over)
    low, high = sample.interval(sample.scores[0], resamples, level, seed, (0.0, 1.0))
    value = sample.mean_of(sample.scores[0])
    return Interval(measure, value, low, high, level, over, sample.units, resamples)
