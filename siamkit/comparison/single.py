"""One embedding set: its measures, and its quality against size, as documents."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from siamkit.comparison.by_unit import BINARY_MEASURES, GRADED_MEASURES
from siamkit.comparison.by_unit import MEASURES as QUERY_MEASURES
from siamkit.comparison.embedding_set import EmbeddingSet
from siamkit.comparison.from_model import run_folder_of
from siamkit.comparison.inputs import untrained_sets
from siamkit.errors import DataError, StudyError, listed
from siamkit.evaluation import evaluate
from siamkit.evaluation.distances import PLAIN, lightest_metric
from siamkit.evaluation.measures import (
    DEFAULT_OBJECTIVE,
    GROUPS,
    MEASURES,
    Group,
    Measures,
    Threshold,
    ThresholdRule,
    as_threshold,
)
from siamkit.evaluation.verification import AT_THRESHOLD
from siamkit.io.paths import display_path
from siamkit.report.model import Chart, Document, Listing, Section, Table
from siamkit.runs.results import Objective, TrialResult
from siamkit.runs.run_folder import RunFolder
from siamkit.stats.compression import Size, SizeCurve, size_curve


def evaluate_set(
    embedding_set: EmbeddingSet, groups: Sequence[Group] = GROUPS, threshold: Threshold | None = None
) -> Measures:
    """Return the measures of a labeled embedding set, at a threshold and at its own.

    Args:
        embedding_set: the embeddings, with labels.
        groups: the groups of measures to compute.
        threshold: the threshold, or how to choose it from these pairs, as for `siamkit.evaluate`.

    Raises:
        DataError: the threshold would be ignored, or the data do not have the measures.
    """
    if threshold is not None and "verification" not in groups:
        raise DataError(
            f"a threshold belongs to the group verification, and the groups are {listed(groups)}: leave the "
            "threshold out, or add the group"
        )
    assert embedding_set.labels is not None
    measures = evaluate(
        embedding_set.embeddings,
        embedding_set.labels,
        lightest_metric(embedding_set.metric),
        groups=groups,
        threshold=threshold,
        own_threshold=embedding_set.threshold,
    )
    if embedding_set.parameters is not None:
        measures["parameters"] = embedding_set.parameters
    return measures


@dataclass(frozen=True)
class BestUntrained:
    """The best embedding without training of the items of an embedding set.

    Args:
        name: its name and metric.
        measures: its measures, as `siamkit.evaluate` returns them.
    """

    name: str
    measures: Measures


def best_untrained(
    embedding_set: EmbeddingSet, groups: Sequence[Group] = GROUPS, wanted: Sequence[str] = ()
) -> tuple[BestUntrained | None, list[str]]:
    """Return the best embedding without training of the same items, and notes; None if there is none.

    The best is chosen by MAP@R of items, ROC-AUC of pairs, or Spearman's correlation of scores, under the
    cosine similarity and the Euclidean distance.

    Args:
        embedding_set: the embeddings, with labels.
        groups: the groups of measures to compute of the best.
        wanted: names of baselines; by default all that fit.

    Raises:
        DataError: a baseline is wanted that cannot be computed.
    """
    if embedding_set.untrained is None:
        if wanted:
            raise DataError(f"the baseline {wanted[0]!r} needs the items, which {embedding_set.name!r} lacks")
        return None, ["No embedding without training was evaluated, since the items are unknown."]
    labels = embedding_set.labels
    assert labels is not None
    sets, notes = untrained_sets(embedding_set, embedding_set.untrained, wanted, "evaluated")
    quick: tuple[Group, ...] = ("verification", "graded") if embedding_set.of_pairs else ("retrieval",)
    contenders = []
    for each in sets:
        for metric_name, metric in PLAIN.items():
            measures = evaluate(each.embeddings, labels, metric(), groups=quick)
            value = next(measures[name] for name in DEFAULT_OBJECTIVE.values() if name in measures)
            contenders.append((value, f"{each.name} · {metric_name}", each.embeddings, metric))
    if not contenders:
        return None, notes
    _, best, embeddings, metric = max(contenders, key=lambda contender: contender[0])
    known = [group for group in groups if group not in ("cost", "speed")]
    return BestUntrained(best, evaluate(embeddings, labels, metric(), groups=known)), notes


def curve_of(embedding_set: EmbeddingSet) -> SizeCurve:
    """Return the quality of an embedding set against embedding size: truncated, rotated (PCA), quantized.

    If the embeddings come from a trial, the curve also holds, for each size, the best trial of the study with
    the same encoder, metric and loss as that trial.

    Args:
        embedding_set: the embeddings, with labels.
    """
    labels = embedding_set.labels
    assert labels is not None
    if embedding_set.of_pairs:
        measures = BINARY_MEASURES if np.isin(labels, (0, 1)).all() else GRADED_MEASURES
    else:
        measures = QUERY_MEASURES
    metric = lightest_metric(embedding_set.metric)
    curve = size_curve(embedding_set.embeddings, labels, metric, measures=measures)
    trial = embedding_set.trial
    if trial is None:
        return curve
    components = {name: trial.factors.get(name) for name in ("encoder", "metric", "loss")}
    return curve.with_sizes(retrained_sizes(trial.study, measures, **components))


def retrained_sizes(
    study: str | os.PathLike[str],
    measures: tuple[str, ...] = (),
    *,
    encoder: str | None = None,
    metric: str | None = None,
    loss: str | None = None,
) -> list[Size]:
    """Return the best completed trial of each `embedding_dim`, on the validation items.

    Args:
        study: the study file, or the run folder.
        measures: names of the measures; the first decides which trial is the best. By default the study's
            first objective.
        encoder, metric, loss: components that a trial must have to be included.

    Returns:
        One size for each dimension, to add with `siamkit.stats.SizeCurve.with_sizes`.

    Raises:
        StudyError: the study does not exist, or has no such trial.
        DataError: the trials do not have a measure.
    """
    folder = RunFolder(run_folder_of(str(study)))
    snapshot, trials = folder.snapshot(), folder.trials()
    components = {
        name: value
        for name, value in {"encoder": encoder, "metric": metric, "loss": loss}.items()
        if value is not None
    }
    names = measures or (next(iter(snapshot.objectives)),)
    chosen = [
        trial
        for trial in trials
        if trial.complete and all(trial.factors.get(name) == value for name, value in components.items())
    ]
    place = display_path(folder.path)
    if not chosen:
        of = " with " + ", ".join(components.values()) if components else ""
        raise StudyError(f"no trial{of} of the study in {place!r} completed")
    for name in names:
        if name not in MEASURES or any(name not in trial.measures for trial in chosen):
            raise DataError(f"the trials of the study in {place!r} have no measure {name!r}")
    objective = Objective(names[0], MEASURES[names[0]].direction or "maximize")
    best: dict[int, TrialResult] = {}
    for trial in sorted(chosen, key=lambda trial: objective.worth(trial.value(names[0]))):
        best[int(str(trial.configuration["embedding_dim"]))] = trial
    return [
        Size("retrained", dim, 4 * dim, {name: trial.measures[name] for name in names})
        for dim, trial in sorted(best.items())
        if all(trial.value(name) is not None for name in names)
    ]


def curve_document(name: str, curve: SizeCurve, notes: Sequence[str] = ()) -> Document:
    """Return a curve as a document.

    Args:
        name: the name of the embedding.
        curve: the curve.
        notes: warnings to print with the curve.
    """
    columns = ("method", "dimensions", "bytes per vector", *curve[0].measures, "Pareto-optimal")
    rows = [
        (
            size.how,
            size.dim,
            size.bytes_per_vector,
            *size.measures.values(),
            "yes" if size.pareto_optimal else "no",
        )
        for size in curve
    ]
    caption = (
        "Pareto-optimal: no embedding that is at most as large is better. Directions, steps and means are "
        "fitted to these items, so the values of pca, int8 and binary are optimistic."
    )
    chart = Chart("sizes", "Dimension curve", curve.plot(), Table.of(columns, rows), caption)
    measure, whole = curve.measure, curve[0]
    smallest = min((size for size in curve if size.pareto_optimal), key=lambda size: size.bytes_per_vector)
    lead = (
        f"The whole embedding takes {whole.bytes_per_vector:g} bytes per vector and reaches "
        f"{whole.measures[measure]:.4f} in {measure}; the smallest Pareto-optimal one takes "
        f"{smallest.bytes_per_vector:g} ({smallest.how}, {smallest.dim} dimensions) and reaches "
        f"{smallest.measures[measure]:.4f}."
    )
    section = Section("sizes", "Quality against size", (), [chart])
    return Document(f"Quality of {name} against size", [lead, *notes], [section])


COUNTS = ("queries", "queries_excluded", "pairs_alike", "pairs_unlike", "pairs")


def measures_document(
    embedding_set: EmbeddingSet,
    measures: Mapping[str, float],
    threshold: Threshold | None = None,
    untrained: BestUntrained | None = None,
) -> Document:
    """Return measures as a document: a table for each group and each threshold.

    Args:
        embedding_set: the evaluated embeddings.
        measures: the measures, as `siamkit.evaluate` returns them.
        threshold: the threshold that was asked for, as for `evaluate_set`.
        untrained: the best embedding without training of the same items; it has a column in each table.
    """
    at_threshold = {"threshold", *AT_THRESHOLD}
    sections = []

    def section(name: str, title: str, names: Mapping[str, str], beside: bool = False) -> None:
        """Add a table of measures, given the names under which they are known."""
        other = untrained if beside else None
        rows = [
            (
                measure,
                measures[key],
                *(() if other is None else (other.measures.get(key),)),
                _detail(key, measures),
                MEASURES[measure].summary if measure in MEASURES else "",
            )
            for measure, key in names.items()
        ]
        columns = ("value",) if other is None else ("value", other.name)
        table = Table.of(("measure", *columns, "interval or by class", "meaning"), rows)
        sections.append(Section(name, title, (), [Listing(name, "", table)] if rows else []))

    for group in GROUPS:
        names = [name for name in measures if name in MEASURES and MEASURES[name].group == group]
        section(group, group, {name: name for name in names if name not in at_threshold}, beside=True)
    if "threshold" in measures:
        asked = as_threshold(threshold)
        how = f"chosen from these pairs for {asked}" if isinstance(asked, ThresholdRule) else "as given"
        title = f"at the threshold {measures['threshold']:.6g}, {how}"
        section("at-threshold", title, {name: name for name in AT_THRESHOLD})
    if "own_threshold" in measures:
        title = f"at the model's own threshold {measures['own_threshold']:.6g}"
        names_at_own = {name: f"{name}_at_own_threshold" for name in AT_THRESHOLD}
        section("at-own-threshold", title, names_at_own)
    section("counts", "counts", {name: name for name in COUNTS if name in measures})
    return Document(f"Measures of {embedding_set.name}", embedding_set.notes, sections)


def _detail(name: str, measures: Mapping[str, float]) -> str:
    """Return the interval of a measure, or its mean over classes, as text."""
    if f"{name}_low" in measures:
        return f"{measures[f'{name}_low']:.4f} to {measures[f'{name}_high']:.4f}"
    return f"by class {measures[f'{name}_macro']:.4f}" if f"{name}_macro" in measures else ""
