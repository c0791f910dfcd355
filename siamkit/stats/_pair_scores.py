"""How well each pair is judged, so that one can see on which pairs two contenders differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pair_scores(distances: NDArray[np.floating], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """A score in [0, 1] of each pair, 1 for one that is judged as well as can be.

    Of pairs alike or not: for one alike the share of those not alike that are farther, for one not alike the
    share of those alike that are nearer, equals counting half. The mean over either kind is the ROC-AUC;
    these are the placements of DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More
    Correlated ROC Curves", Biometrics 1988. Of graded pairs: 1 less how far the rank of the similarity is
    from that of the score, of n - 1 ranks that it may be off.

    Args:
        distances: `(n,)`, low for alike.
        targets: `(n,)`, 1 for a pair alike, 0 for one that is not, with some of both; or its score.

    Returns:
        `(n,)`.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats._pair_scores import pair_scores
        >>> pair_scores(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 0.0, 1.0, 0.0])).tolist()
        [1.0, 0.5, 0.5, 1.0]
    """
    if not np.isin(targets, (0, 1)).all():
        from scipy.stats import rankdata  # late: slow to import

        apart = np.abs(rankdata(-distances) - rankdata(targets))
        return np.asarray(1 - apart / max(1, len(targets) - 1), np.float64)
    alike = targets > 0
    found = np.empty(len(targets))
    found[alike] = 1 - _nearer(distances[~alike], distances[alike])
    found[~alike] = _nearer(distances[alike], distances[~alike])
    return found


def _nearer(others: NDArray[np.floating], to: NDArray[np.floating]) -> NDArray[np.float64]:
    """The share of others that are nearer than each of `to`, equals counting half."""
    ordered = np.sort(others)
    below, upto = (np.searchsorted(ordered, to, side) for side in ("left", "right"))
    return np.asarray((below + upto) / (2 * len(ordered)), np.float64)
