"""Few-shot classification: which of some unseen classes is it, given a few examples of each?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation import _distances

WAYS = 5
SHOTS = (1, 5)
EPISODES = 600
QUERIES = 15


def few_shot_measures(
    metric: _distances.Metric,
    embeddings: NDArray[np.float32],
    ids: NDArray[np.int64],
    *,
    ways: int = WAYS,
    shots: tuple[int, ...] = SHOTS,
    episodes: int = EPISODES,
    seed: int = 0,
) -> dict[str, float]:
    """Accuracy over many small problems drawn by seed, as few-shot learning is commonly reported.

    In each episode some classes are drawn, some examples of each, whose mean is the class's prototype, and
    up to 15 other items of each, which go to the nearest prototype (Snell, Swersky and Zemel 2017,
    https://arxiv.org/abs/1703.05175). The interval is mean ± 1.96 standard errors over the episodes: of
    what these classes would give with other draws, not of what other classes would.

    Args:
        metric: compares items with prototypes.
        embeddings: `(n, dim)`.
        ids: `(n,)`, classes.
        ways: classes an episode.
        shots: examples of each; each of these numbers has figures of its own.
        episodes: how many.
        seed: of what is drawn.

    Returns:
        `accuracy_<ways>_way_<shots>_shot`, and the same with `_low` and `_high`; nothing where there are
        fewer than `ways` classes with an item beyond the examples.
    """
    order = np.argsort(ids, kind="stable")
    sizes = np.bincount(ids)
    starts = np.cumsum(sizes) - sizes
    measures: dict[str, float] = {}
    for shot in shots:
        fit = np.flatnonzero(sizes > shot)
        if len(fit) < ways:
            continue
        rng = np.random.default_rng((seed, shot))
        asked = min(QUERIES, int(sizes[fit].min()) - shot)
        drawn = np.stack(
            [
                np.stack(
                    [
                        order[starts[each] + rng.choice(sizes[each], shot + asked, replace=False)]
                        for each in rng.choice(fit, ways, replace=False)
                    ]
                )
                for _ in range(episodes)
            ]
        )  # (episodes, ways, shot + asked)
        rates = _rates(metric, embeddings, drawn, shot)
        name = f"accuracy_{ways}_way_{shot}_shot"
        mean, half = float(rates.mean()), 1.96 * float(rates.std(ddof=1)) / math.sqrt(episodes)
        measures |= {name: mean, f"{name}_low": max(0.0, mean - half), f"{name}_high": min(1.0, mean + half)}
    return measures


def _rates(
    metric: _distances.Metric, embeddings: NDArray[np.float32], drawn: NDArray[np.int64], shot: int
) -> NDArray[np.float64]:
    """The share of right answers of each episode."""
    episodes, ways, items = drawn.shape
    asked = ways * (items - shot)
    most = max(1, _distances.CHUNK // (asked * ways * embeddings.shape[1]))
    rates = []
    for start in range(0, episodes, most):
        part = drawn[start : start + most]
        prototypes = embeddings[part[:, :, :shot]].mean(axis=2)  # (part, ways, dim)
        queries = embeddings[part[:, :, shot:]].reshape(len(part), asked, 1, -1)
        shape = (len(part), asked, ways, embeddings.shape[1])
        distances = _distances.row_by_row(
            metric,
            np.broadcast_to(queries, shape).reshape(-1, shape[-1]),
            np.broadcast_to(prototypes[:, None], shape).reshape(-1, shape[-1]),
        ).reshape(shape[:-1])
        truth = np.repeat(np.arange(ways), items - shot)
        rates.append((distances.argmin(axis=2) == truth).mean(axis=1))
    return np.concatenate(rates)
