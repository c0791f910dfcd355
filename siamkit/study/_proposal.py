"""Propose a study for some data: a search, steps and a budget that fit the data, the machine and a time."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import numpy as np

from siamkit.backend.diagnosis import accelerators
from siamkit.data.dataset import Dataset
from siamkit.data.inspection import DataReport, inspect
from siamkit.data.splits import rows_of_large_classes, split
from siamkit.errors import DataError, StudyFileError
from siamkit.registry.specs import Supervision
from siamkit.study.config.load import ResolvedStudy, read_data, resolve_study
from siamkit.study.config.yaml import Document, YamlValue, parse_document
from siamkit.study.execution.forecast import Forecast, forecast
from siamkit.study.execution.session import check_feeds, open_session
from siamkit.study.monitoring.progress import spell
from siamkit.study.sampling.plan import check_plan
from siamkit.study.sampling.samplers import check_sampler

REFUSAL = "no study can be proposed for these data"
ITEMS_PER_CLASS = 8
MIN_STEPS = 100
EMA, STEPS_FOR_EMA = 0.98, 200  # the average has little of the start after so many steps
MAX_TRIALS, MIN_TRIALS = 40, 6
# Of the time: what the trials should take, and the limit of the search. The confirmation may take as long.
SHARE_OF_TRIALS, SHARE_OF_SEARCH = 0.3, 0.35
SECONDS_BEFORE = 20  # of the search: a worker starts, and baselines are evaluated

LOSSES: Mapping[Supervision, str] = {
    "labels": "[multi_similarity, {triplet: {mining: [all, semihard]}}]",
    "pairs": "[contrastive, cosent]",
    "scores": "[cosent, cosine_mse]",
}
METRICS: Mapping[Supervision, str] = {
    "labels": "[cosine, euclidean]",
    "pairs": "[cosine, euclidean]",
    "scores": "cosine",
}


@dataclass(frozen=True)
class Space:
    """What is searched for a kind of input, as YAML.

    Args:
        encoders: the encoders; each is tried first with its defaults.
        embedding_dim, learning_rate: the sizes of the embedding and the learning rates.
        augment: the augmentations; empty for none.
        steps: the steps of a training.
        batch_size: the items of a batch, if there are enough classes.
        losses: the losses for items with labels.
    """

    encoders: tuple[str, ...]
    embedding_dim: str = "[32, 64, 128]"
    learning_rate: str = "{low: 1e-4, high: 3e-3, log: true}"
    augment: str = ""
    steps: int = 300
    batch_size: int = 64
    losses: str = LOSSES["labels"]


# Encoders of texts are quick, and there are often many classes: a batch may have many.
_TEXTS = Space(
    ("bag", "ngrams"),
    "[64, 128, 256]",
    "{low: 1e-3, high: 1e-2, log: true}",
    steps=1000,
    batch_size=256,
    losses="[sup_con, multi_similarity]",
)

SPACES: Mapping[str, Space] = {
    "image": Space(("{cnn: {filters: 32}}", "mlp"), augment="[none, light]"),
    "vector": Space(("linear_pca", "linear_lda", "mlp"), "[16, 32, 64]"),
    "tabular": Space(("tabular",), "[32, 64]", steps=200),
    "text": _TEXTS,
    "tokens": dataclasses.replace(_TEXTS, encoders=("ngrams", "bag")),
    "series": Space(
        ("kernels", "inception_time"), learning_rate="{low: 3e-4, high: 3e-3, log: true}", steps=200
    ),
}
"""What does best on small data, by kind of input (benchmarks/results/encoders.md and recipe.md).

Batches, steps, losses and learning rates of texts were chosen by trial on typos (reach.md).
"""

UNSEEN: Mapping[str, Space] = {
    "image": Space(
        ("scattering", "cnn_pca", "{cnn: {pooling: gem}}"),
        "[64, 128]",
        "{low: 3e-5, high: 5e-4, log: true}",
        augment="[none, light]",
        steps=100,
    ),
}
"""The same where classes of the test split are not in training, if something else is best there."""

NEED_LABELS = ("linear_lda",)
"""The encoders of these spaces that are for data with labels only."""

IMAGE_SIDE = 48
"""The side in pixels of larger images on a machine without accelerators: a quarter of the time of 96."""


@dataclass(frozen=True)
class Proposal:
    """A proposed study.

    Args:
        document: the content of the study file.
        text: its text, with comments.
        report: what the data are like.
        forecast: how long the study takes.
    """

    document: Document
    text: str
    report: DataReport
    forecast: Forecast


def propose(
    data: Mapping[str, YamlValue],
    seconds: float,
    *,
    name: str,
    folder: Path,
    backend: str | None = None,
    plugins: tuple[str, ...] = (),
    progress: str = "auto",
) -> Proposal:
    """Look at data, and propose a study of them that takes about so long.

    A worker trains a few steps with each encoder to measure the time.

    Args:
        data: the source and its parameters, as under `data:` in a study file.
        seconds: the time that the study should take.
        name: the name of the study.
        folder: the folder of the study file, to which a relative path in it refers.
        backend, plugins, progress: the same as for `siamkit.tune`.

    Raises:
        DataError: the data cannot be read, or have no labels, pairs or scores to compare embeddings by.
        StudyError: the worker failed.
    """
    params = {key: value for key, value in data.items() if key != "path"}
    report = inspect(folder / str(data["path"]), **params)  # type: ignore[arg-type]
    side = 0 if report.images is None or "image_size" in params else min(report.images.resizing.size)
    if side > IMAGE_SIDE and not accelerators():
        params["image_size"] = IMAGE_SIDE
        report = inspect(folder / str(data["path"]), **params)  # type: ignore[arg-type]
    if report.problems or report.split is None:
        problems = report.problems or (f"{report.path} has too few items to split",)
        raise DataError("; ".join(problems))
    section = {**report.data, "path": data["path"]}
    source = {key: value for key, value in section.items() if key in ("path", *report.params)}
    dataset = read_data(source, folder)
    try:
        plan = Plan.of(name, section, dataset)
    except DataError as error:
        raise DataError(f"{REFUSAL}: {error}") from error
    study = _resolve(plan, folder, plugins)
    try:
        with open_session("check", study, backend, plugins, None, progress) as session:
            check_feeds(session)
            session.progress.note("timing a few steps of each encoder")
            plan, timed = plan.fitted(forecast(session), seconds)
    except StudyFileError as error:  # of a file that the user does not have
        causes = [line.removeprefix(study.document.name).split(": ", 2)[-1] for line in error.problems]
        raise DataError(f"{REFUSAL}: {'; '.join(causes)}") from error
    text = plan.text(report, timed, seconds)
    return Proposal(parse_document(text, str(folder / "study.yaml")), text, report, timed)


def _resolve(plan: Plan, folder: Path, plugins: tuple[str, ...]) -> ResolvedStudy:
    document = parse_document("\n".join(plan.lines()), str(folder / "the proposed study"))
    return resolve_study(document, plugins, checks=[check_sampler, check_plan])  # as `tune` does


# ------------------------------------------------------------------ the plan


@dataclass(frozen=True)
class Plan:
    """What a proposed study does, before it has comments.

    Args:
        name: its name.
        data: the section `data` of its file.
        supervision: the supervision of the data.
        space: what is searched.
        batch_size, items_per_class: the size of a batch, and the items of a class in it.
        steps: the steps of a training.
        trials: the trials of the search.
        limit: the maximum time of the search in seconds; None for no limit.
    """

    name: str
    data: Mapping[str, YamlValue]
    supervision: Supervision
    space: Space
    batch_size: int = Space.batch_size
    items_per_class: int = ITEMS_PER_CLASS
    steps: int = Space.steps
    trials: int = MIN_TRIALS
    limit: float | None = None

    @classmethod
    def of(cls, name: str, data: Mapping[str, YamlValue], dataset: Dataset) -> Plan:
        """Return a plan for a dataset."""
        minimum = data.get("min_items_per_class")
        if isinstance(minimum, int):
            dataset = dataset.take(rows_of_large_classes(dataset, minimum))
        parts = split(dataset, **data["split"])  # type: ignore[arg-type]
        training, test = dataset.take(parts.train), dataset.take(parts.test)
        space = SPACES[dataset.input]
        if dataset.supervision != "labels":
            encoders = tuple(name for name in space.encoders if name not in NEED_LABELS)
            space = dataclasses.replace(space, encoders=encoders)
            batch = max(2, min(space.batch_size, len(training)))
            return cls(name, data, dataset.supervision, space, batch, steps=space.steps)
        if set(test.classes).isdisjoint(training.classes):
            space = UNSEEN.get(dataset.input, space)
        sizes = np.bincount(training.codes)
        in_batch = int(np.clip(np.quantile(sizes, 0.25), 2, ITEMS_PER_CLASS))
        batch = in_batch * min(space.batch_size // in_batch, len(sizes))
        return cls(name, data, dataset.supervision, space, batch, in_batch, space.steps)

    def fitted(self, timed: Forecast, seconds: float) -> tuple[Plan, Forecast]:
        """Return the plan with as many trials as fit the time, and its forecast.

        Where few trials would fit, trainings have fewer steps, but never fewer than `MIN_STEPS`.
        """
        available = seconds * SHARE_OF_TRIALS * timed.workers
        steps, trials = self.steps, int(available / timed.training)
        while trials < MIN_TRIALS and steps > MIN_STEPS:
            steps -= 50
            timed = timed.with_steps(steps)
            trials = int(available / timed.training)
        trials = int(np.clip(trials, MIN_TRIALS, MAX_TRIALS))
        limit = SECONDS_BEFORE + max(seconds * SHARE_OF_SEARCH, trials * timed.training / timed.workers)
        plan = dataclasses.replace(self, steps=steps, trials=trials, limit=limit)
        return plan, dataclasses.replace(timed, trials=trials, limit=limit)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the study file, without comments."""
        yield "version: 1"
        yield f"name: {_scalar(self.name)}"
        yield "data:"
        for key, value in self.data.items():
            yield f"  {key}: {_scalar(value)}"
        yield "fixed:"
        yield f"  batch_size: {self.batch_size}"
        if self.supervision == "labels":
            yield f"  items_per_class: {self.items_per_class}"
        yield f"  steps: {self.steps}"
        if self.steps >= STEPS_FOR_EMA:
            yield f"  ema: {EMA}"
        space = self.space
        yield "search:"
        yield f"  encoder: [{', '.join(space.encoders)}]"
        yield f"  metric: {METRICS[self.supervision]}"
        yield f"  loss: {space.losses if self.supervision == 'labels' else LOSSES[self.supervision]}"
        yield f"  embedding_dim: {space.embedding_dim}"
        yield f"  learning_rate: {space.learning_rate}"
        if space.augment:
            yield f"  augment: {space.augment}"
        limit = "" if self.limit is None else f", time: {math.ceil(self.limit)}s"
        yield f"budget: {{trials: {self.trials}{limit}}}"
        yield "confirm: {top: 2, seeds: 3, share: 1}"
        if len(space.encoders) > 1:
            yield f"enqueue: [{', '.join(f'{{encoder: {encoder}}}' for encoder in space.encoders)}]"

    def text(self, report: DataReport, timed: Forecast, seconds: float) -> str:
        """Return the text of the study file, with comments."""
        trainings = ", ".join(
            f"{spell(timing.training)} with {name}" for name, timing in timed.timings.items()
        )
        comments = {
            "skip_unreadable": "images that cannot be read are left out",
            "min_items_per_class": "classes with fewer items are left out",
            "items_per_class": "items of each class in a batch",
            "steps": f"a training of so many takes about {trainings} on this machine",
            "ema": "the weights are replaced by their average over the last steps",
            "augment": "random changes of training items",
            "enqueue": "tried first, so that each encoder has a trial",
            "image_size": "a machine with an accelerator could use larger images",
            "budget": f"about {spell(timed.total)} in all; {timed.workers} trials at a time",
            "confirm": "the best are trained again with new seeds, and tested; this takes at most as long as "
            "the search",
        }
        head = [
            "# A study that siamkit proposed for these data. Change what you like; all keys: docs/study.md.",
            *(f"# {part}" for line in report.lines() for part in wrap(line, 100)),
        ]
        if timed.total > 1.3 * seconds:
            head.append(f"# It takes longer than the {spell(seconds)} asked for.")
        body = []
        for line in self.lines():
            comment = comments.get(line.strip().partition(":")[0], "")
            indent = " " * (len(line) - len(line.lstrip()))
            body += [f"{indent}# {text}" for text in wrap(comment, 100)]
            body.append(line)
        return "\n".join([*head, *body, ""])


def _scalar(value: YamlValue) -> str:
    """Return a value as YAML: a plain text where it cannot be taken for anything else."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_scalar(each)}' for key, each in value.items())}}}"
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z./_]([\w ./-]*[\w/])?", value) is not None
    if plain and str(value).lower() not in ("true", "false", "null"):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
