"""The search: gives the workers configurations to train until the budget is spent."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import optuna

from siamkit.errors import StudyError
from siamkit.runs.run_folder import RunFolder
from siamkit.study.config.fingerprint import derive_seed
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.execution.trial import TrialWork
from siamkit.study.monitoring.progress import NullProgress
from siamkit.study.sampling.samplers import make_sampler
from siamkit.study.storage.coordinator_lock import CoordinatorLock
from siamkit.study.storage.leases import RENEWALS, HeartbeatThread, role_of
from siamkit.study.storage.retry import with_retries
from siamkit.study.storage.trial_queue import Claim, TrialQueue
from siamkit.study.worker.messages import Job
from siamkit.study.worker.prepared_data import PreparedData

EXHAUSTED = 200  # draws in a row that were all there already: what is left is not worth looking for
HOPELESS = 20  # deaths in a row, after which no other trial is tried
LOOKS = 1.0  # seconds between two looks at what others do


@dataclass
class Search:
    """One study's search, as one process takes part in it: a source of work for its pool.

    Args:
        study: the file.
        task: its data.
        ledger: what was tried, and by whom.
        folder: where results go.
        versions: recorded with each result.
        progress: hears of everything.
        planned: how many configurations there are to be, where a plan says so in place of a sampler.
        spreads: the variances of the first objective between the seeds of one configuration, seen so far.
        hand: the trials that its workers have.
        pulse: what renews the leases.
        deaths: trials in a row whose process died.
    """

    study: ResolvedStudy
    task: PreparedData
    ledger: TrialQueue
    folder: RunFolder
    versions: dict[str, Any]
    progress: NullProgress
    planned: float = math.inf
    spreads: list[float] = field(default_factory=list)
    hand: dict[int, TrialWork] = field(default_factory=dict)
    pulse: HeartbeatThread | None = None
    deaths: int = 0
    conductor: CoordinatorLock | None = None

    def __post_init__(self) -> None:
        self._repeated = 0
        self._looked = -math.inf
        self._size = self.study.space.count()
        self._worked_before = float(with_retries(lambda: self.ledger.storage.user_attrs).get("worked", 0.0))
        self._began = time.monotonic()

    # ------------------------------------------------------------- a source of work

    def room(self) -> int:
        return int(min(self.target - len(self.ledger.counted), 1e6))

    def tick(self) -> None:
        if self.pulse is not None and self.pulse.error is not None:
            raise self.pulse.error  # without it, what runs here would be taken for dead
        # Often enough to see whether a lease is renewed.
        if time.monotonic() - self._looked >= min(LOOKS, self.ledger.lease / RENEWALS):
            self.ledger.look()
            self.ledger.reap()
            self.ledger.adopt(self.ledger.lease)
            self._looked = time.monotonic()

    def next(self) -> TrialWork | None:
        for _ in range(20):  # then the workers are heard again
            self.ledger.look()
            if not self._may_draw():
                return None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                claim = self.ledger.draw(self.study.space, self.target, self._sampler)
            if isinstance(claim, Claim):
                self._repeated = 0
                return self._work(claim)
            self._repeated += claim == "repeated"
        return None

    def done(self) -> bool:
        if self.hand:
            return False
        if len(self.ledger.counted) >= self.target:
            return True
        if self.ledger.open and not self.time_is_over():
            return False  # what others run may yet die, and then somebody must see to it
        return self._drained() or self.time_is_over()

    def note_death(self, cause: str) -> None:
        """A trial's process has died, again.

        Raises:
            StudyError: so many in a row have that it is not the trials' fault.
        """
        self.deaths += 1
        if self.deaths >= HOPELESS:
            raise StudyError(
                f"{self.deaths} trials in a row died, none ended; the last: {cause}. Is there memory enough? "
                "(resources and workers in the study file say how many run at once)"
            )

    def release(self) -> None:
        """Gives back what the user stopped."""
        for work in list(self.hand.values()):
            work.interrupted()

    # ------------------------------------------------------------- when it ends

    @property
    def target(self) -> float:
        """How many configurations are to be tried in all."""
        return min(self.study.config.budget.trials, self._size, self.planned)

    def worked(self) -> float:
        """Seconds that `tune` has spent on this study, in this run and those before it."""
        return self._worked_before + time.monotonic() - self._began

    def time_is_over(self) -> bool:
        budget = self.study.config.budget
        return budget.time is not None and self.worked() >= budget.time

    def why_it_ends(self) -> str | None:
        """Why the search ends before its budget of trials is spent, in a sentence."""
        budget, counted = self.study.config.budget, len(self.ledger.counted)
        if counted >= budget.trials:
            return None
        if self.time_is_over():
            return f"the time of {budget.time:g} s is spent"
        if counted >= self._size:
            return f"the space holds no more than {self._size:.0f} configurations"
        if counted >= self.planned:
            return f"the plan holds no more than {self.planned:.0f} configurations"
        return (
            f"{EXHAUSTED} draws in a row brought nothing new; "
            f"{counted} of {self._size:.0f} configurations were tried"
        )

    def _drained(self) -> bool:
        return self._repeated >= EXHAUSTED or math.isfinite(self.planned)

    def _may_draw(self) -> bool:
        ledger = self.ledger
        counted, waiting = len(ledger.counted), len(ledger.waiting)
        if self.time_is_over() or counted + len(ledger.running) >= self.target:
            return False
        return bool(waiting) or (not self._drained() and counted + len(ledger.open) < self.target)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        return make_sampler(self.study, number, self._repeated > 0)

    # ------------------------------------------------------------- one trial

    def _work(self, claim: Claim) -> TrialWork:
        study = self.study.config
        place = self.folder.attempt(claim.trial.number, claim.token)
        confirm = study.confirm
        top = self.ledger.ranked(confirm.top if confirm else 1)
        # On a front of several objectives anything may lie.
        full = len(top) == (confirm.top if confirm else 1) and len(self.task.objectives) == 1
        best = top[0] if top and study.seeds > 1 else None
        job = Job(
            "trial",
            str(place),
            claim.configuration,
            tuple(derive_seed(study.seed, claim.configuration, repeat) for repeat in range(study.seeds)),
            tuple(derive_seed(study.seed, "data", repeat) for repeat in range(study.seeds)),
            resume=str(self.folder.path / claim.resume) if claim.resume else None,
            rival=str(self._queries(best)) if best is not None else None,
            spread=math.sqrt(sum(self.spreads) / len(self.spreads)) if self.spreads else 0.0,
            keep_above=self.task.better(top[-1].values[0]) if full else None,
        )
        return TrialWork(self, claim, job, place)

    def _queries(self, trial: optuna.trial.FrozenTrial) -> Any:
        return self.folder.attempt(trial.number, trial.user_attrs["token"]) / "queries.parquet"

    def best_value(self) -> float | None:
        """The best value of the first objective so far."""
        return next((trial.values[0] for trial in self.ledger.ranked(1)), None)

    def beat(self) -> None:
        """Renews the leases, and notes how long the study has been worked on."""
        self.ledger.beat()
        if self.conductor is not None:
            self.conductor.beat()
        self.note_time()

    def note_time(self) -> None:
        """Keeps the time for later runs; `tune` alone does, whoever helps it."""
        if role_of(self.ledger.owner) == "tune":
            with_retries(self.ledger.storage.set_user_attr, "worked", self.worked())
