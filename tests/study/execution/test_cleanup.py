"""What a study lets go of, leaves and survives: whole runs, a formula for training, faults in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import stand_in_trainers
from optuna.trial import TrialState
from training_stand_in import Killed, Training, run, training  # noqa: F401  # fixtures

from siamkit.errors import StudyError
from siamkit.runs.run_folder import RunFolder
from siamkit.study.execution import run as run_module
from siamkit.study.execution.session import SingleJob
from siamkit.study.results.results import Results
from siamkit.study.storage.trial_queue import MAX_RETRIES, TrialQueue
from siamkit.study.worker.messages import Cause, CauseKind, Died, FeedsJob

Run = Callable[..., Results]


def storage(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder / 'runs' / 'tiny' / 'study.db'}")


def events(results: Results) -> list[str]:
    return [json.loads(line)["event"] for line in (results.folder / "log.jsonl").read_text().splitlines()]


def test_a_trial_that_was_taken_over_is_let_go_quietly(run: Run, training: Training, tmp_path: Path) -> None:
    def bury(dim: int, epoch: int) -> None:
        if len(training.dims) == 2 and epoch == 2:
            storage(tmp_path).tell(1, state=TrialState.FAIL)

    training.during = bury
    results = run()
    assert "trial lost" in events(results)
    assert {each.trial for each in results.trials} == {0, 2, 3, 4}
    assert not (results.folder / "trials" / "1").exists()
    assert not results.interrupted


def test_what_another_attempt_starts_from_is_left(run: Run, training: Training, tmp_path: Path) -> None:
    left: list[bool] = []

    def bury(dim: int, epoch: int) -> None:
        if len(training.dims) == 2 and epoch == 2:
            study = storage(tmp_path)
            study.tell(1, state=TrialState.FAIL)
            dead = study.get_trials()[1]
            attrs = {name: dead.user_attrs[name] for name in ("key", "configuration")}
            place = RunFolder(tmp_path / "runs" / "tiny").attempt(1, dead.user_attrs["token"])
            resume = f"trials/1/{place.name}"
            study.enqueue_trial(
                dead.params, user_attrs={**attrs, "attempt": 2, "retries": 1, "resume": resume}
            )
            left.append(place.is_dir())

    training.during = bury
    results = run()
    assert left == [True]
    assert training.dims[2] == training.dims[1]
    assert training.starts[2] == 2  # its second epoch was saved before it heard that it had lost
    assert len(results.trials) == 4
    assert not (results.folder / "trials" / "1").exists()  # once nobody needs it any more


def test_a_finalist_killed_while_it_is_scored_is_not_trained_again(
    run: Run,
    training: Training,
) -> None:
    def dies(count: int) -> None:
        if count == 1:
            raise Killed

    training.scoring = dies
    with pytest.raises(Killed):
        run(("confirm: null", "confirm: {top: 1, seeds: 1}"))
    results = run()
    assert training.starts[-1] == 3
    assert results.measures["test"] == {"map_at_r": 0.4, "eer": 0.5}


def test_what_the_killed_were_writing_is_swept_and_a_finalist_that_is_none_any_more(
    run: Run,
    training: Training,
) -> None:
    folder = run(("confirm: null", "confirm: {top: 1, seeds: 1}")).folder
    gone = folder / "confirm" / "0123456789abcdef" / "0"
    gone.mkdir(parents=True)
    for file in (folder / ".0a1b2c3d.html", folder / ".00000000.keras", gone / "resume-0-1.keras"):
        file.write_text("half")
    run()
    assert not [each for each in folder.rglob(".*") if each.name != ".lock"]
    assert not gone.exists()


def test_an_attempt_that_begins_while_another_process_tidies_is_left_alone(
    run: Run,
    training: Training,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    begun: list[Path] = []
    clean_up = run_module.clean_up

    def meanwhile(folder: RunFolder, queue: TrialQueue, is_finished: bool) -> None:
        refresh = TrialQueue.refresh

        def looking(self: TrialQueue) -> None:
            refresh(self)
            if not begun:
                number = storage(tmp_path).ask().number
                begun.append(folder.attempt(number, "abcd") / "resume.json")
                begun[0].parent.mkdir(parents=True)
                begun[0].write_text("{}")

        with monkeypatch.context() as patch:
            patch.setattr(TrialQueue, "refresh", looking)
            clean_up(folder, queue, is_finished)

    monkeypatch.setattr(run_module, "clean_up", meanwhile)
    run()
    assert begun[0].is_file()


def test_a_disk_that_is_full_for_the_log_ends_nothing(run: Run, training: Training, tmp_path: Path) -> None:
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    (tmp_path / "runs" / "tiny" / "log.jsonl").symlink_to("/dev/full")
    assert len(run().trials) == 4


@pytest.mark.parametrize(
    "what", ["siamkit.study.execution.run.write_report", "siamkit.study.execution.session.write_data"]
)
def test_a_full_disk_is_a_sentence_wherever_it_is_met(
    run: Run,
    training: Training,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(what, full)
        with pytest.raises(StudyError, match=r"^'.*' cannot be written: No space left on device$"):
            run()
    assert len(run().trials) == 4


def test_ctrl_c_while_baselines_are_evaluated_stops_the_study(
    run: Run, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stand_in_trainers.StandIn, "untrained", press, raising=False)
        results = run(("baselines: null", "baselines: [random]"))
    assert results.interrupted
    assert not results.trials
    assert not training.dims
    assert len(run(("baselines: [random]", "baselines: null")).trials) == 4


def test_the_worker_of_a_single_job_may_be_killed_but_not_crash() -> None:
    def death(signal: str, kind: CauseKind) -> Died:
        return Died(Cause(kind, f"its process ended by {signal}"))

    single = SingleJob(FeedsJob((), (8,)))
    for _ in range(MAX_RETRIES):
        assert single.next_job() is single
        assert single.next_job() is None
        single.on_event(death("SIGKILL", "killed"))
        assert not single.is_done()
    single.on_event(death("SIGKILL", "killed"))
    assert single.is_done()
    crashed = SingleJob(FeedsJob((), (8,)))
    crashed.on_event(death("SIGSEGV", "crashed"))
    assert crashed.ended is not None
    assert crashed.ended.cause is not None
    assert crashed.ended.cause.kind == "crashed"
