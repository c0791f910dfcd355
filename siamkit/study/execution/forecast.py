"""The forecast of a study: what it will do, and how long that takes, measured by a few steps of training."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from siamkit.evaluation.baselines import CHANCE, UNTRAINED, baselines_for
from siamkit.io.paths import display_path
from siamkit.report.checks import notes_on_data
from siamkit.runs.results import Snapshot, as_record
from siamkit.study.config.search_space import SearchSpace
from siamkit.study.execution.session import StudySession, run_single
from siamkit.study.monitoring.progress import spell
from siamkit.study.sampling.plan import default_of_each_encoder, is_fully_planned, planned_trials
from siamkit.study.worker.messages import TimingJob
from siamkit.study.worker.prepared_data import SPLITS
from siamkit.study.worker.trainer import Timing

WORKER_SECONDS = 10.0  # until a worker has imported its backend and compiled what all trainings share


@dataclass(frozen=True)
class Forecast:
    """What a study will do, and how long that takes.

    Args:
        timings: the times of a training by each encoder of the search space, with its default parameters.
        trials: the number of trials.
        seeds: the number of seeds of a trial.
        folds: the number of folds; each seed is trained with all of them.
        finals: the largest number of trainings of finalists that are left.
        share: the maximum training time of the finalists, as a share of that of the search.
        workers: the number of trainings at a time.
        limit: the maximum time of the search in seconds, or None.
        tried: the number of trials that have ended already.
    """

    timings: dict[str, Timing]
    trials: int
    seeds: int
    finals: int
    share: float
    workers: int
    limit: float | None = None
    tried: int = 0
    folds: int = 1

    @property
    def training(self) -> float:
        """The mean time of a training in seconds."""
        return sum(timing.training for timing in self.timings.values()) / len(self.timings)

    @property
    def search(self) -> float:
        """The time of the trials that are left in seconds, if none ends early."""
        return self._search_of(max(0, self.trials - self.tried))

    @property
    def confirmation(self) -> float:
        """The time of the confirmation in seconds."""
        rounds = math.ceil(self.finals / self.workers)
        return min(rounds * self.training, self.share * self._search_of(self.trials)) if self.finals else 0.0

    def _search_of(self, trials: int) -> float:
        rounds = math.ceil(trials * self.seeds * self.folds / self.workers)
        return min(rounds * self.training, math.inf if self.limit is None else self.limit)

    @property
    def total(self) -> float:
        """The time of the whole study in seconds, without its baselines and its report."""
        return WORKER_SECONDS + self.search + self.confirmation

    def with_steps(self, steps: int) -> Forecast:
        """Return the forecast for trainings of another length."""
        timings = {name: replace(timing, steps=steps) for name, timing in self.timings.items()}
        return replace(self, timings=timings)

    def rows(self) -> list[tuple[str, str]]:
        """Return the forecast in words: titles with texts."""
        each = ", ".join(f"{name} {spell(timing.training)}" for name, timing in self.timings.items())
        lengths = {(timing.steps, timing.evaluations) for timing in self.timings.values()}
        rows = [
            ("training", f"{steps:,} steps with {evaluations} evaluations; {each}")
            for steps, evaluations in sorted(lengths)
        ]
        seeds = f", each with {self.seeds} seeds" if self.seeds > 1 else ""
        seeds += f", each on {self.folds} folds" if self.folds > 1 else ""
        at_once = f", {self.workers} at a time" if self.workers > 1 else ""
        trials = f"{self.trials:,} trials" + (f", of which {self.tried:,} have ended" if self.tried else "")
        rows.append(("search", f"{trials}{seeds}{at_once}: about {spell(self.search)}"))
        if self.finals:
            rows.append(("finalists", f"up to {self.finals} trainings: about {spell(self.confirmation)}"))
        rows.append(("in all", f"about {spell(self.total)}, and a little for baselines and report"))
        return rows


def forecast(session: StudySession) -> Forecast:
    """Measure a few steps of training with each encoder in a worker, and return the forecast of the study.

    Raises:
        DataError: the data cannot feed a loss, or an encoder.
        StudyError: the worker failed.
    """
    study, config = session.study, session.study.config
    configurations = list(default_of_each_encoder(study.space))
    ended = run_single(session, TimingJob(tuple(configurations)), "the training could not be timed")
    timings = {
        configuration["encoder"]["name"].rpartition("/")[2]: _timing(measures)
        for configuration, measures in zip(configurations, ended.measures, strict=True)
    }
    planned = sum(1 for _ in planned_trials(study)) if is_fully_planned(config) else math.inf
    confirm, folder = config.confirm, session.folder
    tried, confirmed = (len(folder.trials()), len(folder.repeats())) if folder.exists() else (0, 0)
    return Forecast(
        timings=timings,
        trials=int(min(config.budget.trials, planned, study.space.count())),
        seeds=config.seeds,
        finals=0 if confirm is None else max(0, confirm.top * confirm.seeds * session.data.folds - confirmed),
        share=0.0 if confirm is None else confirm.limit,
        workers=session.supervisor.size,
        limit=config.budget.time,
        tried=tried,
        folds=session.data.folds,
    )


def _timing(measures: dict[str, float]) -> Timing:
    counts = {name: int(measures[name]) for name in ("steps", "evaluations")}
    return Timing(**{**measures, **counts})  # type: ignore[arg-type]


def describe_study(session: StudySession) -> list[tuple[str, str]]:
    """Return what a study will do, as titles with texts: its data, its search space and its baselines."""
    study, data = session.study, session.data
    snapshot = as_record(session.snapshot, Snapshot, "study.json")
    splits = ", ".join(f"{len(getattr(data, name)):,} {name}" for name in SPLITS)
    items = f"{data.record['items']:,} items of kind {data.record['input']}"
    rows = [("data", f"{items}: {splits}, split by {snapshot.data.split.by}")]
    rows += [("", sentence) for sentence in notes_on_data(snapshot)]
    space = study.space
    kinds = {"encoder": space.encoder, "metric": space.metric, "loss": space.loss}
    rows += [(kind, ", ".join(components.alternatives)) for kind, components in kinds.items()]
    rows.append(("also varied", ", ".join(_varied(space)) or "nothing"))
    rows.append(("objective", ", ".join(f"{name} ({way})" for name, way in data.objectives.items())))
    if study.config.limits:
        rows.append(("constraints", ", ".join(map(str, study.config.limits))))
    rows.append(("compared with", ", ".join(_baselines(session)) or "nothing (baselines: null)"))
    done = session.folder.trials() if session.folder.exists() else []
    state = f"exists, with {len(done)} trials" if done else "new"
    rows.append(("run folder", f"{display_path(session.folder.path)} ({state})"))
    return rows


def _varied(space: SearchSpace) -> list[str]:
    """Return the names of the other factors that have more than one value."""
    factors = [name for name, values in space.all_factors().items() if values.count() > 1]
    augments = space.augment is not None and space.augment.count() > 1
    params = [
        f"{name}.{param}"
        for components in (space.encoder, space.metric, space.loss)
        for name, alternative in components.alternatives.items()
        for param, values in alternative.params.items()
        if values.count() > 1
    ]
    return [*factors, *(["augment"] if augments else []), *params]


def _baselines(session: StudySession) -> list[str]:
    data, listed = session.data, session.study.config.baselines
    if listed is None:
        return []
    names = [name for name in listed if isinstance(name, str)]
    fitting = baselines_for(str(data.record["input"]), data.train.supervision == "labels")
    return [*(names or [*fitting, UNTRAINED, CHANCE]), *data.given]
