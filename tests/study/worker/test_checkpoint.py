"""An attempt's state on disk: what a kill at any point leaves, and what a later attempt makes of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from upath import UPath

from siamkit.errors import StudyError
from siamkit.io.files import is_disk_full, local_file, write_atomic, write_json
from siamkit.study.worker import checkpoint
from siamkit.study.worker.checkpoint import Checkpoint, remove_checkpoint
from siamkit.study.worker.trainer import EpochEnd

FINAL, STATE = "checkpoint.keras", "resume.json"
SECONDS_BETWEEN = checkpoint.seconds_between


class Model:
    def __init__(self, text: str) -> None:
        self.text = text

    def save(self, path: Path) -> None:
        Path(path).write_text(self.text)


class Killed(BaseException):
    """The process dies here."""


def names(place: Any) -> list[str]:
    return sorted(each.name for each in place.iterdir()) if place.exists() else []


@pytest.fixture(autouse=True)
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "seconds_between", lambda cost: 0.0)


def progress(place: Path, epochs: int, last: bool = False, best: int | None = None) -> Checkpoint:
    """Each epoch is better than the one before, up to the best."""
    state = Checkpoint(place)
    for epoch in range(1, epochs + 1):
        save(state, epoch, is_last=last and epoch == epochs, best=min(epoch, best or epochs))
    return state


def save(
    checkpoint: Checkpoint, epoch: int, is_last: bool = False, model: Any = None, best: int | None = None
) -> None:
    model = model or Model(f"after {epoch}")
    best_model = model if best in (None, epoch) else Model(f"after {best}")
    model = best_model if is_last else model
    checkpoint.save(EpochEnd(model, best_model, {"epoch": epoch}, {}, {}, best or epoch, is_last))


def test_each_epoch_replaces_the_one_before(tmp_path: Path) -> None:
    progress(tmp_path, 2)
    assert names(tmp_path) == ["resume-0-2.keras", STATE]
    progress(tmp_path, 3, last=True)
    assert FINAL in names(tmp_path)


def test_a_later_attempt_goes_on_from_the_last_epoch(tmp_path: Path) -> None:
    state = progress(tmp_path / "a", 2)
    (tmp_path / "a" / "queries.parquet").write_text("found")
    taken = Checkpoint.resume(tmp_path / "b", tmp_path / "a")
    assert taken.state == state.state
    assert names(tmp_path / "b") == ["queries.parquet", "resume-0-2.keras", STATE]
    # And the one after it from there.
    assert Checkpoint.resume(tmp_path / "c", tmp_path / "b").state.epoch == 2


def test_the_best_epochs_model_is_kept_beside_the_last_ones(tmp_path: Path) -> None:
    progress(tmp_path / "a", 4, best=2)
    assert names(tmp_path / "a") == ["resume-0-2.keras", "resume-0-4.keras", STATE]
    taken = Checkpoint.resume(tmp_path / "b", tmp_path / "a")
    last, best = taken.files_to_continue() or (Path(), Path())
    assert (last.read_text(), best.read_text()) == ("after 4", "after 2")


def test_the_attempts_model_is_that_of_the_best_epoch(tmp_path: Path) -> None:
    checkpoint = progress(tmp_path / "a", 4, best=2, last=True)
    assert names(tmp_path / "a") == [FINAL, STATE]
    assert (tmp_path / "a" / FINAL).read_text() == "after 2"
    taken = Checkpoint.resume(tmp_path / "b", tmp_path / "a")  # nothing is left to train, only to evaluate
    assert taken.files_to_continue() == (tmp_path / "b" / FINAL,) * 2
    assert taken.state.epoch == 4
    # A later repeat has no model of its own at the end, and leaves the first one's.
    checkpoint.next_repeat({"map_at_r": 0.5}, 2)
    save(checkpoint, 1)
    save(checkpoint, 2, best=1, is_last=True)
    assert names(tmp_path / "a") == [FINAL, "resume-1-1.keras", STATE]
    checkpoint.next_repeat({"map_at_r": 0.5}, 1)
    assert names(tmp_path / "a") == [FINAL, STATE]
    assert checkpoint.state.epochs == [2, 1]


@pytest.mark.parametrize("at", range(3))
def test_a_kill_while_the_best_model_becomes_the_attempts_costs_the_last_epoch_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    state = progress(tmp_path / "a", 3, best=1)
    steps = iter(range(9))

    def replace(one: Path, other: Path) -> None:
        if next(steps) == at:
            raise Killed
        Path(one).rename(other)

    monkeypatch.setattr("siamkit.io.files.os.replace", replace)
    with suppress(Killed):
        save(state, 4, best=1, is_last=True)
    monkeypatch.undo()
    taken = Checkpoint.resume(tmp_path / "b", tmp_path / "a")
    last, best = taken.files_to_continue() or (Path(), Path())
    assert taken.state.epoch == (4 if at == 2 else 3)
    assert best.read_text() == "after 1"
    assert last.read_text() == ("after 1" if at == 2 else "after 3")


def test_a_figure_that_was_no_number_is_none_again(tmp_path: Path) -> None:
    state = Checkpoint(tmp_path / "a")
    state.state.measures = [{"eer": np.nan}]
    row = {"epoch": 1, "map_at_r": np.nan}
    state.save(EpochEnd(Model("after 1"), Model("after 1"), row, {}, {}, 1, is_last=False))
    taken = Checkpoint.resume(tmp_path / "b", tmp_path / "a")
    assert np.isnan(taken.state.history[0]["map_at_r"])
    assert np.isnan(taken.state.measures[0]["eer"])


def test_the_first_repeats_model_stays_and_the_next_repeat_starts_afresh(tmp_path: Path) -> None:
    state = progress(tmp_path / "a", 2, last=True)
    state.next_repeat({"map_at_r": 0.5}, 2)
    taken = Checkpoint.resume(tmp_path / "b", tmp_path / "a")
    state = taken.state
    assert (state.repeat, state.epoch, state.model, state.measures) == (1, 0, None, [{"map_at_r": 0.5}])
    assert (state.best_model, state.epochs) == (None, [2])
    assert (tmp_path / "b" / FINAL).read_text() == "after 2"


@pytest.mark.parametrize("at", range(4))
def test_a_kill_while_an_epoch_is_kept_costs_that_epoch_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    state = progress(tmp_path / "a", 1)
    steps = iter(range(9))

    def die() -> None:
        if next(steps) == at:
            raise Killed

    class Dying(Model):
        def save(self, path: Path) -> None:
            Path(path).write_text("half")
            die()
            super().save(path)

    def replace(one: Path, other: Path) -> None:
        die()
        Path(one).rename(other)

    monkeypatch.setattr("siamkit.io.files.os.replace", replace)
    with suppress(Killed):  # after the last step it dies of nothing
        save(state, 2, model=Dying("after 2"))
    monkeypatch.undo()
    taken = Checkpoint.resume(tmp_path / "b", tmp_path / "a").state
    assert taken.epoch == len(taken.history) == (2 if at == 3 else 1)
    assert (tmp_path / "b" / str(taken.model)).read_text() == f"after {taken.epoch}"


def test_seconds_between_checkpoints_cost_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MIN_SECONDS", 10.0)  # other tests set them to 0
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_KILLS", 3600.0)

    def cost(seconds: float, each: float) -> float:
        """Of an hour with one kill: its checkpoints, and half of what is between two, trained again."""
        return 3600 / seconds * each + seconds / 2

    for each in (0.1, 1.0, 30.0):
        wait = SECONDS_BETWEEN(each)
        assert all(cost(wait, each) < cost(wait * factor, each) for factor in (0.8, 0.95, 1.05, 1.25))
    assert SECONDS_BETWEEN(0.0) == SECONDS_BETWEEN(0.001) == 10


def test_a_checkpoint_is_written_when_it_is_due_and_of_both_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoint, "seconds_between", lambda cost: 10.0 if not cost else 30.0)

    class Slow(Model):
        def save(self, path: Path) -> None:
            now[0] += 0.5
            super().save(path)

    state = Checkpoint(tmp_path / "a")
    found = []
    for epoch in range(1, 8):
        now[0] += 6.0
        save(state, epoch, model=Slow(f"after {epoch}"), best=min(epoch, 3))
        found.append(names(tmp_path / "a"))
    second, seventh = ["resume-0-2.keras", STATE], ["resume-0-3.keras", "resume-0-7.keras", STATE]
    assert found == [[], *[second] * 5, seventh]
    taken = Checkpoint.resume(tmp_path / "b", tmp_path / "a")
    assert [row["epoch"] for row in taken.epochs_so_far()] == [1, 2, 3, 4, 5, 6, 7]
    last, best = taken.files_to_continue() or (Path(), Path())
    assert (last.read_text(), best.read_text()) == ("after 7", "after 3")
    # The result is always written; a repeat without a checkpoint leaves none.
    save(state, 8, best=3, is_last=True)
    state.next_repeat({"map_at_r": 0.5}, 3)
    save(state, 1, is_last=True)
    assert names(tmp_path / "a") == [FINAL, STATE]
    assert (tmp_path / "a" / FINAL).read_text() == "after 3"
    assert Checkpoint.resume(tmp_path / "c", tmp_path / "a").state.epoch == 0


def test_without_a_state_training_starts_afresh(tmp_path: Path) -> None:
    assert Checkpoint.resume(tmp_path / "b", None).state.history == []
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "resume-0-1.keras").write_text("no state names it")
    assert Checkpoint.resume(tmp_path / "b", tmp_path / "a").state.epoch == 0


def test_an_attempt_that_is_not_dead_yet_may_go_on_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = progress(tmp_path / "a", 1)
    copy, moved = checkpoint.copy_file, []

    def meanwhile(source: Path, target: Path) -> None:
        if not moved:
            moved.append(True)
            save(old, 2)
        copy(source, target)

    monkeypatch.setattr(checkpoint, "copy_file", meanwhile)
    taken = Checkpoint.resume(tmp_path / "b", tmp_path / "a").state
    assert (taken.epoch, taken.model) == (2, "resume-0-2.keras")
    assert names(tmp_path / "b") == ["resume-0-2.keras", STATE]


def test_one_whose_model_is_gone_is_not_gone_on_from(tmp_path: Path) -> None:
    state = progress(tmp_path / "a", 2, last=True)
    state.next_repeat({"map_at_r": 0.5}, 2)
    (tmp_path / "a" / "queries.parquet").write_text("found")
    (tmp_path / "a" / FINAL).unlink()
    taken = Checkpoint.resume(tmp_path / "b", tmp_path / "a").state
    assert (taken.repeat, taken.epoch, taken.history, taken.measures) == (0, 0, [], [])
    assert names(tmp_path / "b") == []
    assert (
        Checkpoint.resume(tmp_path / "a", tmp_path / "a").state.history == []
    )  # a finalist goes on where it is


def test_sweeping_leaves_what_was_found(tmp_path: Path) -> None:
    for name in (FINAL, "result.json", "queries.parquet", STATE, "resume-0-2.keras"):
        (tmp_path / name).write_text("x")
    for name in (".0a1b2c3d.keras", ".ffffffff.parquet", ".mine", ".lock"):
        (tmp_path / name).write_text("x")
    remove_checkpoint(tmp_path)
    assert names(tmp_path) == [".lock", ".mine", FINAL, "queries.parquet", "result.json"]


def test_behind_a_url_too(tmp_path: Path) -> None:
    place = UPath("memory://checkpoints")
    state = Checkpoint(place / "a")
    save(state, 1)
    taken = Checkpoint.resume(place / "b", place / "a").state
    assert taken.epoch == 1
    with local_file(place / "b" / str(taken.model)) as file:
        assert file.read_text() == "after 1"
    assert not file.exists()
    remove_checkpoint(place / "b")
    assert names(place / "b") == []


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(28, "No space left on device"), True),
        (OSError("1000 requested and 24 written"), True),  # NumPy
        (RuntimeError("(errno = 28, error message = 'No space left on device')"), True),  # HDF5
        (OSError(2, "No such file"), False),
        (ValueError("10 requested"), False),
    ],
)
def test_a_full_disk_is_known_in_every_librarys_words(error: Exception, full: bool) -> None:
    assert is_disk_full(error) is full
    outer = ValueError("cannot close the file")  # as libraries say it on their way out
    outer.__context__ = error
    assert is_disk_full(outer) is full


def test_numpys_own_error_on_a_full_disk_is_one_of_them() -> None:
    with pytest.raises(OSError) as caught, open("/dev/full", "wb", buffering=0) as full:  # noqa: PT011
        np.ones(100_000).tofile(full)
    assert is_disk_full(caught.value)


def test_nothing_is_left_beside_a_file_that_could_not_be_written(tmp_path: Path) -> None:
    def full(aside: Path) -> None:
        aside.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StudyError, match=r"b.json' cannot be written: No space left on device") as caught:
        write_atomic(tmp_path / "a" / "b.json", full)
    assert is_disk_full(caught.value)
    assert names(tmp_path / "a") == []
    write_json(tmp_path / "a" / "b.json", {"a": float("nan")})
    assert (tmp_path / "a" / "b.json").read_text() == '{\n "a": null\n}\n'
