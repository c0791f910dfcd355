"""The search: draws configurations, trains them, and counts; its state is in the Optuna storage."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from siamkit.errors import SiamkitError, StudyError
from siamkit.report.store import read_json
from siamkit.study import folder as files
from siamkit.study.file import Study
from siamkit.study.identity import derive_seed, key_of
from siamkit.study.progress import Silent
from siamkit.study.space import Configuration, factors_of
from siamkit.study.task import Task

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
ATTEMPTS = 3  # how often a trial that died from outside is tried again
EXHAUSTED = 200  # draws in a row that were all there already: what is left is not worth looking for


@dataclass
class Search:
    """One study's search.

    Args:
        study: the file.
        task: its data.
        storage: Optuna's study, opened.
        folder: where results go.
        versions: recorded with each result.
        progress: hears of everything.
    """

    study: Study
    task: Task
    storage: optuna.Study
    folder: files.RunFolder
    versions: dict[str, Any]
    progress: Silent

    # ------------------------------------------------------------- counting

    def trials(self) -> list[FrozenTrial]:
        return self.storage.get_trials(deepcopy=False)

    def counted(self) -> dict[str, FrozenTrial]:
        """The configurations that used up budget, by key: complete, pruned, or failed by their own fault."""
        return {trial.user_attrs["key"]: trial for trial in self.trials() if _counts(trial)}

    def best_value(self) -> float | None:
        """The best value of the first objective so far."""
        return next((trial.values[0] for trial in self.ranked()), None)

    def seconds(self) -> float:
        """What all trials took so far; a dead one's clock ran on until it was found, so it says nothing."""
        return sum(float(trial.user_attrs.get("seconds", 0)) for trial in self.trials())

    # ------------------------------------------------------------ the search

    def recover(self) -> None:
        """Ends trials whose process died, and has them tried again; called under the folder's lock."""
        for trial in self.trials():
            if trial.state != TrialState.RUNNING:
                continue
            stored = self._stored(trial)
            if stored is not None:
                # It died after its result was written, before the storage heard of it.
                values = [stored["figures"][name] for name in self.task.objectives if stored["figures"]]
                self.storage.tell(trial.number, values or None, state=STATES[stored["outcome"]])
                continue
            self.storage.tell(trial.number, state=TrialState.FAIL)
            self.folder.log("trial died", trial=trial.number)
            self.retry(trial)

    def _stored(self, trial: FrozenTrial) -> dict[str, Any] | None:
        result = self.folder.attempt(trial.number, trial.user_attrs.get("token", "-")) / "result.json"
        return read_json(result) if result.is_file() else None

    def retry(self, trial: FrozenTrial, died: bool = True) -> None:
        """Has a trial's configuration tried again, if it was not tried too often."""
        attempt = trial.user_attrs.get("attempt", 1) + (1 if died else 0)
        if trial.params and attempt <= 1 + ATTEMPTS:
            self.storage.enqueue_trial(trial.params, user_attrs={"attempt": attempt, "retries": trial.number})

    def go(self) -> None:
        """Runs trials until the budget is spent or the space holds no more."""
        budget, size = self.study.file.budget, self.study.space.count()
        self.progress.begin("trials", len(self.counted()), budget.trials, self.task.objective)
        repeated = 0
        while len(self.counted()) < budget.trials:
            if len(self.counted()) >= size:
                self.progress.note(f"the space holds no more than {size:.0f} configurations")
                break
            if budget.time is not None and self.seconds() >= budget.time:
                self.progress.note(f"the time of {budget.time:g} s is spent")
                break
            if self._one(repeated):
                repeated = 0
            else:
                repeated += 1
                if repeated >= EXHAUSTED:
                    self.progress.note(
                        f"{EXHAUSTED} draws in a row brought nothing new; "
                        f"{len(self.counted())} of {size:.0f} configurations were tried"
                    )
                    break

    def _one(self, repeated: int = 0) -> bool:
        """Draws a configuration and runs it; False where it was there already, like `repeated` before it."""
        number = len(self.trials())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.storage.sampler = make_sampler(self.study, number, repeated > 0)
        trial = self.storage.ask()
        configuration = self.study.space.draw(trial)
        key = key_of(configuration)
        token = files.new_token()
        trial.set_user_attr("key", key)
        trial.set_user_attr("configuration", configuration)
        trial.set_user_attr("factors", factors_of(configuration))
        known = self.counted().get(key)
        if known is not None:
            self._repeat(trial, known)
            return False
        trial.set_user_attr("token", token)
        self._run(trial, token, configuration, key)
        return True

    def _repeat(self, trial: optuna.Trial, known: FrozenTrial) -> None:
        """Answers a configuration that was tried from what is stored."""
        trial.set_user_attr("outcome", "duplicate")
        trial.set_user_attr("duplicate_of", known.number)
        if known.state == TrialState.COMPLETE:
            self.storage.tell(trial, known.values)
        else:
            self.storage.tell(trial, state=TrialState.FAIL)

    def _run(self, trial: optuna.Trial, token: str, configuration: Configuration, key: str) -> None:
        from siamkit.study.attempt import Attempt

        place = self.folder.attempt(trial.number, token)
        attempt = Attempt(self, trial, configuration, key, place)
        self.progress.run(f"trial {trial.number}", configuration)
        self.folder.log("trial started", trial=trial.number, token=token, configuration=configuration)
        start = time.monotonic()
        outcome, cause, values = "failed", "", None
        try:
            outcome, values = attempt.run()
        except KeyboardInterrupt:
            self.storage.tell(trial, state=TrialState.FAIL)
            self.folder.log("trial interrupted", trial=trial.number)
            self.retry(next(each for each in self.trials() if each.number == trial.number), died=False)
            raise
        except SiamkitError as error:
            cause = str(error)
        except Exception as error:
            # One bad trial never ends a study; its traceback goes into its result.
            cause = f"{type(error).__name__}: {error}".strip().splitlines()[0][:500]
            attempt.trace(error)
        seconds = time.monotonic() - start
        trial.set_user_attr("seconds", seconds)
        if outcome == "failed":
            # What tells its own fault from a death: those are not marked, and are tried again.
            trial.set_user_attr("outcome", "failed")
            trial.set_user_attr("cause", cause)
        attempt.write(outcome, cause, seconds)
        self.storage.tell(trial, values, state=STATES[outcome])
        self.folder.log(
            "trial ended", trial=trial.number, outcome=outcome, cause=cause, seconds=round(seconds, 2)
        )
        self.progress.ended(outcome, values[0] if values else attempt.last, self.best_value(), cause)

    def ranked(self) -> Iterator[FrozenTrial]:
        """Completed trials, the best of the first objective first."""
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE and _counts(trial)]
        yield from sorted(complete, key=lambda trial: -self.task.better(trial.values[0]))


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial used up budget. A failure counts only if it was the configuration's own."""
    outcome = trial.user_attrs.get("outcome")  # "failed", "duplicate", or nothing
    if trial.state == TrialState.FAIL:
        return outcome == "failed"
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and outcome is None


def make_sampler(study: Study, number: int, repeated: bool = False) -> optuna.samplers.BaseSampler:
    """The sampler of one trial, seeded by the study's seed and the trial's number.

    After a draw that was there already chance draws: TPE would propose its favourite again and again, and
    that says nothing of whether the space holds more.
    """
    seed = derive_seed(study.file.seed, "sampler", number)
    if repeated or study.file.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)


def make_pruner(study: Study, objectives: int) -> optuna.pruners.BasePruner:
    """The pruner; none with several objectives, where Optuna's do not work."""
    if study.file.pruner == "none" or objectives > 1:
        return optuna.pruners.NopPruner()
    warmup = max(1, study.file.fixed.epochs // 4)
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warmup)


def open_storage(study: Study, task: Task, folder: files.RunFolder, frozen: dict[str, Any]) -> optuna.Study:
    """Opens or makes the study in its storage, and compares what is frozen there.

    Raises:
        StudyError: it was begun with another space, other data or other versions.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    written = folder.path / "study.json"
    if written.is_file():
        compare_frozen(read_json(written), frozen, folder)
        if not folder.database.is_file():
            raise StudyError(
                f"the run folder {str(folder.path)!r} has lost its {folder.database.name!r}; put that "
                "back, or give the study another artifacts folder"
            )
    url = sqlalchemy.URL.create("sqlite", database=str(folder.database))
    try:
        storage = optuna.create_study(
            storage=url.render_as_string(hide_password=False),
            study_name=study.file.name,
            load_if_exists=True,
            directions=list(task.objectives.values()),
            pruner=make_pruner(study, len(task.objectives)),
        )
    except Exception as error:
        raise StudyError(
            f"the storage {str(folder.database)!r} cannot be opened: {str(error).splitlines()[0]}"
        ) from error
    before = storage.user_attrs.get("frozen")
    if before is None:
        storage.set_user_attr("frozen", frozen)
    else:
        compare_frozen(before, frozen, folder)
    return storage


def compare_frozen(before: dict[str, Any], now: dict[str, Any], folder: files.RunFolder) -> None:
    """Raises StudyError where a study was begun otherwise than it would go on, naming the difference."""
    for part in ("layout", "study", "objectives", "data", "versions"):
        found = _difference(part, before.get(part), now.get(part))
        if found is not None:
            where, old, new = found
            raise StudyError(
                f"the study in {str(folder.path)!r} was begun with another {where} "
                f"({old!r:.80}, now {new!r:.80}); put that back, or give the study another "
                "artifacts folder"
            )


def _difference(where: str, old: Any, new: Any) -> tuple[str, Any, Any] | None:
    """The first place where two pieces of plain data differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            found = _difference(f"{where}.{key}", old.get(key), new.get(key))
            if found is not None:
                return found
        return None
    return None if old == new else (where, old, new)
