"""What counts, who may run what, and what becomes of the dead: ledgers on one storage, no training."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from siamkit.errors import StudyError
from siamkit.io.files import write_json
from siamkit.runs.configuration import key_of
from siamkit.runs.results import Objective
from siamkit.runs.run_folder import RunFolder
from siamkit.study.storage import leases
from siamkit.study.storage.leases import CoordinatorLock, Owner, machine_name
from siamkit.study.storage.open import open_storage
from siamkit.study.storage.trial_log import StoredTrial
from siamkit.study.storage.trial_queue import MAX_RETRIES, Claim, TrialQueue

Make = Callable[..., TrialQueue]


class Space:
    """One number; `fixed` says which are drawn, one after the other; without, what is queued."""

    def __init__(self, *fixed: int) -> None:
        self.fixed = list(fixed)

    def sample(self, trial: optuna.Trial) -> Any:
        low, high = (self.fixed[0], self.fixed.pop(0)) if self.fixed else (0, 99)
        parts = {kind: {"name": "only", "params": {}} for kind in ("encoder", "metric", "loss")}
        return {**parts, "x": trial.suggest_int("x", low, high)}


@pytest.fixture(params=["sqlite", "journal"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens the one storage once more, for another owner."""
    folder = RunFolder(tmp_path)
    made = 0

    def maker(
        role: str = "worker",
        owner: str = "",
        lease: float = 60.0,
        alone: bool = False,
        notify: Callable[[str], None] = lambda sentence: None,
    ) -> TrialQueue:
        nonlocal made
        made += 1
        sampler = optuna.samplers.RandomSampler(seed=made)
        storage = open_storage("study", folder, request.param, ["maximize"], {}, sampler=sampler)
        named = Owner.parse(owner) or Owner.new(role)
        return TrialQueue(
            storage, Objective("map_at_r"), folder, named, lease, is_only_tune=alone, notify=notify
        )

    return maker


def draw(ledger: TrialQueue, *fixed: int, target: float = 100) -> Claim:
    claim = ask(ledger, Space(*fixed), target)
    assert isinstance(claim, Claim), claim
    return claim


def ask(ledger: TrialQueue, space: Space, target: float = 100) -> Claim | str:
    ledger.refresh()
    return ledger.claim_next(space, target)  # type: ignore[arg-type]


def keys(ledger: TrialQueue) -> set[int]:
    """What is counted, as another one reads it."""
    ledger.refresh()
    return {trial.frozen.params["x"] for trial in ledger.trials.counted.values()}


FACTORS = {"encoder": "mlp", "metric": "cosine", "loss": "triplet", "embedding_dim": 8}
DEAD = "worker:elsewhere:1-1:ab"


def test_what_is_counted(make: Make) -> None:
    one, other = make(), make()
    assert one.finish(draw(one, 1), "complete", [0.5])
    assert one.finish(draw(one, 2), "pruned", None)
    assert one.finish(draw(one, 3), "failed", None, "its own fault")
    lost, open_one = draw(one, 4), draw(one, 5)
    one.release(lost, died=True)
    assert keys(other) == keys(one) == {1, 2, 3}
    assert [trial.frozen.params["x"] for trial in other.trials.running] == [5]
    assert len(other.trials.waiting) == 1
    assert other.trials.ranked()[0].values == [0.5]
    assert one.finish(open_one, "complete", [0.7])
    other.refresh()
    assert [trial.values for trial in other.trials.ranked()] == [[0.7], [0.5]]


def test_a_duplicate_is_answered_by_what_is_known_and_does_not_count(make: Make) -> None:
    one, other = make(), make()
    assert one.finish(draw(one, 7), "complete", [0.25])
    other.refresh()
    assert ask(other, Space(7), 100) == "repeated"
    last = other.storage.optuna_study.get_trials()[-1]
    assert (last.state, last.values, last.user_attrs["duplicate_of"]) == (TrialState.COMPLETE, [0.25], 0)
    assert not StoredTrial(last).counts
    assert keys(one) == {7}
    # Of one that runs elsewhere as well, but with no answer yet.
    draw(one, 8)
    assert ask(other, Space(8), 100) == "repeated"
    assert other.storage.optuna_study.get_trials()[-1].state == TrialState.FAIL


def test_what_is_too_much_is_withdrawn(make: Make) -> None:
    one, other = make(), make()
    assert one.finish(draw(one, 1), "complete", [0.5])
    draw(one, 2, target=2)
    assert ask(other, Space(3), 2) == "withdrawn"
    assert not StoredTrial(other.storage.optuna_study.get_trials()[-1]).counts


def test_of_two_that_draw_the_same_at_once_one_goes_on(make: Make) -> None:
    ledgers = [make(), make()]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda each: ask(each, Space(9)), ledgers))
    assert sorted(isinstance(each, Claim) for each in found) == [False, True]
    assert "repeated" in found


def test_an_ended_trial_cannot_be_ended_again(make: Make) -> None:
    old = make(owner=DEAD)
    claim = draw(old, 4)
    new = make()
    new.refresh()
    new._expire(new.trials.running[0])  # taken for dead, it wakes up
    assert not old.finish(claim, "complete", [0.9])
    assert keys(new) == set()
    second = draw(new)
    assert (second.configuration["x"], second.attempt) == (4, 2)
    assert new.finish(second, "complete", [0.9])
    assert keys(old) == {4}


@pytest.mark.parametrize("outcome", ["failed", "pruned"])
def test_a_loser_may_write_nothing(make: Make, outcome: str) -> None:
    old, new = make(owner=DEAD), make()
    claim = draw(old, 4)
    new.refresh()
    new._expire(new.trials.running[0])
    assert not old.finish(claim, outcome, None, "a cause")
    buried = new.storage.optuna_study.get_trials()[0]
    assert "outcome" not in buried.user_attrs
    assert "cause" not in buried.user_attrs


def test_a_beat_tells_of_the_loss(make: Make) -> None:
    old, new = make(owner=DEAD), make()
    claim = draw(old, 4)
    old.renew()
    assert not claim.lost
    new.refresh()
    assert new.trials.running[0].frozen.user_attrs["lease"] == {"owner": DEAD, "beat": 1}
    new._expire(new.trials.running[0])
    old.renew()
    assert claim.lost


def test_an_owner_of_this_machine_that_is_no_more_is_reaped_at_once(make: Make) -> None:
    old, new = make(owner=f"worker:{machine_name()}:999999-1:ab"), make()
    draw(old, 4)
    new.refresh()
    new.expire()
    new.refresh()
    assert not new.trials.running
    assert len(new.trials.waiting) == 1


def test_a_tune_that_is_alone_reaps_those_before_it_but_no_workers(make: Make) -> None:
    draw(make(owner="tune:elsewhere:1-1:ab"), 4)
    draw(make(owner=DEAD), 5)
    new = make("tune", alone=True)
    new.refresh()
    new.expire()
    new.refresh()
    assert [trial.frozen.params["x"] for trial in new.trials.running] == [5]


def test_the_silent_are_reaped_after_the_lease(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    now = 0.0
    monkeypatch.setattr(leases, "time", SimpleNamespace(monotonic=lambda: now))
    old, new = make(owner=DEAD), make(lease=10)
    draw(old, 4)
    for second in range(30):
        now = float(second)
        if second < 12:
            old.renew()
        new.refresh()
        new.expire()
        assert bool(new.trials.running) == (second < 23), second


def test_a_trial_is_tried_three_times_more_and_then_given_up(make: Make) -> None:
    told: list[str] = []
    one = make(notify=told.append)
    claim = draw(one, 6)
    for attempt in range(1, MAX_RETRIES + 1):
        assert claim.attempt == attempt
        one.release(claim, died=True)
        claim = draw(one)
        assert claim.configuration["x"] == 6
    one.release(claim, died=True)
    one.refresh()
    assert not one.trials.open
    assert told == ["trial 3 is given up: its process died 4 times"]
    assert keys(make()) == set()
    assert ask(make(), Space(6), 100) == "repeated"


def test_what_the_user_stopped_is_no_attempt(make: Make) -> None:
    one = make()
    for _ in range(6):
        one.release(draw(one, 6), died=False)
        one.refresh()
    assert draw(one).attempt == 1


def test_what_died_and_was_not_queued_again_is_adopted_once(make: Make) -> None:
    old = make()
    claim = draw(old, 6)
    old._end(claim.trial.number, "failed", None)  # and then it died itself
    new, third = make(), make()
    for each in (new, third):
        each.refresh()
        each.requeue()
    assert draw(new).configuration["x"] == 6
    assert (
        len([trial for trial in new.storage.optuna_study.get_trials() if trial.state == TrialState.WAITING])
        == 0
    )
    third.refresh()
    third.requeue()
    assert len(third.trials.waiting) == 0


def test_a_result_without_an_end_in_the_storage_is_told(make: Make, tmp_path: Path) -> None:
    old = make(owner=DEAD)
    for number, outcome in enumerate(("complete", "pruned", "failed")):
        claim = draw(old, number)
        place = old.folder.attempt(claim.trial.number, claim.token)
        result = {"trial": number, "outcome": outcome, "factors": FACTORS, "figures": {}}
        write_json(place / "result.json", {**result, "values": [0.5] if not number else None})
    new = make()
    new.refresh()
    for trial in new.trials.running:
        new._expire(trial)
    assert keys(make()) == {0, 1, 2}


def test_a_queued_one_that_dies_before_it_has_a_token_is_queued_again(make: Make) -> None:
    one = make()
    one.release(draw(one, 6), died=True)
    one.storage.optuna_study.ask()  # takes the queued one, and dies
    one.refresh()
    (taken,) = one.trials.running
    assert "key" in taken.frozen.user_attrs
    assert "token" not in taken.frozen.user_attrs
    one._expire(taken)
    again = draw(one)
    assert (again.configuration["x"], again.attempt) == (6, 3)


def test_a_later_attempt_knows_where_to_go_on(make: Make) -> None:
    one = make()
    claim = draw(one, 6)
    place = one.folder.attempt(claim.trial.number, claim.token)
    write_json(place / "resume.json", {})
    one.release(claim, died=True)
    second = draw(one)
    assert second.resume == f"trials/0/{claim.token}"
    one.release(second, died=True)  # before it wrote anything itself
    assert draw(one).resume == f"trials/0/{claim.token}"


def test_answers_that_get_lost_do_not_count_twice(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamkit.study.storage.retry.time.sleep", lambda seconds: None)
    one = make()
    tell, lost = one.storage.optuna_study.tell, [True, True]

    def losing(*args: Any, **more: Any) -> Any:
        found = tell(*args, **more)
        if lost.pop():
            raise StorageInternalError("the answer got lost")
        return found

    monkeypatch.setattr(one.storage.optuna_study, "tell", losing)
    claim = draw(one, 3)
    assert one.finish(claim, "complete", [0.5])
    assert keys(make()) == {3}


def test_one_conductor_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamkit.study.storage.leases.POLL_SECONDS", 0.01)
    first, second = make("tune"), make("tune")

    def seat(ledger: TrialQueue, lease: float = 0.1) -> Any:
        return CoordinatorLock(ledger.storage.optuna_study, ledger.owner, lease).acquire()

    with seat(first), pytest.raises(StudyError, match="another 'siamkit tune' is running"), seat(second):
        pass
    with seat(second):  # the first has left
        pass
    elsewhere = CoordinatorLock(first.storage.optuna_study, Owner("tune", "elsewhere", "1-1", "ab"), 0.1)
    elsewhere.renew()
    with seat(second):  # silent for as long as its lease
        pass
    elsewhere.renew()
    monkeypatch.setattr("siamkit.study.storage.leases.time.sleep", lambda seconds: elsewhere.renew())
    with pytest.raises(StudyError, match="is running this study"), seat(second, lease=60):
        pass


def test_keys_are_those_of_the_configuration(make: Make) -> None:
    claim = draw(make(), 3)
    assert claim.key == key_of(claim.configuration)
