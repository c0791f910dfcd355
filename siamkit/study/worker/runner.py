"""One job, as a worker does it: trains over its seeds, leaves files in its place, says what it found."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil

from siamkit.backend.precision import float32_required
from siamkit.errors import SiamkitError
from siamkit.evaluation.measures import GROUPS, groups_of
from siamkit.io.files import is_disk_full, local_file, read_table, write_array, write_arrays, write_table
from siamkit.io.paths import as_path
from siamkit.study.config.schema import StudyConfig
from siamkit.study.worker.checkpoint import EXHIBIT, Progress, take_over
from siamkit.study.worker.futility import hopeless
from siamkit.study.worker.messages import Ended, Epoch, Job, Resumed, Tell
from siamkit.study.worker.prepared_data import PreparedData
from siamkit.study.worker.trainer import Limits, Pruned, Start, Trained, TrialFailure


@dataclass
class JobRunner:
    """What all jobs of a worker share.

    Args:
        config: the study file, parsed.
        task: its data.
    """

    config: StudyConfig
    task: PreparedData

    def do(self, job: Job, tell: Tell) -> Ended:
        """Does a job; whatever goes wrong in it is told, not raised, but for what ends the process."""
        try:
            work = {"trial": self._trial, "confirm": self._confirm, "feeds": self._feeds}[job.kind]
            with float32_required():  # also where a study trains in a user's own process
                ended = work(job, tell)
        except Pruned as stop:
            ended = Ended("pruned", str(stop))
        except (SiamkitError, TrialFailure) as error:
            ended = Ended("failed", str(error))
        except Exception as error:
            # One bad trial never ends a study; its traceback goes into its result.
            first = f"{type(error).__name__}: {error}".strip().splitlines()[0][:500]
            outcome = "outside" if is_disk_full(error) else "failed"
            ended = Ended(outcome, first, "".join(traceback.format_exception(error)))  # type: ignore[arg-type]
        # What it could go on from stays: the supervisor knows whether somebody else is to start from it.
        return Ended(**{**vars(ended), "memory": psutil.Process().memory_info().rss})

    def _trial(self, job: Job, tell: Tell) -> Ended:
        state = take_over(as_path(job.place), as_path(job.resume) if job.resume else None)
        if state.history:
            tell(Resumed(state.history))
        while state.repeat < len(job.seeds):
            trained = self._repeat(job, state, tell)
            if state.repeat == 0:
                self._keep(job, state, trained)
            state.next_repeat(trained.measures)
            state.literal = trained.literal
            if state.repeat == 1 < len(job.seeds) and (why := self._hopeless(job, trained)):
                return self._ended(job, state, "pruned", why)
        ended = self._ended(job, state, "complete", "")
        if not all(math.isfinite(value) for value in ended.values or []):
            values = dict(zip(self.task.objectives, ended.values or [], strict=True))
            raise TrialFailure(f"an objective is no number: {values}")
        return ended

    def _repeat(self, job: Job, state: Progress, tell: Tell) -> Trained:
        from siamkit.study.worker.train import train

        fixed, budget = self.config.fixed, self.config.budget

        def keep(model: Any, epoch: int, row: dict[str, float], literal: dict[str, Any]) -> None:
            state.epoch, state.literal = epoch, literal
            state.history.append({"repeat": state.repeat, **row})
            state.save(model, last=epoch == fixed.epochs)

        def on_epoch(epoch: int, row: dict[str, float]) -> None:
            why = tell(Epoch(state.repeat, epoch, row))
            # Never after the last epoch: by then it is trained.
            if why is not None and epoch < fixed.epochs:
                raise Pruned(why)

        def go(start: Start | None) -> Trained:
            limits = Limits(budget.trial_time, budget.trial_memory)
            return train(
                job.configuration,
                self.task,
                fixed,
                job.seeds[state.repeat],
                limits,
                on_epoch,
                keep,
                start,
                job.data_seeds[state.repeat],
            )

        if state.model is None:
            return go(None)
        with local_file(state.place / state.model) as file:
            return go(Start(file, state.epoch, state.literal))

    def _keep(self, job: Job, state: Progress, trained: Trained) -> None:
        """Stores per-query scores and, of what may be among the best, what there is to see of it."""
        if trained.queries:
            ids = [str(each) for each in self.task.valid.ids]
            write_table(state.place / "queries.parquet", {"id": ids, **trained.queries})
        value = self.task.better(trained.measures[self.task.objective])
        if job.keep_above is None or value > job.keep_above:
            from siamkit.study.worker.train import exhibit

            write_array(state.place / "embeddings.npy", trained.embeddings)
            write_arrays(state.place / EXHIBIT, exhibit(trained.model, self.task, trained.embeddings))

    def _hopeless(self, job: Job, trained: Trained) -> str | None:
        """Why later seeds are not worth it, by the scores of the best trial's first seed on each query."""
        column = self.task.objective
        if job.rival is None or column not in trained.queries or self.task.valid.target is None:
            return None
        if len(self.task.objectives) > 1 or not as_path(job.rival).is_file():
            return None
        best = read_table(as_path(job.rival)).column(column).to_numpy()
        return hopeless(trained.queries[column], best, self.task.valid.target, job.spread)

    def _ended(self, job: Job, state: Progress, outcome: Any, cause: str) -> Ended:
        values = [float(np.mean([each[name] for each in state.measures])) for name in self.task.objectives]
        return Ended(outcome, cause, values=values, measures=state.measures, literal=state.literal)

    def _confirm(self, job: Job, tell: Tell) -> Ended:
        """Trains afresh, and scores the test part too: here and nowhere else."""
        from siamkit.study.worker.train import exhibit, judge

        state = take_over(as_path(job.place), as_path(job.resume) if job.resume else None)
        # The state stays at its last epoch: killed from here on, it is judged again and not trained.
        trained = self._repeat(job, state, tell)
        if not math.isfinite(trained.measures[self.task.objective]):
            raise TrialFailure(f"the objective {self.task.objective} is no number")
        groups = set(GROUPS) - ({"speed"} - groups_of(self.task.objectives))
        # At the threshold that was calibrated on validation: what it leads to on items never seen.
        calibrated = trained.measures.get("threshold", math.nan)
        threshold = calibrated if math.isfinite(calibrated) else None
        measures, embeddings, queries = judge(trained.model, self.task.test, groups, threshold)
        if queries:
            test = self.task.test
            named = {"id": test.ids, "target": np.asarray(test.target)}
            texts = {name: [str(each) for each in column] for name, column in named.items()}
            write_table(state.place / "test_queries.parquet", {**texts, **queries})
        shown = exhibit(trained.model, self.task, trained.embeddings, embeddings)
        write_arrays(state.place / EXHIBIT, shown)
        return Ended("complete", measures=[trained.measures], test=measures, literal=trained.literal)

    def _feeds(self, job: Job, tell: Tell) -> Ended:
        from siamkit.study.worker.train import try_feeds

        try_feeds(self.task, job.losses, list(job.batch_sizes), self.config.fixed)
        return Ended("complete")
