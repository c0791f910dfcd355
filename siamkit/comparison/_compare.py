"""Compare embeddings of the same items, with intervals, tests, and the items on which they differ most."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal

from numpy.typing import ArrayLike

from siamkit.comparison.by_unit import ByPair, ByQuery
from siamkit.comparison.embedding_set import (
    EmbeddingSet,
    from_array,
    thumbnails_in_data,
    thumbnails_of_items,
)
from siamkit.comparison.inputs import (
    aligned,
    default_names,
    is_model,
    read_embeddings,
    untrained_sets,
    with_labels,
)
from siamkit.comparison.result import Comparison
from siamkit.comparison.similarity import representation_similarity
from siamkit.comparison.untrained import untrained_in_data
from siamkit.data.streaming import StreamRequest
from siamkit.data.thumbnails import ThumbnailLookup
from siamkit.errors import DataError
from siamkit.evaluation.distances import PLAIN, Metric, lightest_metric
from siamkit.evaluation.measures import MEASURES
from siamkit.registry.registry import components
from siamkit.stats.results import adjusted

Over = Literal["queries", "classes", "items", "pairs", "auto"]


def compare(
    *embeddings: str | os.PathLike[str] | EmbeddingSet | ArrayLike,
    data: str | os.PathLike[str] | None = None,
    labels: ArrayLike | str | os.PathLike[str] | None = None,
    metric: str | Metric | None = None,
    measures: Iterable[str] = (),
    over: Over = "auto",
    names: Sequence[str] = (),
    resamples: int | None = None,
    level: float = 0.95,
    seed: int = 0,
    most: int = 20,
    items: Sequence[Any] | None = None,
    drop_missing: bool = False,
    baselines: Sequence[str] | None = (),
) -> Comparison:
    """Compare embeddings of the same items, or of the same pairs.

    Every query is answered by every embedding, so queries that are hard for all do not affect a difference;
    likewise for pairs. Intervals and p-values: `siamkit.stats.compare_queries`, for pairs
    `siamkit.stats.compare_pairs`; p-values are corrected for all differences together, by Holm. Similarity:
    `siamkit.comparison.similarity`, on at most 5,000 items.

    Args:
        *embeddings: two or more: a model (`.keras`, with `data`), a trial of a study (`study.yaml#14`,
            `runs/x#best`), a file of embeddings (`.npy`, `.npz`, `.parquet`) of any origin, an array
            `(n, dim)`, of pairs `(n, 2, dim)`, or a `siamkit.comparison.EmbeddingSet`. If all have ids, items
            are matched by them; otherwise all must hold the same items in the same order.
        data: labeled items, or pairs, for models to embed.
        labels: `(n,)`, needed if no embedding has labels: classes; for pairs 1 (alike), 0 (not alike) or
            scores; or a file of them, `.npy` or a table with a column `label` and maybe `id`.
        metric: the metric for embeddings without their own metric; by default cosine.
        measures: names of measures: for queries `recall_at_<k>`, `precision_at_<k>`, `ndcg_at_<k>`,
            `r_precision`, `map_at_r`, `mrr`, `map`, by default `map_at_r` and `recall_at_1`; for pairs
            `roc_auc`, `eer` and `tar_at_far_<rate>`, by default the first two; for graded pairs `spearman`
            and `pearson`.
        over: the units to resample: `queries` (a repetition would use other queries of the same classes),
            `classes` (right for an embedding that will be used on new classes), or `auto`, which is classes
            if there are 20 or more. For pairs: `items`, or, if each item is in one pair only, `pairs`.
        names: names of the embeddings, for display.
        resamples: number of resamples for each interval; by default 10,000 for queries, 2,000 for pairs.
        level: confidence level of the intervals, such as 0.95.
        seed: seed of all random draws.
        most: the maximum number of disagreements to return for each two embeddings.
        items: the embedded items, to show them where two embeddings disagree, in the order of the first
            embedding: images `(height, width)` or `(height, width, channels)`, texts, or `pathlib.Path`s of
            images; for pairs tuples of two. Models and trials have their own items; for other embeddings
            items are read from `data`.
        drop_missing: whether to leave out items whose label is missing (NaN, None, NaT, NA, null); by default
            they are refused.
        baselines: names of the embeddings without training to compare with (`raw`, `pca`, `hog`, `tfidf`, …);
            by default all that fit, None for none. This needs the items: `data`, or a trial by its study
            file. Each is compared by the better of cosine and Euclidean distance; the best one in the first
            measure has a difference to each embedding. Projections are fitted on a study's training items,
            otherwise on the items of `data` without their labels.

    Raises:
        DataError: there are fewer than two embeddings, they are of different items, labels are missing, the
            data do not have a measure, or there are fewer than 20 classes to resample.

    Example:
        >>> import numpy as np, siamkit
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat(np.arange(30), 8)
        >>> good = rng.normal(size=(30, 6))[labels] + rng.normal(0, 0.6, size=(240, 6))
        >>> worse = good + rng.normal(0, 0.6, size=good.shape)
        >>> names = ("worse", "good")
        >>> comparison = siamkit.compare(worse, good, labels=labels, metric="euclidean", names=names)
        >>> print(comparison.verdicts()[0][:29])
        good is better in map_at_r by
    """
    if len(embeddings) < 2:
        raise DataError(f"a comparison needs at least two embeddings, got {len(embeddings)}")
    if len(names) > len(embeddings):
        raise DataError(f"there are {len(names)} names for {len(embeddings)} embeddings")
    sets = [
        _embedding_set(source, name, data)
        for source, name in zip(embeddings, _names(embeddings, names), strict=True)
    ]
    sets = _compared_by(metric, sets, [isinstance(source, EmbeddingSet) for source in embeddings])
    set_names = tuple(embedding_set.name for embedding_set in sets)
    if len(set(set_names)) < len(sets):
        raise DataError(f"embeddings should have distinct names, got {', '.join(set_names)}")
    thumbnail_source = _thumbnail_source(sets, items, data, any(map(_is_model, embeddings)))
    sets, notes = aligned(sets)
    notes = [*(note for embedding_set in sets for note in embedding_set.notes), *notes]
    untrained, baseline_notes = _untrained(sets, data, baselines)
    count = len(sets)
    kept, truth, missing_notes = with_labels([*sets, *untrained], labels, drop_missing=drop_missing)
    sets, untrained = kept[:count], kept[count:]
    notes += missing_notes
    evaluated = (ByPair if sets[0].of_pairs else ByQuery)(
        sets, truth, tuple(dict.fromkeys(measures)), over, resamples=resamples, level=level, seed=seed
    )
    ids = _ids(sets)
    baseline_names = _best_first(evaluated, untrained)
    values = {
        name: {measure: evaluated.interval(name, measure) for measure in evaluated.measures}
        for name in (*set_names, *baseline_names)
    }
    couples = [*combinations(set_names, 2), *product(baseline_names[:1], set_names)]
    pairs = [(couple, measure) for couple in couples for measure in evaluated.measures]
    disagreements = {
        couple: evaluated.disagreements(*couple, ids, most) for couple in combinations(set_names, 2)
    }
    rows = {
        row for of_couple in disagreements.values() for disagreement in of_couple for row in disagreement.rows
    }
    thumbnails = thumbnail_source({ids[row] for row in rows}) if rows else {}
    return Comparison(
        names=set_names,
        values=values,
        differences=adjusted([evaluated.difference(*couple, measure) for couple, measure in pairs]),
        pairs=[couple for couple, _ in pairs],
        similarities=[
            representation_similarity(a, b, evaluated.distinct, seed) for a, b in combinations(sets, 2)
        ],
        disagreements=disagreements,
        over=evaluated.over,
        notes=[*notes, *evaluated.notes, *baseline_notes],
        thumbnails={row: thumbnails[ids[row]] for row in sorted(rows) if ids[row] in thumbnails},
        baselines=baseline_names,
    )


NO_ITEMS = (
    "No embedding without training was compared, since the items are unknown: pass them as data= (--data), "
    "or name a trial by its study file (study.yaml#14)."
)


def _untrained(
    sets: Sequence[EmbeddingSet], data: str | os.PathLike[str] | None, wanted: Sequence[str] | None
) -> tuple[list[EmbeddingSet], list[str]]:
    """Return the baselines of the items of aligned embedding sets, on the same items; and notes."""
    if wanted is None:
        return [], []
    untrained = next((each.untrained for each in sets if each.untrained is not None), None)
    if untrained is None and data is not None:
        untrained = partial(untrained_in_data, data, StreamRequest(), None)
    if untrained is None:
        if wanted:
            raise DataError(f"the baseline {wanted[0]!r} needs the items. {NO_ITEMS}")
        return [], [NO_ITEMS]
    return untrained_sets(sets[0], untrained, wanted, "compared")


def _best_first(evaluated: ByQuery | ByPair, untrained: Sequence[EmbeddingSet]) -> tuple[str, ...]:
    """Evaluate the baselines by cosine and by Euclidean distance; return the better of each, best first."""
    measure = evaluated.measures[0]
    lower_is_better = measure in MEASURES and MEASURES[measure].direction == "minimize"
    chosen = []
    for embedding_set in untrained:
        found = []
        for metric in PLAIN:
            name = f"{embedding_set.name} · {metric}"
            evaluated.add(replace(embedding_set, name=name, metric=PLAIN[metric]()))
            value = evaluated.value(name, measure)
            found.append((value if lower_is_better else -value, name))
        chosen.append(min(found))
    return tuple(name for _, name in sorted(chosen))


def _names(sources: Sequence[Any], names: Sequence[str]) -> list[str]:
    """Return the given names, then those of files, then A, B, …"""
    paths = {row: source for row, source in enumerate(sources) if isinstance(source, (str, os.PathLike))}
    of_files = dict(zip(paths, default_names(list(paths.values())), strict=True))
    return [
        names[row] if row < len(names) and names[row] else of_files.get(row, chr(ord("A") + row))
        for row in range(len(sources))
    ]


def _embedding_set(source: Any, name: str, data: str | os.PathLike[str] | None) -> EmbeddingSet:
    if isinstance(source, EmbeddingSet):
        return source
    if isinstance(source, (str, os.PathLike)):
        return read_embeddings(source, data if is_model(source) else None, name=name)
    return from_array(name, source)


def _compared_by(
    metric: str | Metric | None, sets: Sequence[EmbeddingSet], has_own: Sequence[bool]
) -> list[EmbeddingSet]:
    """Return the sets with their metrics: the given one for those without their own metric."""
    free = [
        not own and isinstance(embedding_set.metric, str)
        for embedding_set, own in zip(sets, has_own, strict=True)
    ]
    if metric is not None and not any(free):
        raise DataError(
            f"all inputs have their own metric, so the metric {metric!r} would be ignored: leave it out"
        )
    return [
        replace(
            embedding_set,
            metric=lightest_metric(metric if given and metric is not None else embedding_set.metric),
        )
        for embedding_set, given in zip(sets, free, strict=True)
    ]


def _is_model(source: Any) -> bool:
    return isinstance(source, (str, os.PathLike)) and is_model(source)


def _ids(sets: Sequence[EmbeddingSet]) -> tuple[str, ...]:
    """Return the ids of the items: those of the first set that has ids, else their numbers."""
    ids = next((embedding_set.ids for embedding_set in sets if embedding_set.ids is not None), None)
    return ids or tuple(map(str, range(len(sets[0].embeddings))))


def _thumbnail_source(
    sets: Sequence[EmbeddingSet],
    items: Sequence[Any] | None,
    data: str | os.PathLike[str] | None,
    embeds_data: bool,
) -> ThumbnailLookup:
    own = next((each.thumbnails for each in sets if each.thumbnails is not None), None)
    if data is not None and not embeds_data and (items is not None or own is not None):
        raise DataError(
            f"no input is a model (.keras), and the inputs have their own items, so the data {str(data)!r} "
            "would be ignored: leave it out"
        )
    if items is not None:
        return thumbnails_of_items(items, _ids(sets))
    if own is not None:
        return own
    if data is not None:
        if not Path(data).exists() and str(data) not in components().datasets:
            raise DataError(f"the data {str(data)!r} do not exist")
        return partial(thumbnails_in_data, data, StreamRequest(), None)
    return lambda ids: {}
