"""How a study counts, resumes and keeps: the engine, with a formula for training and no Keras."""

from __future__ import annotations

import json
import math
import re
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from training_stand_in import STUDY, Killed, Training, die_at, run, training  # noqa: F401

from siamkit.errors import StudyError
from siamkit.runs.run_folder import RunFolder
from siamkit.study.execution.scheduler import Scheduler, WorkClock
from siamkit.study.execution.trial import ActiveTrials
from siamkit.study.results.results import Results, answer
from siamkit.study.worker.messages import Cause
from siamkit.study.worker.trainer import TrialFailure


def attempts(results: Results) -> list[Path]:
    return sorted(results.folder.glob("trials/*/*"))


# ---------------------------------------------------------------- the run folder


def test_results_say_which_epoch_was_kept(run: Callable[..., Results], training: Training) -> None:
    training.value = lambda dim, epoch: {1: 0.3, 2: 0.5, 3: 0.4}[epoch] + dim / 1000
    results = run(("confirm: null", "seeds: 2\nconfirm: {top: 1, seeds: 2}\npruner: none"))
    for place in attempts(results):
        result = json.loads((place / "result.json").read_text())
        assert result["best_epochs"] == [2, 2]
        assert result["values"] == [pytest.approx(0.5 + result["configuration"]["embedding_dim"] / 1000)]
        history = pq.read_table(place / "history.parquet").to_pydict()
        assert history["is_best"] == [False, True, False] * 2
        assert history["map_at_r"][2] == pytest.approx(result["values"][0] - 0.1)  # pruners see each epoch
    repeats = [json.loads(file.read_text()) for file in results.folder.glob("confirm/*/*/result.json")]
    assert [repeat["best_epoch"] for repeat in repeats] == [2, 2]


def test_the_run_folder_holds_what_the_design_names(run: Callable[..., Results], training: Training) -> None:
    results = run(("confirm: null", "confirm: {top: 1, seeds: 2}"))
    folder = results.folder
    frozen = json.loads((folder / "study.json").read_text())
    assert (frozen["layout"], frozen["name"], frozen["study"]["seed"]) == (1, "tiny", 3)
    assert frozen["data"]["split"]["counts"] == {"train": 24, "valid": 12, "test": 12}
    assert frozen["study"]["data"]["source"] == "siamkit/npz"
    assert set(frozen["versions"]["packages"]) >= {"siamkit", "keras", "optuna", "numpy"}
    assert frozen["versions"]["plugins"] == {"siamkit": frozen["versions"]["packages"]["siamkit"]}
    items = pq.read_table(folder / "items.parquet").to_pydict()
    assert len(items["id"]) == 12
    assert len(attempts(results)) == 4
    for place in attempts(results):
        result = json.loads((place / "result.json").read_text())
        dim = result["configuration"]["embedding_dim"]
        assert result["outcome"] == "complete"
        assert result["token"] == place.name
        assert str(result["trial"]) == place.parent.name
        assert result["figures"]["map_at_r"] == pytest.approx(dim / 100)
        assert result["factors"]["embedding_dim"] == dim
        assert result["versions"] == frozen["versions"]
        assert (result["cause"], result["traceback"], result["attempt"]) == ("", "", 1)
        assert result["literal"] == {"loss": {"margin": 0.2}}
        history = pq.read_table(place / "history.parquet").to_pydict()
        assert history["epoch"] == [1, 2, 3]
        assert history["map_at_r"] == [dim / 100] * 3
        assert pq.read_table(place / "queries.parquet").to_pydict()["id"] == items["id"]
        assert (place / "checkpoint.keras").read_text().startswith(f"{dim} ")
    best = max(
        attempts(results),
        key=lambda place: json.loads((place / "result.json").read_text())["figures"]["map_at_r"],
    )
    assert np.load(best / "embeddings.npy").shape[0] == 12
    events = [json.loads(line)["event"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert events == [
        "started",
        *["trial started", "trial ended"] * 4,
        *["final started", "confirmed"] * 2,
        "stopped",
    ]
    assert (folder / "report.html").stat().st_size > 1_000_000  # Plotly inside
    assert (folder / "best.keras").is_file()
    assert not [each for each in folder.rglob(".*") if each.name != ".lock"]


def test_the_best_is_the_highest_and_its_model_is_published(
    run: Callable[..., Results], training: Training
) -> None:
    results = run()
    assert results.factors["embedding_dim"] == max(training.dims)
    assert results.measures["valid"]["map_at_r"] == pytest.approx(max(training.dims) / 100)
    assert results.model_path.read_text().startswith(f"{max(training.dims)} ")
    assert "test" not in results.measures


def test_lower_is_better_where_the_objective_says_so(run: Callable[..., Results], training: Training) -> None:
    results = run(("confirm: null", "confirm: null\nobjectives: {parameters: minimize}"))
    assert results.factors["embedding_dim"] == min(training.dims)


# ---------------------------------------------------------------- going on


def test_run_again_nothing_is_trained_again(run: Callable[..., Results], training: Training) -> None:
    first = run(("confirm: null", "confirm: {top: 2, seeds: 2}"))
    asked = len(training.dims)
    again = run()
    assert len(training.dims) == asked
    assert (again.winner, again.measures, again.trials) == (first.winner, first.measures, first.trials)


def test_a_larger_budget_goes_on(run: Callable[..., Results], training: Training) -> None:
    run()
    first = list(training.dims)
    results = run(("trials: 4", "trials: 7"))
    assert len(results.trials) == 7
    assert training.dims[:4] == first
    assert len(set(training.dims)) == 7


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("high: 90", "high: 80", "study.search.embedding_dim.high"),
        ("seed: 3", "seed: 4", "study.seed"),
        ("epochs: 3", "epochs: 4", "study.fixed.epochs"),
        ("name: tiny", "name: other\nartifacts: runs/tiny", "study.name"),
        ("train: 0.5", "train: 0.4", "study.data.split.train"),
        ("confirm: null", "confirm: null\nobjectives: {eer: minimize}", "study.objectives"),
    ],
)
def test_another_study_in_the_same_folder_is_refused_in_one_sentence(
    run: Callable[..., Results], training: Training, old: str, new: str, named: str
) -> None:
    folder = run().folder
    before = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    with pytest.raises(StudyError) as caught:
        run((old, new))
    assert re.fullmatch(
        r"the study in '.*' was started with another (\S+) .*; restore that, or give the study another "
        "artifacts folder",
        str(caught.value),
    )
    assert f"another {named}" in str(caught.value)
    assert len(training.dims) == 4
    assert {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()} == before


def test_other_data_are_refused(run: Callable[..., Results], tmp_path: Path) -> None:
    run()
    np.savez(tmp_path / "items.npz", x=np.ones((48, 5), "float32"), y=np.repeat(np.arange(4), 12))
    with pytest.raises(StudyError, match=r"started with other data than these; restore that"):
        run()


def test_other_versions_and_another_backend_are_refused(
    run: Callable[..., Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    from siamkit.runs.results import versions
    from siamkit.study.execution import session

    run()
    real = versions("jax", {})
    monkeypatch.setattr(
        session,
        "versions",
        lambda _, plugins: real.model_copy(update={"backend": "abacus", "plugins": plugins}),
    )
    with pytest.raises(
        StudyError, match=r"started with the backend '(\w+)', not 'abacus'; to continue it, use --backend \1"
    ):
        run()


def test_a_lost_or_damaged_storage_is_a_sentence(run: Callable[..., Results]) -> None:
    folder = run().folder
    database = folder / "study.db"
    kept = database.read_bytes()
    database.unlink()
    with pytest.raises(
        StudyError, match=r"the file 'study\.db' is missing from the run folder '.*'; restore it"
    ):
        run()
    assert not database.exists()
    database.write_bytes(b"SQLite format 3\0 and then nothing")
    with pytest.raises(StudyError, match=r"the storage '.*study\.db' cannot be opened"):
        run()
    database.write_bytes(kept)
    assert len(run().trials) == 4


def test_two_at_once_the_second_gets_a_sentence(run: Callable[..., Results], training: Training) -> None:
    folder = run().folder
    with (
        RunFolder(folder).locked(),
        pytest.raises(StudyError, match=r"^another 'siamkit tune' is running this study in"),
    ):
        run()


def test_a_run_folder_that_cannot_be_made_is_a_sentence(run: Callable[..., Results], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StudyError, match=r"the run folder '.*taken' cannot be written"):
        run(("confirm: null", "confirm: null\nartifacts: taken"))


# ---------------------------------------------------------------- failures and counting


def test_failures_count_and_keep_their_cause_and_are_never_the_best(
    run: Callable[..., Results], training: Training
) -> None:
    def before(dim: int, count: int) -> None:
        if count == 2:
            raise TrialFailure("nan", "the loss of epoch 1 is nan")
        if count == 3:
            raise RuntimeError("first line\nsecond line")

    training.before = before
    results = run()
    by_number = {each.trial: each for each in results.trials}
    assert [by_number[n].outcome for n in range(4)] == ["complete", "failed", "failed", "complete"]
    assert by_number[1].cause == "the loss of epoch 1 is nan"
    assert by_number[1].traceback == ""
    assert by_number[2].cause == "RuntimeError: first line"
    assert "in before" in by_number[2].traceback
    assert by_number[1].measures == {}
    assert (
        results.winner
        == max((by_number[0], by_number[3]), key=lambda r: r.measures["map_at_r"]).configuration
    )
    assert run().winner == results.winner
    assert len(training.dims) == 4


def test_an_objective_that_is_no_number_fails_the_trial(
    run: Callable[..., Results], training: Training
) -> None:
    training.value = lambda dim, epoch: float("nan") if dim > 40 else dim / 100
    results = run(("trials: 4", "trials: 8"))
    assert len(results.trials) == 8
    for each in results.trials:
        assert (each.outcome == "failed") == (each.configuration["embedding_dim"] > 40)
    assert results.factors["embedding_dim"] == max(dim for dim in training.dims if dim <= 40)


def test_when_all_fail_there_is_no_winner_and_the_study_ends(
    run: Callable[..., Results], training: Training
) -> None:
    def before(dim: int, count: int) -> None:
        raise ValueError("no good")

    training.before = before
    results = run(("confirm: null", "confirm: {top: 1, seeds: 1}"))
    assert results.winner is None
    assert [each.cause for each in results.trials] == ["ValueError: no good"] * 4
    assert not results.model_path.exists()
    assert "No trial has completed" in results.report_path.read_text()


def test_a_finite_space_is_searched_whole_and_ends(run: Callable[..., Results], training: Training) -> None:
    results = run(("{low: 2, high: 90}", "[4, 8, 12]"), ("trials: 4", "trials: 10"))
    assert sorted(training.dims) == [4, 8, 12]
    assert len(results.trials) == 3
    run()
    assert len(training.dims) == 3


def test_a_budget_as_large_as_the_space_reaches_every_configuration(
    run: Callable[..., Results], training: Training
) -> None:
    # TPE loves the best and would draw it for ever.
    dims = list(range(2, 32))
    run(("{low: 2, high: 90}", str(dims)), ("trials: 4", "trials: 30"))
    assert sorted(training.dims) == dims


@pytest.mark.filterwarnings("ignore:Argument ``(group|multivariate)`` is an experimental feature")
def test_after_a_draw_that_was_there_already_chance_draws(run: Callable[..., Results]) -> None:
    from siamkit.study.config.load import load_study
    from siamkit.study.sampling.samplers import make_sampler

    study = load_study(run().folder.parents[1] / "study.yaml")
    assert type(make_sampler(study, 0)).__name__ == "WindowedTPESampler"
    assert type(make_sampler(study, 0, repeated=True)).__name__ == "RandomSampler"


def test_a_file_that_cannot_be_written_whole_is_not_there_at_all(tmp_path: Path) -> None:
    from siamkit.io.files import write_atomic

    def half(aside: Path) -> None:
        aside.write_text("half")
        raise OSError("the disk is full")

    (tmp_path / "kept.json").write_text("before")
    with pytest.raises(StudyError, match=r"kept\.json' cannot be written"):
        write_atomic(tmp_path / "kept.json", half)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("kept.json", "before")]


def test_pruned_trials_count(run: Callable[..., Results], training: Training) -> None:
    # The sixth is worse than the median of the five before it, from the first epoch on.
    training.value = lambda dim, epoch: 0.01 if len(training.dims) == 6 else 0.5 + dim / 1000
    results = run(("trials: 4", "trials: 7"), ("confirm: null", "confirm: null\npruner: median"))
    outcomes = [each.outcome for each in sorted(results.trials, key=lambda each: each.trial)]
    assert outcomes[:6] == ["complete"] * 5 + ["pruned"]
    assert len(outcomes) == len(training.dims) == 7
    history = pq.read_table(
        results.folder
        / next(each.folder for each in results.trials if each.outcome == "pruned")
        / "history.parquet"
    )
    assert history.column("epoch").to_pylist() == [1]  # a quarter of 3 epochs is 1
    run()
    assert len(training.dims) == 7


def test_with_several_objectives_nothing_is_pruned_and_all_are_kept(
    run: Callable[..., Results], training: Training
) -> None:
    training.value = lambda dim, epoch: 0.01 if len(training.dims) > 5 else 0.5
    results = run(
        ("trials: 4", "trials: 8"),
        (
            "confirm: null",
            "confirm: {top: 1, seeds: 1}\npruner: median\n"
            "objectives: {map_at_r: maximize, parameters: minimize}",
        ),
    )
    assert [each.outcome for each in results.trials] == ["complete"] * 8
    assert set(results.measures["valid"]) >= {"map_at_r", "parameters"}
    assert list(results.objectives) == ["map_at_r", "parameters"]


def test_seeds_are_repeats_inside_one_trial(run: Callable[..., Results], training: Training) -> None:
    training.value = lambda dim, epoch: dim / 100 + (0.01 if len(training.dims) % 2 else 0.03)
    results = run(("confirm: null", "confirm: null\nseeds: 2"))
    assert len(results.trials) == 4
    assert len(training.dims) == 8
    assert len(set(training.seeds)) == 8
    # What is worse about the data is the same for all configurations, and other in each repeat.
    assert training.data_seeds == training.data_seeds[:2] * 4
    assert len(set(training.data_seeds)) == 2
    for each in results.trials:
        assert each.measures["map_at_r"] == pytest.approx(each.configuration["embedding_dim"] / 100 + 0.02)
        assert len(each.repeats) == 2


def test_the_same_seed_draws_the_same_study(
    run: Callable[..., Results], training: Training, tmp_path: Path
) -> None:
    run()
    run(("confirm: null", "confirm: null\nartifacts: again"))
    assert training.dims[:4] == training.dims[4:]
    assert training.seeds[:4] == training.seeds[4:]
    run(("seed: 3", "seed: 5"), ("artifacts: again", "artifacts: other"))
    assert training.dims[8:] != training.dims[:4]


# ---------------------------------------------------------------- what is tried first, or instead


def test_defaults_come_first_then_what_the_file_names(
    run: Callable[..., Results], training: Training
) -> None:
    results = run(
        ("trials: 4", "trials: 6"),
        ("confirm: null", "confirm: null\nenqueue: [defaults, {embedding_dim: 7}, {embedding_dim: 81}]"),
    )
    assert training.dims[:3] == [64, 7, 81]  # 64 is the schema's default
    assert len(set(training.dims)) == len(results.trials) == 6
    run(("trials: 6", "trials: 7"))
    assert len(training.dims) == 7  # what was tried is not queued again


def test_no_more_is_queued_than_the_budget_holds(run: Callable[..., Results], training: Training) -> None:
    entries = ", ".join(f"{{embedding_dim: {dim}}}" for dim in range(10, 20))
    results = run(("confirm: null", f"confirm: null\nenqueue: [{entries}]"))
    assert training.dims == [10, 11, 12, 13]
    import optuna

    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{results.folder}/study.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 4
    run(("trials: 4", "trials: 6"))
    assert training.dims[4:] == [14, 15]


def test_a_grid_is_tried_in_order_and_is_all(run: Callable[..., Results], training: Training) -> None:
    run(
        ("{low: 2, high: 90}", "[30, 10, 20]"),
        ("trials: 4", "trials: 9"),
        ("confirm: null", "confirm: null\nsampler: grid"),
    )
    assert training.dims == [30, 10, 20]


def test_a_factorial_design_tries_its_levels_and_is_all(
    run: Callable[..., Results], training: Training
) -> None:
    run(("trials: 4", "trials: 9"), ("confirm: null", "confirm: null\ndesign: factorial"))
    assert sorted(training.dims) == [2, 46, 90]


def test_a_study_learns_from_an_earlier_one(
    run: Callable[..., Results], training: Training, tmp_path: Path
) -> None:
    import optuna

    run()
    known = list(training.dims)
    results = run(
        ("confirm: null", "confirm: null\nartifacts: again\nwarm_start: runs/tiny\nenqueue: []"),
    )
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{results.folder}/study.db")
    earlier = [trial for trial in study.trials if trial.user_attrs.get("outcome") == "earlier"]
    assert [trial.params["embedding_dim"] for trial in earlier] == known
    assert [trial.values[0] for trial in earlier] == [dim / 100 for dim in known]
    assert len(results.trials) == 4  # the earlier ones use up no budget
    run()
    assert len(study.trials) == 8  # and are added once


def test_embeddings_that_have_died_end_their_trial(run: Callable[..., Results], training: Training) -> None:
    training.more = lambda dim: {"spread": 1e-4 if dim == 64 else 0.5, "effective_rank": 2.0, "roc_auc": 0.5}
    results = run(
        ("confirm: null", "confirm: null\nobjectives: {map_at_r: maximize, parameters: minimize}"),
    )
    dead = next(each for each in results.trials if each.configuration["embedding_dim"] == 64)
    assert (dead.outcome, dead.cause) == (
        "pruned",
        "collapsed: all embeddings are one point (spread 0.0001) after epoch 2",
    )
    assert [each.outcome for each in results.trials].count("complete") == 3
    assert run(("confirm: null", "confirm: null\npruner: none\nartifacts: again")).trials[0].cause == ""


def test_later_seeds_of_what_is_far_behind_are_dropped(
    run: Callable[..., Results], training: Training, tmp_path: Path
) -> None:
    # 20 classes, so that the rule has something to go by; 64, tried first, is the best by far.
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "items.npz", x=rng.normal(size=(160, 5)).astype("float32"), y=np.repeat(np.arange(20), 8)
    )
    training.value = lambda dim, epoch: 0.9 if dim == 64 else 0.2 + dim / 1e4
    training.scores = lambda dim, n: np.full(n, training.value(dim, 0)) + 0.01 * np.cos(np.arange(n))
    results = run(("confirm: null", "confirm: null\nseeds: 3"))
    outcomes = {each.configuration["embedding_dim"]: each for each in results.trials}
    assert outcomes.pop(64).outcome == "complete"
    assert len(training.dims) == 3 + 3  # one seed of each other
    for each in outcomes.values():
        assert each.outcome == "pruned"
        assert each.cause.startswith("stopped for futility: 0.69")
    assert len(run().trials) == 4


@pytest.fixture
def easy(tmp_path: Path, run: Callable[..., Results], training: Training) -> Callable[..., Results]:
    """Run the study, with the baseline `raw`, on 20 classes that raw values separate perfectly."""
    training.value = lambda dim, epoch: {64: 0.9, 32: (0.1, 0.6, 0.7)[epoch - 1]}.get(dim, 0.2 + dim / 1e4)
    training.scores = lambda dim, n: training.value(dim, 2) + 0.01 * np.cos(np.arange(n))

    def run_easy(*changes: tuple[str, str]) -> Results:
        classes = np.repeat(np.arange(20), 8)
        noise = np.random.default_rng(0).normal(size=(160, 20))
        np.savez(tmp_path / "items.npz", x=(np.eye(20)[classes] * 20 + noise).astype("float32"), y=classes)
        return run(("baselines: null", "baselines: [raw]"), *changes)

    return run_easy


def test_what_is_far_below_the_best_baseline_ends_early(
    easy: Callable[..., Results], training: Training
) -> None:
    results = easy(
        ("{low: 2, high: 90}", "[10, 20, 30, 32]"),
        ("confirm: null", "confirm: null\nenqueue: [{embedding_dim: 10}]"),
    )
    assert results.baseline is not None
    assert (results.baseline.name, results.baseline.valid["map_at_r"]) == ("raw", 1.0)
    first, *others = results.trials
    # Nothing is compared before a trial is complete, so that there is a winner.
    assert first.outcome == "complete"
    assert answer(results).startswith("The winner is not better than the best baseline (raw")
    for trial in others:
        if trial.configuration["embedding_dim"] == 32:  # 0.6 after a gain of 0.5 is not hopeless
            assert trial.outcome == "complete"
            continue
        assert (trial.outcome, trial.cause_kind) == ("pruned", "futility")
        assert re.fullmatch(
            r"stopped for futility: 0\.79\d below the best baseline on the same 40 queries after 2 of 3 "
            r"epochs, even if the rest gains as much again \(0\); up to 0.0\d+ could be chance",
            trial.cause,
        )
        history = pq.read_table(results.folder / trial.folder / "history.parquet")
        assert history.column("epoch").to_pylist() == [1, 2]


@pytest.mark.parametrize(
    "changes",
    [
        [("baselines: [raw]", "baselines: null")],
        [("confirm: null", "confirm: null\npruner: none")],
        [("confirm: null", "confirm: null\ndesign: factorial"), ("{low: 2, high: 90}", "[10, 20, 30, 40]")],
        [("confirm: null", "confirm: null\nobjectives: {map_at_r: maximize, parameters: minimize}")],
        [("epochs: 3", "epochs: 1")],  # after the last epoch nothing is left to save
    ],
)
def test_who_asks_for_no_comparison_has_no_trial_stopped_by_a_baseline(
    easy: Callable[..., Results], changes: list[tuple[str, str]]
) -> None:
    assert {trial.outcome for trial in easy(*changes).trials} == {"complete"}


def test_the_front_of_several_objectives(run: Callable[..., Results], training: Training) -> None:
    training.value = lambda dim, epoch: min(dim, 50) / 100
    results = run(
        ("{low: 2, high: 90}", "[10, 50, 60, 30]"),
        ("confirm: null", "confirm: null\nobjectives: {map_at_r: maximize, parameters: minimize}"),
    )
    # 60 is as good as 50, and larger.
    assert [each.configuration["embedding_dim"] for each in results.front] == [50, 30, 10]


# ---------------------------------------------------------------- deaths and Ctrl-C


def test_a_killed_trial_is_tried_again_and_the_budget_is_exact(
    run: Callable[..., Results], training: Training
) -> None:
    training.before = die_at(2)
    with pytest.raises(Killed):
        run()
    results = run()
    assert training.dims[2] == training.dims[1]  # the dead one first
    assert training.seeds[2] == training.seeds[1]
    assert len(results.trials) == 4
    assert sorted(each.attempt for each in results.trials) == [1, 1, 1, 2]
    assert len(training.dims) == 5


def test_a_trial_that_kills_its_process_is_given_up_after_three_retries(
    run: Callable[..., Results], training: Training
) -> None:
    victim: list[int] = []

    def before(dim: int, count: int) -> None:
        victim.append(dim)
        if dim == victim[0]:
            raise Killed

    training.before = before
    for _ in range(4):
        with pytest.raises(Killed):
            run()
    results = run()
    assert training.dims.count(victim[0]) == 4
    assert len(results.trials) == 4
    assert victim[0] not in [each.configuration["embedding_dim"] for each in results.trials]


def test_a_trial_that_somebody_else_has_ended_is_let_go(
    run: Callable[..., Results], training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def during(dim: int, epoch: int) -> None:
        if len(training.dims) == 2 and epoch == 2:
            # As another supervisor does that takes this one for dead, and dies before it queues it again.
            with sqlite3.connect(tmp_path / "runs" / "tiny" / "study.db") as database:
                database.execute("UPDATE trials SET state = 'FAIL' WHERE number = 1")

    began = time.monotonic()
    tick = Scheduler.tick

    def guarded(self: Scheduler) -> None:
        assert time.monotonic() - began < 60, "it waits for what it lost"
        tick(self)

    monkeypatch.setattr(Scheduler, "tick", guarded)
    training.during = during
    results = run(("trials: 4", "trials: 4"), ("confirm: null", "confirm: null\nlease: 1s"))
    assert len(results.trials) == 4
    assert len(training.dims) == 5
    assert not [place for place in attempts(results) if place.parent.name == "1"]


def test_death_between_result_and_storage_loses_nothing(
    run: Callable[..., Results], training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siamkit.study.execution.trial import TrialHandle

    write = TrialHandle._write

    def dying(self: TrialHandle, *args: Any) -> None:
        write(self, *args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(TrialHandle, "_write", dying)
        with pytest.raises(Killed):
            run()
    results = run()
    assert len(training.dims) == 4
    assert len(results.trials) == 4
    assert results.factors["embedding_dim"] == max(training.dims)


def test_death_before_the_result_is_there_trains_no_epoch_again(
    run: Callable[..., Results], training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siamkit.study.execution import trial

    def dying(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(trial, "write_record", dying)
        with pytest.raises(Killed):
            run()
    results = run()
    assert len(training.dims) == len(set(training.dims)) == 4  # the second attempt found all done
    assert sorted(each.attempt for each in results.trials) == [1, 1, 1, 2]


def test_what_a_dead_attempt_left_behind_disturbs_nothing(
    run: Callable[..., Results], training: Training, tmp_path: Path
) -> None:
    training.before = die_at(2)
    with pytest.raises(Killed):
        run()
    dead = tmp_path / "runs" / "tiny" / "trials" / "1" / "dead"
    dead.mkdir(parents=True, exist_ok=True)
    (dead / "checkpoint.keras").write_text("half")
    (dead / ".0a1b2c3d.keras").write_text("half")
    assert len(run().trials) == 4


def test_ctrl_c_leaves_a_report_and_the_same_command_goes_on(
    run: Callable[..., Results], training: Training
) -> None:
    def before(dim: int, count: int) -> None:
        if count == 3:
            raise KeyboardInterrupt

    training.before = before
    results = run(("confirm: null", "confirm: {top: 1, seeds: 1}"))
    assert results.interrupted
    assert len(results.trials) == 2
    assert results.report_path.is_file()
    assert results.model_path.is_file()
    done = run()
    assert not done.interrupted
    assert training.dims[3] == training.dims[2]
    assert len(done.trials) == 4
    assert {each.attempt for each in done.trials} == {1}  # no death
    assert "test" in done.measures


def test_a_second_ctrl_c_stops_at_once(
    run: Callable[..., Results], training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siamkit.study.execution import run as run_module

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    training.before = lambda dim, count: interrupt() if count == 2 else None
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_report", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert len(run().trials) == 4


# ---------------------------------------------------------------- time


def test_the_time_budget_ends_the_search(
    run: Callable[..., Results], training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkClock, "seconds", lambda self: 0.3 * len(training.dims))
    results = run(("trials: 4", "trials: 50, time: 0.5s"))
    assert len(results.trials) == 2


def test_the_time_spent_adds_up_over_runs(run: Callable[..., Results], training: Training) -> None:
    import optuna

    folder = run().folder
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder}/study.db")
    study.set_user_attr("worked", 3600.0)
    assert len(run(("trials: 4", "trials: 50, time: 1h")).trials) == 4
    assert len(run(("time: 1h", "time: 2h"), ("trials: 50", "trials: 5")).trials) == 5
    assert 3600 < study.user_attrs["worked"] < 3700


def test_the_night_after_a_death_is_not_on_the_clock(
    run: Callable[..., Results], training: Training, tmp_path: Path
) -> None:
    training.before = die_at(1)
    with pytest.raises(Killed):
        run(("trials: 4", "trials: 4, time: 1h"))
    with sqlite3.connect(tmp_path / "runs" / "tiny" / "study.db") as database:
        database.execute("UPDATE trials SET datetime_start = '2020-01-01 00:00:00.000000'")
    assert len(run().trials) == 4


# ---------------------------------------------------------------- confirmation


def test_the_test_part_is_scored_in_confirmation_and_nowhere_else(
    run: Callable[..., Results], training: Training
) -> None:
    results = run(("confirm: null", "confirm: {top: 2, seeds: 3}"))
    assert len(training.scored) == 6
    assert all("test" not in trial.model_dump_json(exclude={"versions"}) for trial in results.trials)
    stored = [json.loads(path.read_text()) for path in results.folder.glob("confirm/*/*/result.json")]
    assert len(stored) == 6
    assert {each["configuration"]["embedding_dim"] for each in stored} == set(sorted(training.dims[:4])[-2:])
    assert (
        len({each["seed"] for each in stored} | set(training.seeds[:4])) == 10
    )  # afresh: other seeds than the search's
    assert results.measures["test"]["map_at_r"] == pytest.approx(0.4)


def test_confirmation_goes_on_where_it_was_killed(run: Callable[..., Results], training: Training) -> None:
    training.before = die_at(6)
    with pytest.raises(Killed):
        run(("confirm: null", "confirm: {top: 2, seeds: 2}"))
    run()
    assert len(training.dims) == 4 + 4 + 1


def test_a_finalist_that_fails_is_no_winner(run: Callable[..., Results], training: Training) -> None:
    def before(dim: int, count: int) -> None:
        if count > 4 and dim == max(training.dims[:4]):
            raise ValueError("not again")

    training.before = before
    results = run(("confirm: null", "confirm: {top: 2, seeds: 1}"))
    assert results.factors["embedding_dim"] == sorted(training.dims[:4])[-2]
    failed = [json.loads(path.read_text()) for path in results.folder.glob("confirm/*/*/result.json")]
    assert sorted(each["cause"] for each in failed) == ["", "ValueError: not again"]


def test_a_test_figure_that_is_no_number_ends_nothing(
    run: Callable[..., Results], training: Training
) -> None:
    training.test_measures["map_at_r"] = math.nan
    results = run(("confirm: null", "confirm: {top: 1, seeds: 2}"))
    assert math.isnan(results.measures["test"]["map_at_r"])
    assert results.measures["valid"]["map_at_r"] == pytest.approx(max(training.dims[:4]) / 100)
    assert results.report_path.is_file()


def test_a_finalist_whose_objective_is_no_number_fails(
    run: Callable[..., Results], training: Training
) -> None:
    best: list[int] = []

    def value(dim: int, epoch: int) -> float:
        if len(training.dims) > 4 and dim == max(training.dims[:4]):
            best.append(dim)
            return math.nan
        return dim / 100

    training.value = value
    results = run(("confirm: null", "confirm: {top: 2, seeds: 1}"))
    assert best
    assert results.factors["embedding_dim"] == sorted(training.dims[:4])[-2]


def test_a_best_model_that_is_gone_is_told_and_one_that_was_published_is_kept(
    run: Callable[..., Results], training: Training
) -> None:
    folder = run().folder
    for file in folder.glob("trials/*/*/checkpoint.keras"):
        file.unlink()
    assert run().model_path.is_file()
    (folder / "best.keras").unlink()
    with pytest.raises(StudyError, match=r"^the model of the best trial, '.*checkpoint\.keras', is missing"):
        run()


def test_the_model_the_results_and_the_report_agree_on_the_best_when_the_budget_grows(
    run: Callable[..., Results], training: Training
) -> None:
    from siamkit.report.load import load_study_results

    # In the search the larger is the better; trained afresh it is the smaller.
    training.value = lambda dim, epoch: dim / 100 if training.searching else 1 - dim / 100  # type: ignore[attr-defined]
    searched: list[int] = []

    def before(dim: int, count: int) -> None:
        training.searching = dim not in searched  # type: ignore[attr-defined]
        searched.append(dim)

    training.before = before
    first = run(("confirm: null", "confirm: {top: 1, seeds: 1}"))
    second = run(("trials: 4", "trials: 12"))
    assert len(list(second.folder.glob("confirm/*"))) == 2  # another one leads the search now
    assert second.factors["embedding_dim"] == first.factors["embedding_dim"]
    best = load_study_results(second.folder).finalists[0]
    assert best.factors["embedding_dim"] == second.factors["embedding_dim"]
    assert second.model_path.read_text().startswith(f"{second.factors['embedding_dim']} ")


def test_all_this_ran_without_keras(run: Callable[..., Results], training: Training) -> None:
    run()
    assert "keras" not in sys.modules


def test_when_trials_only_die_the_study_stops_with_a_sentence() -> None:
    active, cause = ActiveTrials(), Cause("killed", "its process ended by SIGKILL")
    for _ in range(19):
        active.record_crash(cause)
    with pytest.raises(StudyError, match=r"^20 consecutive trials crashed \(last: its process ended by SIG"):
        active.record_crash(cause)
