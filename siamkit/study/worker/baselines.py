"""The baselines of a study: what its items give without training, evaluated as trained models are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from siamkit.data.dataset import Array, Dataset, Leaf, join
from siamkit.errors import DataError
from siamkit.evaluation import evaluate_labels, evaluate_pairs, evaluate_scores
from siamkit.evaluation.baselines import CHANCE, UNTRAINED, Items, baselines_for, random_vectors
from siamkit.evaluation.distances import PLAIN, Metric, plain_metric
from siamkit.evaluation.measures import QUICK, Group, groups_of
from siamkit.evaluation.verification import Evaluation
from siamkit.io.files import write_table
from siamkit.io.paths import as_path
from siamkit.registry.specs import Supervision
from siamkit.runs.results import BaselineResult, mean_measures, write_record
from siamkit.runs.run_folder import RunFolder
from siamkit.study.worker.messages import BaselinesJob
from siamkit.study.worker.prepared_data import PreparedData, SplitName
from siamkit.study.worker.trainer import Trainer


@dataclass(frozen=True)
class Candidate:
    """A baseline of a study.

    Args:
        name: its name.
        summary: what it is, in a few words.
        variants: functions that embed a split, by the name of the variant; the best one is taken.
    """

    name: str
    summary: str
    variants: Mapping[str, Callable[[SplitName], Array]]


OfFold = Callable[[int], tuple[PreparedData, Trainer]]
"""A function that returns the data with a fold as the validation split, and their trainer."""


def run_baselines(job: BaselinesJob, of_fold: OfFold) -> None:
    """Evaluate the baselines on a split, and write their results into the run folder.

    Each is compared by cosine and by Euclidean distance; the better variant and metric on validation are
    kept, and the test split is evaluated by them alone. With folds, each is fitted and evaluated on every
    fold, as trained models are, and its measures are means.
    """
    folder = RunFolder(as_path(job.run_folder))
    known = {result.name: result for result in folder.baselines()}
    for candidate in _candidates(job, *of_fold(0)):
        before = known.get(candidate.name)
        if job.split == "valid":
            is_due, choices = before is None, [(each, list(PLAIN)) for each in candidate.variants]
        else:
            is_due = before is not None and not before.cause and before.test is None
            choices = [(before.variant, [before.metric])] if before is not None else []
        if not is_due:
            continue
        start = time.monotonic()
        try:
            result, queries = _best(candidate, choices, job, of_fold)
        except Exception as error:  # one baseline that fails does not end a study
            text = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            result, queries = BaselineResult(name=candidate.name, summary=candidate.summary, cause=text), {}
        if before is not None:
            by_fold = {"test_folds": result.folds} if result.folds else {}
            result = before.model_copy(update={"test": result.valid, "cause": result.cause, **by_fold})
        else:
            result = result.model_copy(update={"seconds": round(time.monotonic() - start, 3)})
        files = folder.baseline(candidate.name)
        if queries:
            write_table(files.queries if job.split == "valid" else files.test_queries, queries)
        write_record(files.result, result)


def _best(
    candidate: Candidate, choices: Iterable[tuple[str, Iterable[str]]], job: BaselinesJob, of_fold: OfFold
) -> tuple[BaselineResult, dict[str, Array]]:
    """Return the best result of a candidate on a split, its measures as `valid`, and its scores by query."""
    data, _ = of_fold(0)
    objective, groups = data.objective, QUICK | groups_of(data.objectives)
    pairs = [(variant, metric) for variant, metrics in choices for metric in metrics]
    measures: dict[tuple[str, str], list[dict[str, float]]] = {pair: [] for pair in pairs}
    queries: dict[tuple[str, str], list[dict[str, Array]]] = {pair: [] for pair in pairs}
    dims: dict[str, int] = {}
    for fold in range(data.folds):
        of_this, trainer = of_fold(fold)
        dataset: Dataset = getattr(of_this, job.split)
        variants = next(
            each.variants for each in _candidates(job, of_this, trainer) if each.name == candidate.name
        )
        embeddings = {
            variant: np.asarray(variants[variant](job.split), np.float32) for variant in dict(pairs)
        }
        dims = {variant: vectors.shape[-1] for variant, vectors in embeddings.items()}
        for variant, metric in pairs:
            found = evaluate_split(
                embeddings[variant], dataset.target, dataset.supervision, plain_metric(metric), groups
            )
            measures[variant, metric].append(found.measures)
            texts = {"id": dataset.ids.astype(str), "target": np.asarray(dataset.target).astype(str)}
            queries[variant, metric].append({**texts, **found.queries} if found.queries else {})
    means = {pair: mean_measures(measures[pair]) for pair in pairs}
    best = max(pairs, key=lambda pair: objective.worth(means[pair].get(objective.name)))
    result = BaselineResult(
        name=candidate.name,
        summary=candidate.summary,
        variant=best[0],
        metric=best[1],
        dim=dims[best[0]],
        valid=means[best],
        **({"folds": measures[best]} if data.folds > 1 else {}),
    )
    return result, _of_all_folds(queries[best], job.split)


def _of_all_folds(queries: list[dict[str, Array]], split: SplitName) -> dict[str, Array]:
    """Return the scores by query of all folds, one below the other; those on test with a column `fold`."""
    joined = {name: np.concatenate([each[name] for each in queries]) for name in queries[0]}
    if split == "test" and len(queries) > 1 and joined:
        joined["fold"] = np.repeat(np.arange(len(queries)), len(queries[0]["id"]))
    return joined


def evaluate_split(
    embeddings: Array,
    target: Array | None,
    supervision: Supervision,
    metric: Metric,
    groups: frozenset[Group],
    threshold: float | None = None,
) -> Evaluation:
    """Evaluate embeddings by the kind of their supervision."""
    assert target is not None
    if supervision == "labels":
        return evaluate_labels(embeddings, target, metric, groups=groups, threshold=threshold)
    if supervision == "pairs":
        return evaluate_pairs(embeddings, target, metric, groups=groups, threshold=threshold)
    return evaluate_scores(embeddings, target, metric, groups=groups)


# ------------------------------------------------------------------ the candidates


def _candidates(job: BaselinesJob, data: PreparedData, trainer: Trainer) -> Iterator[Candidate]:
    """Yield the baselines that a study asks for and its data allow."""
    fitting = baselines_for(
        str(data.record["input"]), data.train.supervision == "labels" and "labelled" not in data.record
    )
    for name, baseline in fitting.items():
        if not job.names or name in job.names:
            yield Candidate(name, baseline.summary, {"": Fitted(baseline.fit, data)})
    if not job.names or UNTRAINED in job.names:
        variants = {
            configuration["encoder"]["name"].rpartition("/")[2]: partial(trainer.untrained, configuration)
            for configuration in job.untrained
        }
        yield Candidate(UNTRAINED, "the untrained encoder", variants)
    yield Candidate(CHANCE, "random vectors", {"": partial(_random, data)})
    for name in data.given:
        embeddings = data.given[name]
        yield Candidate(name, "embeddings from a file", {"": embeddings.__getitem__})
    for name, file in data.models.items():
        yield Candidate(name, "a model from a file", {"": partial(trainer.embedded_by, file)})


def _random(data: PreparedData, split: SplitName) -> Array:
    dataset: Dataset = getattr(data, split)
    return random_vectors(len(dataset), len(dataset.views))


class Fitted:
    """A baseline fitted on the training items of all views when a split is first embedded."""

    def __init__(self, fit: Callable[[Items], Callable[[Items], Array] | None], data: PreparedData) -> None:
        self._fit, self._data = fit, data

    def __call__(self, split: SplitName) -> Array:
        embed = self._fit(_joined(self._items("train")))
        if embed is None:
            raise DataError("it cannot be fitted to these items")
        embeddings = [embed(items) for items in self._items(split)]
        return embeddings[0] if len(embeddings) == 1 else np.stack(embeddings, axis=1)

    def _items(self, split: SplitName) -> list[Items]:
        dataset: Dataset = getattr(self._data, split)
        raw = self._data.raw.get(split, dataset.views)
        codes = dataset.codes if dataset.supervision == "labels" else None
        return [Items(raw_view, view, codes) for raw_view, view in zip(raw, dataset.views, strict=True)]


def _joined(views: list[Items]) -> Items:
    """Return the items of all views as one view.

    Raises:
        DataError: the two sides of pairs are of different kinds, which only two encoders can compare.
    """
    if len(views) == 1:
        return views[0]
    raw, prepared = (_concatenated([getattr(each, name) for each in views]) for name in ("raw", "prepared"))
    return Items(raw, prepared)


def _concatenated(leaves: list[Leaf]) -> Leaf:
    kinds = [
        {name: values.shape[1:] for name, values in leaf.items()}
        if isinstance(leaf, dict)
        else leaf.shape[1:]
        for leaf in leaves
    ]
    if any(kind != kinds[0] for kind in kinds):
        raise DataError(f"the two sides are of different shapes, {kinds[0]} and {kinds[1]}")
    return join(leaves)
