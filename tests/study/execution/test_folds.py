"""A study over folds of its classes: what is trained on which fold, and what becomes of the values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
from stand_in_trainers import StandIn
from tiny_study import HEAD, Run, changing
from training_stand_in import Killed, use_stand_in

from siamkit.errors import StudyError
from siamkit.report.load import load_study_results
from siamkit.runs.outcome import read_outcome
from siamkit.study.monitoring.status import read_status
from siamkit.study.results.results import Results
from siamkit.study.worker.checkpoint import Checkpoint
from siamkit.study.worker.trainer import Scores, TrialFailure

CLASSES, FOLDS = 10, 4
STUDY = f"""\
{HEAD.replace("{train: 0.5, valid: 0.25, test: 0.25}", "{by: class, test: 0.2, folds: 4}")}confirm: null
engine: inline
pruner: none
"""


class OfClasses(StandIn):
    """Each class has a score of its own, to which the size of the embedding adds."""

    trained: ClassVar[list[tuple[int, frozenset[int], frozenset[int]]]] = []
    die_at = die_after = fail_at = 0

    def begin(self, configuration: Any, seed: int, data_seed: int, done: int) -> None:
        of = (frozenset(split.target.tolist()) for split in (self.data.train, self.data.valid))
        self.trained.append((configuration["embedding_dim"], *of))
        if len(self.trained) == self.die_at:
            raise Killed
        if len(self.trained) == self.fail_at:
            raise TrialFailure("nan", "the loss of epoch 1 is nan")

    def report_data(self, model: Any, valid: Any, test: Any = None) -> dict[str, np.ndarray]:
        rows = np.arange(len(self.data.valid))
        return {"embeddings": np.ones((len(rows), 2)), "rows": rows, "fold": self.data.valid.target}

    def queries(self, configuration: Any, seed: int) -> dict[str, np.ndarray]:
        return {"map_at_r": self.data.valid.target / 20 + configuration["embedding_dim"] / 200}

    def measures(self, configuration: Any, seed: int, epoch: int) -> dict[str, float]:
        return {
            "map_at_r": float(self.queries(configuration, seed)["map_at_r"].mean()),
            "eer": 0.5,
            "parameters": 10.0,
        }

    def evaluate(self, model: Any, split: str, groups: Any, threshold: float | None = None) -> Scores:
        # A model that was not trained on class 0 is worse everywhere.
        worth = 0.5 if 0 in self.data.train.target else 0.4
        scores = np.full(len(self.data.test), worth)
        return Scores({"map_at_r": worth, "eer": 0.5}, {"map_at_r": scores}, np.ones((1, 1)))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(OfClasses, "trained", [])
    use_stand_in(monkeypatch, OfClasses)
    made = changing(tmp_path, STUDY)
    rng, target = np.random.default_rng(0), np.repeat(np.arange(CLASSES), 6)
    np.savez(tmp_path / "items.npz", x=rng.normal(size=(60, 5)).astype("float32"), y=target)
    return made


def folds_of(results: Results) -> list[set[int]]:
    record = json.loads((results.folder / "study.json").read_text())["data"]["split"]
    return [{int(name) for name in fold} for fold in record["folds"]]


def test_a_trial_is_trained_on_each_fold_and_has_the_mean(run: Run) -> None:
    results = run()
    folds = folds_of(results)
    assert [len(fold) for fold in folds] == [2] * FOLDS
    others = set.union(*folds)
    for trial in results.trials:
        dim = trial.configuration["embedding_dim"]
        trained = [each[1:] for each in OfClasses.trained if each[0] == dim]
        assert trained == [(others - fold, fold) for fold in folds]
        values = [np.mean([label / 20 for label in fold]) + dim / 200 for fold in folds]
        assert [each["map_at_r"] for each in trial.repeats] == pytest.approx(values)
        assert trial.values == [pytest.approx(np.mean(values))]
        table = pq.read_table(next(results.folder.glob(f"trials/{trial.trial}/*/queries.parquet")))
        classes = [int(name) // 6 for name in table.column("id").to_pylist()]
        assert [set(classes[start : start + 12]) for start in range(0, 48, 12)] == folds
        expected = [label / 20 + dim / 200 for label in classes]
        assert table.column("map_at_r").to_pylist() == pytest.approx(expected)


def test_each_finalist_is_trained_on_each_fold_with_each_seed(run: Run) -> None:
    results = run(("confirm: null", "confirm: {top: 2, seeds: 2}"))
    folds, outcome = folds_of(results), read_outcome(results.folder)
    assert (outcome.kind, outcome.pending, len(outcome.repeats)) == ("confirmed winner", 0, 2 * FOLDS)
    assert [repeat.fold for repeat in outcome.repeats] == [0, 1, 2, 3] * 2
    assert len({repeat.seed for repeat in outcome.repeats}) == 2
    assert outcome.chosen.fold == 0
    assert [repeat.test["map_at_r"] for repeat in outcome.repeats] == [
        0.4 if 0 in fold else 0.5 for fold in folds
    ] * 2
    shown = read_status(results.folder.parent.parent / "study.yaml")
    assert (shown.confirmed, shown.to_confirm) == (4 * FOLDS, 4 * FOLDS)
    finalist = load_study_results(results.folder).finalists[0]
    assert finalist.trainings == "2 seeds on each of 4 folds"
    interval = finalist.interval
    assert interval is not None
    assert interval.over == "queries and folds"
    one_fold_misses = 0 in set.union(*folds)
    assert interval.value == pytest.approx(0.475 if one_fold_misses else 0.5)


def test_a_study_goes_on_where_its_fold_stopped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OfClasses, "die_at", 7)  # the third fold of the second trial
    with pytest.raises(Killed):
        run()
    monkeypatch.setattr(OfClasses, "die_at", 0)
    results = run()
    folds, others = folds_of(results), set.union(*folds_of(results))
    assert [each[2] for each in OfClasses.trained] == [*folds, *folds[:3], *folds[2:], *folds, *folds]
    assert all(train == others - valid for _, train, valid in OfClasses.trained)
    for file in results.folder.glob("trials/*/*/queries.parquet"):
        assert len(pq.read_table(file)) == 48


def test_scores_of_a_fold_that_were_written_before_a_kill_are_not_kept_twice(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Checkpoint.next_repeat
    count = 0

    def dying(self: Checkpoint, *arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise Killed
        written(self, *arguments)

    monkeypatch.setattr(Checkpoint, "next_repeat", dying)
    with pytest.raises(Killed):
        run()
    results = run()
    for file in results.folder.glob("trials/*/*/queries.parquet"):
        ids = pq.read_table(file).column("id").to_pylist()
        assert len(ids) == len(set(ids)) == 48


def test_a_finalist_without_a_fold_comes_last_and_the_first_fold_is_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The best trial of the search loses its first fold when it is trained again.
    monkeypatch.setattr(OfClasses, "fail_at", 4 * FOLDS + 1)
    results = run(("confirm: null", "confirm: {top: 2, seeds: 1}"))
    outcome = read_outcome(results.folder)
    best = max(trial.configuration["embedding_dim"] for trial in results.trials)
    assert outcome.configuration["embedding_dim"] != best
    assert [repeat.fold for repeat in outcome.repeats] == [0, 1, 2, 3]
    stored = load_study_results(results.folder)
    complete, lacking = stored.finalists
    assert lacking.factors["embedding_dim"] == best
    assert (complete.trainings, lacking.trainings) == (
        "1 seed on each of 4 folds",
        "1 seed on each of 3 folds",
    )
    assert set(stored.report_data(complete)["fold"].tolist()) == folds_of(results)[0]
    assert stored.report_data(lacking) == {}


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_best_trial_is_compared_with_after_all_folds_of_a_seed(
    run: Run, tmp_path: Path, seeds: int
) -> None:
    items = np.repeat(np.arange(14), 6)
    np.savez(tmp_path / "items.npz", x=np.random.default_rng(0).normal(size=(84, 5)), y=items)
    results = run(
        ("test: 0.2, folds: 4", "test: [10, 11, 12, 13], folds: 2"),
        ("{low: 2, high: 90}", "[2, 200]"),
        ("budget: {trials: 4}", f"budget: {{trials: 2}}\nseeds: {seeds}\nenqueue: [{{embedding_dim: 200}}]"),
    )
    best, other = results.trials
    assert (len(best.repeats), best.outcome) == (2 * seeds, "complete")
    assert (len(other.repeats), other.outcome) == (2, "complete" if seeds == 1 else "pruned")


def test_folds_are_of_the_study_and_do_not_change_on_resuming(run: Run) -> None:
    run()
    with pytest.raises(StudyError, match=r"data\.split\.folds"):
        run(("folds: 4", "folds: 3"))
