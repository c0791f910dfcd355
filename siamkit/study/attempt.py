"""One attempt at a trial: trains over its seeds, and writes what was found under its own token."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

from siamkit.study.folder import write_array, write_aside, write_json, write_table
from siamkit.study.identity import derive_seed
from siamkit.study.space import Configuration, factors_of

if TYPE_CHECKING:
    from siamkit.study.search import Search
    from siamkit.study.training import Trained


@dataclass
class Attempt:
    """One attempt at a trial.

    Args:
        search: of which it is part.
        trial: Optuna's.
        configuration: what was drawn.
        key: of the configuration.
        place: the folder it writes to, and nobody else.
    """

    search: Search
    trial: optuna.Trial
    configuration: Configuration
    key: str
    place: Path
    last: float | None = None  # the first objective after the last epoch
    _figures: list[dict[str, float]] = field(default_factory=list)
    _history: list[dict[str, float]] = field(default_factory=list)
    _literal: dict[str, Any] = field(default_factory=dict)
    _trace: str = ""

    def run(self) -> tuple[str, list[float] | None]:
        """Trains all seeds; returns the outcome, and the mean of each objective if it is complete."""
        from siamkit.study.training import Limits, Pruned, TrialFailure, train

        study, task = self.search.study.file, self.search.task
        limits = Limits(study.budget.trial_time, study.budget.trial_memory)
        for repeat in range(study.seeds):
            seed = derive_seed(study.seed, self.configuration, repeat)

            def on_epoch(number: int, row: dict[str, float], repeat: int = repeat) -> None:
                self._history.append({"repeat": repeat, **row})
                self.last = row[task.objective]
                self.search.progress.epoch(number, study.fixed.epochs, row)
                if repeat == 0 and len(task.objectives) == 1:
                    self.trial.report(self.last, number)
                    # Never after the last epoch: by then it is trained.
                    if number < study.fixed.epochs and self.trial.should_prune():
                        raise Pruned(f"behind the others after epoch {number}")

            try:
                trained = train(self.configuration, task, study.fixed, seed, limits, on_epoch)
            except Pruned:
                return "pruned", None
            self._figures.append(trained.figures)
            self._literal = trained.literal
            if repeat == 0:
                self._keep(trained)
        values = [self._mean(name) for name in task.objectives]
        if not all(math.isfinite(value) for value in values):
            raise TrialFailure(
                f"an objective is no number: {dict(zip(task.objectives, values, strict=True))}"
            )
        return "complete", values

    def write(self, outcome: str, cause: str, seconds: float) -> None:
        """Writes the history and, last, the result."""
        if self._history:
            names = list(dict.fromkeys(name for row in self._history for name in row))
            write_table(
                self.place / "history.parquet",
                {name: [row.get(name) for row in self._history] for name in names},
            )
        figures = {name: self._mean(name) for name in self._figures[0]} if outcome == "complete" else {}
        write_json(
            self.place / "result.json",
            {
                "trial": self.trial.number,
                "token": self.place.name,
                "key": self.key,
                "outcome": outcome,
                "cause": cause,
                "traceback": self._trace,
                "configuration": self.configuration,
                "factors": factors_of(self.configuration),
                "literal": self._literal,
                "figures": figures,
                "repeats": self._figures,
                "seconds": round(seconds, 3),
                "versions": self.search.versions,
                "attempt": self.trial.user_attrs.get("attempt", 1),
            },
        )

    def trace(self, error: BaseException) -> None:
        """Keeps the traceback of a failure that is nobody's sentence."""
        self._trace = "".join(traceback.format_exception(error))

    def _mean(self, name: str) -> float:
        return float(np.mean([figures[name] for figures in self._figures]))

    def _keep(self, trained: Trained) -> None:
        """Stores model, per-query scores and, while it is among the best, embeddings."""
        write_aside(self.place / "checkpoint.keras", trained.model.save)
        if trained.queries:
            ids = [str(each) for each in self.search.task.valid.ids]
            write_table(self.place / "queries.parquet", {"id": ids, **trained.queries})
        confirm = self.search.study.file.confirm
        value = self.search.task.better(trained.figures[self.search.task.objective])
        ahead = sum(self.search.task.better(trial.values[0]) > value for trial in self.search.ranked())
        if ahead < (confirm.top if confirm else 1):
            write_array(self.place / "embeddings.npy", trained.embeddings)
