"""Two contenders on the same pairs: figures that no query has a score of, such as the ROC-AUC."""

from __future__ import annotations

from numpy.typing import ArrayLike

from siamkit.stats import _intervals
from siamkit.stats.pair_bootstrap import Over, PairSample
from siamkit.stats.results import Difference, Interval

RESAMPLES = 2_000


def compare_pairs(
    measure: str,
    a: ArrayLike,
    b: ArrayLike,
    targets: ArrayLike,
    *,
    items: tuple[ArrayLike, ArrayLike] | None = None,
    classes: ArrayLike | None = None,
    over: Over | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """The difference B - A in a figure of pairs, on the same pairs, with interval and p-value.

    Pairs that share an item are not independent, and there are many more pairs than items: drawn as if they
    were, their interval is far too narrow. So what is drawn is items, or whole classes, and a pair
    weighs as `siamkit.stats._resampling.pair_weights` says, with the spread it has too much taken back
    (`siamkit.stats.pair_bootstrap.narrowed`); pairs themselves are drawn only where nothing is known of
    their items. Interval and p-value are
    `siamkit.stats._intervals.percentile_interval` and `percentile_p`, which always agree; where all
    resamples are equal (both contenders perfect, say), `unseen` tells from the number of independent
    couples of an alike and another pair how far off the truth may be.

    Time and memory: about `2 * resamples * pairs` numbers are gone through, a million or so at a time.

    Args:
        measure: `roc_auc`, `eer`, `tar_at_far_1e-3` and the like, `spearman`, `pearson`.
        a, b: `(n,)`, distances of the pairs, low for alike (a similarity is negated).
        targets: `(n,)`, 1 for a pair alike, 0 for one that is not; or a score, for the last two.
        items: the indices `(n,)` of each pair's first and second item.
        classes: `(items,)`, the class of every item that the indices speak of.
        over: `pairs`, `items` or `classes`; by default items where they are given, else pairs.
        resamples: how many.
        level: of the interval.
        seed: of the resamples.

    Raises:
        DataError: if arrays do not fit, all pairs are of one kind, there are fewer than 20 classes (10 items,
            10 pairs) to draw, or the figure is undefined in many resamples.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats._pairs import compare_pairs
        >>> rng = np.random.default_rng(0)
        >>> x = np.repeat(np.arange(30.0), 4)
        >>> i, j = np.triu_indices(len(x), 1)
        >>> alike = x[i] == x[j]
        >>> a, b = (np.abs(each[i] - each[j]) for each in (x + rng.normal(0, s, len(x)) for s in (4, 1)))
        >>> asked = {"items": (i, j), "classes": x, "over": "classes", "resamples": 200}
        >>> found = compare_pairs("roc_auc", a, b, alike, **asked)
        >>> found.shown, found.units
        (True, 30)
    """
    sample = PairSample.of({"a": a, "b": b}, measure, targets, items, classes, over)
    values = sample.values()
    difference = values[1] - values[0]
    differences = sample.replicates([-1.0, 1.0], resamples, seed)
    low, high = sample.interval(difference, differences, level, -2.0 if sample.graded else -1.0)
    return Difference(
        measure=measure,
        a=values[0],
        b=values[1],
        difference=difference,
        low=low,
        high=high,
        level=level,
        p=_intervals.percentile_p(differences, sample.units),
        p_adjusted=None,
        over=sample.over,
        units=sample.units,
        resamples=resamples,
    )


def interval_of_pairs(
    measure: str,
    distances: ArrayLike,
    targets: ArrayLike,
    *,
    items: tuple[ArrayLike, ArrayLike] | None = None,
    classes: ArrayLike | None = None,
    over: Over | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """A figure of pairs of one contender with its interval; see `compare_pairs`.

    Example:
        >>> from siamkit.stats._pairs import interval_of_pairs
        >>> print(interval_of_pairs("roc_auc", [0.1] * 50 + [0.9] * 50, [1] * 50 + [0] * 50))
        roc_auc 1.0000 [0.9289, 1.0000]
    """
    sample = PairSample.of({"distances": distances}, measure, targets, items, classes, over)
    (value,) = sample.values()
    replicates = sample.replicates([1.0], resamples, seed)
    low, high = sample.interval(value, replicates, level, -1.0 if sample.graded else 0.0)
    return Interval(measure, value, low, high, level, sample.over, sample.units, resamples)
