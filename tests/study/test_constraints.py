"""Constraints: samplers keep them, no result that breaks one wins, and all say who broke which."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from click.testing import CliRunner
from run_folders import Folder, frozen
from sampling_study import NUMBERS, make
from status_study import configuration
from training_stand_in import Training, run, training  # noqa: F401  # fixtures

from siamkit.cli import main
from siamkit.errors import DataError, StudyError, StudyFileError
from siamkit.evaluation.measures import Constraint, broken, excesses, total_excess
from siamkit.runs import Objective, TrialResult, leaderboard, read_outcome
from siamkit.study.config.load import ResolvedStudy, load_study
from siamkit.study.results.results import Results, answer, summary
from siamkit.study.sampling._optuna_tpe import TrialWindow
from siamkit.study.sampling._stateless import inherit
from siamkit.study.sampling.plan import check_plan
from siamkit.study.sampling.pruners import PercentilePruner
from siamkit.study.sampling.samplers import check_sampler, make_sampler

pytestmark = pytest.mark.filterwarnings("ignore:.*is experimental")

Run = Callable[..., Results]
optuna.logging.set_verbosity(optuna.logging.ERROR)


# ---------------------------------------------------------------- one constraint


@pytest.mark.parametrize(
    ("text", "value", "excess"),
    [
        ("<= 64", 64, 0.0),
        ("<= 64", 96, 0.5),  # 32 of 64 too much
        ("<=64", 32, -0.5),
        (">= 0.8", 0.6, 0.25),  # 0.2 of 0.8 too little
        (" >=  .8 ", 1.0, -0.25),
        (">= -2", -3, 0.5),
        ("<= 0", 0.3, 0.3),  # no limit to be relative to
        ("<= 1e3", 500, -0.5),
    ],
)
def test_an_excess_is_relative_to_the_limit(text: str, value: float, excess: float) -> None:
    assert Constraint.parse("eer", text).excess(value) == pytest.approx(excess)


@pytest.mark.parametrize(
    "text",
    ["< 64", "64", "== 64", "<= nan", "<= inf", "<= 1e999", "<= 64 <= 2", "=< 3", "<=", 64, None, True],
)
def test_other_texts_are_no_constraint(text: object) -> None:
    with pytest.raises(DataError, match=r"should be <= or >= with a number, as a text such as '<= 64', got "):
        Constraint.parse("eer", text)


def test_a_result_is_feasible_if_it_keeps_all() -> None:
    limits = [Constraint.parse("parameters", "<= 100"), Constraint.parse("eer", "<= 0.1")]
    found = excesses(limits, {"parameters": 150, "eer": 0.1, "map_at_r": 1})
    assert found == {"parameters <= 100": 0.5, "eer <= 0.1": 0.0}
    assert broken(found) == ["parameters <= 100"]
    assert total_excess({"a <= 1": 0.5, "b <= 1": -3.0, "c <= 1": 0.25}) == 0.75


# ---------------------------------------------------------------- what a file may say

FILE = """\
version: 1
name: tiny
data: {source: digits, limit: {train: 200}}
search:
  encoder: {mlp: {depth: 1, width: 8}}
  metric: cosine
  loss: {triplet: {mining: all}}
  embedding_dim: {low: 8, high: 64}
constraints:
  ms_per_item: "<= 2"
"""


def load(folder: Path, *changes: tuple[str, str]) -> ResolvedStudy:
    text = FILE
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "study.yaml").write_text(text)
    return load_study(folder / "study.yaml", checks=[check_sampler, check_plan])


def refused(folder: Path, *changes: tuple[str, str]) -> str:
    with pytest.raises(StudyFileError) as caught:
        load(folder, *changes).load_data()
    assert len(caught.value.problems) == 1
    result = CliRunner().invoke(main, ["tune", str(folder / "study.yaml"), "--progress", "none"])
    assert result.exit_code == 2
    return str(caught.value.problems[0].partition("study.yaml:")[2])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("ms_per_item:", "ms_per_itm:"), "unknown measure 'ms_per_itm'; did you mean 'ms_per_item'"),
        (('"<= 2"', '"< 2"'), "should be <= or >= with a number, as a text such as '<= 64', got '< 2'"),
        (('"<= 2"', '"<= nan"'), "should be <= or >= with a number"),
        (('"<= 2"', "2"), "should be <= or >= with a number, as a text such as '<= 64', got 2"),
        (("ms_per_item:", "spearman:"), "cannot be computed on data with labels; choose from recall_at_1"),
        (('ms_per_item: "<= 2"', 'bytes_per_vector: "<= 31"'), "no embedding of this study keeps "),
    ],
)
def test_what_is_wrong_is_said_on_its_line(tmp_path: Path, change: tuple[str, str], sentence: str) -> None:
    told = refused(tmp_path, change)
    assert told.startswith("10: constraints.")
    assert sentence in told


def test_no_constraint_at_all_is_refused(tmp_path: Path) -> None:
    told = refused(tmp_path, ('constraints:\n  ms_per_item: "<= 2"\n', "constraints: {}\n"))
    assert told == "9: constraints: should be not empty, got {}"


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ("sampler: random", "sampler random"),
        ("sampler: qmc", "sampler qmc"),
        ("design: factorial", "design: factorial"),
    ],
)
def test_what_does_not_learn_is_refused(tmp_path: Path, more: str, name: str) -> None:
    assert refused(tmp_path, ("version: 1\n", f"version: 1\n{more}\n")) == (
        f"11: constraints.ms_per_item: {name} does not learn which configurations keep a constraint on "
        "ms_per_item; use sampler tpe, nsgaii or gp"
    )


def test_pruners_that_compare_with_all_are_refused(tmp_path: Path) -> None:
    for name in ("hyperband", "successive_halving"):
        told = refused(tmp_path, ("version: 1\n", f"version: 1\npruner: {name}\n"))
        assert told.startswith(f"2: pruner: pruner {name} also compares trials with those that break")


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe", "nsgaii"])
def test_sizes_that_cannot_keep_it_are_not_in_the_space(tmp_path: Path, sampler: str) -> None:
    def sizes(limit: str, searched: str = "{low: 8, high: 64}") -> Any:
        study = load(
            tmp_path,
            ("version: 1\n", f"version: 1\nsampler: {sampler}\n"),
            ('ms_per_item: "<= 2"', f'bytes_per_vector: "{limit}"'),
            ("{low: 8, high: 64}", searched),
        )
        return study.space.factors["embedding_dim"]

    assert (sizes("<= 64").low, sizes("<= 64").high) == (8, 16)
    assert (sizes("<= 67.9").low, sizes("<= 67.9").high) == (8, 16)
    assert (sizes(">= 65").low, sizes(">= 65").high) == (17, 64)
    assert sizes("<= 32").options == (8,)
    assert sizes("<= 64", "[4, 16, 32, 17]").options == (4, 16)
    assert sizes("<= 4000").high == 64


def test_a_fixed_size_that_breaks_it_is_refused(tmp_path: Path) -> None:
    told = refused(
        tmp_path,
        ("  embedding_dim: {low: 8, high: 64}\n", ""),
        ('ms_per_item: "<= 2"', 'bytes_per_vector: "<= 64"'),
    )
    assert told == (
        "9: constraints.bytes_per_vector: no embedding of this study keeps bytes_per_vector <= 64: "
        "embedding_dim is 64, with 4 bytes for each dimension. Change the limit, or embedding_dim under "
        "`fixed:` or `search:`"
    )


# ---------------------------------------------------------------- samplers


def quality(params: dict[str, Any]) -> float:
    """Best at 256 dimensions, which no constraint here allows."""
    return float(np.log2(params["embedding_dim"]) - abs(np.log10(params["learning_rate"] / 1e-3)))


def too_large(params: dict[str, Any]) -> dict[str, float]:
    """At most 24 dimensions, three of ten by chance, and a learning rate of 3e-4 or more."""
    return {
        "ms_per_item <= 24": params["embedding_dim"] / 24 - 1,
        "eer <= 0": float(np.log10(3e-4) - np.log10(params["learning_rate"])),
    }


def searched(sampler: str, trials: int, told: int = 2, objectives: int = 1) -> list[bool]:
    """Whether each trial kept the constraints; the first `told` of them are told to the sampler."""
    study = make(NUMBERS, sampler=sampler, budget={"trials": trials})
    storage = optuna.create_study(directions=["maximize", "minimize"][:objectives])
    for _ in range(trials):
        trial = storage.ask()
        storage.sampler = make_sampler(study, trial.number)
        study.space.sample(trial)
        for name, excess in [*too_large(trial.params).items()][:told]:
            trial.set_constraint(name, excess)
        values = [quality(trial.params), trial.params["learning_rate"]]
        storage.tell(trial, values[:objectives])
    return [max(too_large(trial.params).values()) <= 0 for trial in storage.get_trials()]


@pytest.mark.parametrize(("sampler", "trials"), [("tpe", 60), ("nsgaii", 200), ("gp", 14)])
@pytest.mark.parametrize("objectives", [1, 2])
def test_samplers_that_claim_it_propose_fewer_that_break(sampler: str, trials: int, objectives: int) -> None:
    if sampler == "gp":
        pytest.importorskip("torch")
        if objectives == 2:
            pytest.skip("a minute, in Optuna's own code")
    first = {"gp": 10}.get(sampler, trials // 2)  # gp draws ten at random
    told = 1 if sampler == "gp" else 2  # it models each of them, and takes its time
    kept = searched(sampler, trials, told, objectives)[first:]
    by_chance = searched("random", 200)
    assert np.mean(by_chance) < 0.3
    assert np.mean(kept) > np.mean(by_chance) + 0.25


@pytest.mark.parametrize(("sampler", "trials"), [("tpe", 60), ("nsgaii", 200)])
def test_without_being_told_they_break_them(sampler: str, trials: int) -> None:
    assert np.mean(searched(sampler, trials, told=0)[trials // 2 :]) < 0.2


def stored(*trials: tuple[float, float]) -> optuna.Study:
    """A study of complete trials, by value and excess."""
    storage = optuna.create_study(direction="maximize")
    for value, excess in trials:
        storage.add_trial(optuna.create_trial(value=value, constraints={"eer <= 1": excess}))
    return storage


def test_the_window_of_tpe_keeps_those_that_can_win() -> None:
    storage = stored((1, -1), (9, 3), (2, -1), (8, 1), (5, 2), (0, 0))
    seen = {each.number for each in TrialWindow(storage, best=2, latest=1)._get_trials()}
    assert seen == {0, 2, 5}
    # Too few keep it: those come that break it by the least.
    seen = {each.number for each in TrialWindow(storage, best=4, latest=1)._get_trials()}
    assert seen == {0, 2, 3, 5}


def test_parents_that_break_by_less_win_tournaments() -> None:
    trials = stored((9, 0.5), (1, -1), (5, 0.2)).get_trials()
    for trial in trials:
        trial.params = dict.fromkeys("abcd", trial.number)
    rng, counts = np.random.default_rng(0), [0, 0, 0]
    for _ in range(600):
        for origin in inherit(trials, list("abcd"), ["maximize"], rng).values():
            counts[int(str(origin))] += 1
    # Of nine pairs of three, the best wins five, the next three and the last one.
    assert np.array(counts) / sum(counts) == pytest.approx([1 / 9, 5 / 9, 3 / 9], abs=0.04)


def test_the_median_is_of_trials_that_keep_it() -> None:
    storage = optuna.create_study(direction="maximize", pruner=PercentilePruner(50.0, 2, 0))

    def ended(value: float, excess: float) -> None:
        trial = storage.ask()
        trial.report(value, 1)
        trial.set_constraint("eer <= 1", excess)
        storage.tell(trial, value)

    def pruned(value: float) -> bool:
        trial = storage.ask()
        trial.report(value, 1)
        return trial.should_prune()

    ended(0.9, 1)
    ended(0.8, 1)
    ended(0.3, 0)
    assert not pruned(0.1)  # only one to compare with
    ended(0.5, -1)
    assert not pruned(0.45)  # the median of 0.3 and 0.5 is 0.4; that of all would be 0.65
    assert pruned(0.35)


# ---------------------------------------------------------------- whole studies

SLOW = ("budget: {trials: 4}", 'budget: {trials: 9}\nconstraints: {ms_per_item: "<= 3"}')
CONFIRMED = ("confirm: null", "confirm: {top: 2, seeds: 2}")


@pytest.fixture
def timed(training: Training) -> Training:
    """Larger embeddings are better and slower: those up to 30 dimensions keep it."""
    training.more = lambda dim: {"ms_per_item": dim / 10}
    training.test_measures["ms_per_item"] = 0.1
    return training


def dim(trial: TrialResult) -> int:
    return int(str(trial.configuration["embedding_dim"]))


def said(folder: Path, *command: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, [command[0], str(folder / "study.yaml"), *command[1:]])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_what_breaks_one_never_wins_and_is_named(
    run: Run, timed: Training, tmp_path: Path, storage: str
) -> None:
    results = run(SLOW, CONFIRMED, ("engine: inline", f"engine: inline\nstorage: {storage}"))
    slow = {each.trial for each in results.trials if dim(each) > 30}
    fast = sorted((dim(each), each.trial) for each in results.trials if dim(each) <= 30)
    assert slow
    assert len(fast) >= 2
    assert {each.trial for each in results.trials if each.broken} == slow
    assert all(each.broken == ["ms_per_item <= 3"] for each in results.trials if each.trial in slow)
    for each in results.trials:
        assert each.excesses["ms_per_item <= 3"] == pytest.approx(dim(each) / 10 / 3 - 1)
    assert results.trial == fast[-1][1]
    assert results.kind == "confirmed winner"
    keys = {each.key: each.trial for each in results.trials}
    confirmed = {keys[path.name] for path in (results.folder / "confirm").iterdir()}
    assert confirmed == {number for _, number in fast[-2:]}
    assert f"{len(slow)} of 9 completed trials broke a constraint and cannot win: ms_per_item <= 3" in answer(
        results
    )
    assert {each.trial for each in results.front} == {fast[-1][1]}
    table = results.to_frame()
    assert table["trial"][0] == fast[-1][1]
    breaking = table[table["breaks"] != ""]
    assert set(breaking["trial"]) == slow
    assert list(breaking.index) == list(range(len(fast), 9))  # the last ones
    status = json.loads(said(tmp_path, "status", "--json"))
    assert {int(number) for number in status["infeasible"]} == slow
    assert (status["best"]["trial"], status["complete"]) == (results.trial, 9)
    assert "complete that break ms_per_item <= 3 (trial" in said(tmp_path, "status")
    best = json.loads(said(tmp_path, "best", "--json"))
    assert best["trial"] == results.trial
    assert best["constraints"] == {"ms_per_item": "<= 3"}
    assert {int(number) for number in best["infeasible"]} == slow
    said(tmp_path, "report", "--format", "markdown")
    report = unescape((results.folder / "report.md").read_text().replace("\\", ""))
    assert "broke a constraint and cannot win: ms_per_item <= 3" in report
    assert "Constraints: ms_per_item <= 3." in report


def test_without_a_trial_that_keeps_it_there_is_no_winner(run: Run, timed: Training, tmp_path: Path) -> None:
    timed.more = lambda dim: {"ms_per_item": 40 + dim / 10}
    results = run(SLOW, CONFIRMED)
    closest = min(results.trials, key=dim)
    sentence = (
        f"No trial keeps the constraint ms_per_item <= 3; the closest of 9 completed trials is trial "
        f"{closest.trial}, mlp · euclidean · triplet · {dim(closest)}-d: ms_per_item "
        f"{40 + dim(closest) / 10:.4g}."
    )
    assert results.winner is None
    assert summary(results, {}).lead == [sentence]
    assert not (results.folder / "confirm").exists()
    assert sentence in unescape(results.report_path.read_text())
    assert not results.model_path.exists()
    assert sentence in said(tmp_path, "best", code=2)
    assert json.loads(said(tmp_path, "status", "--json"))["best"] is None
    with pytest.raises(StudyError, match="has no best trial"):
        read_outcome(results.folder)


def test_a_measure_that_is_nan_fails_the_trial(run: Run, timed: Training) -> None:
    timed.more = lambda dim: {"ms_per_item": float("nan")}
    results = run(("budget: {trials: 4}", 'budget: {trials: 2}\nconstraints: {ms_per_item: "<= 3"}'))
    assert {each.cause for each in results.trials} == {"ms_per_item, which has a constraint, is nan"}


def test_other_constraints_make_another_study(run: Run, timed: Training) -> None:
    run(("budget: {trials: 4}", 'budget: {trials: 2}\nconstraints: {ms_per_item: "<= 3"}'))
    assert len(run(("trials: 2", "trials: 3")).trials) == 3  # a larger budget continues it
    with pytest.raises(StudyError, match=r"was started with another study\.constraints\.ms_per_item"):
        run(('"<= 3"', '"<= 4"'))
    with pytest.raises(StudyError, match=r"was started with another study\.constraints"):
        run(('\nconstraints: {ms_per_item: "<= 4"}', ""))


def test_a_later_study_learns_what_earlier_trials_break_now(run: Run, timed: Training) -> None:
    earlier = run(SLOW)
    later = run(
        ('"<= 3"', '"<= 5"'),
        ("name: tiny", "name: later\nwarm_start: runs/tiny"),
        ("trials: 9", "trials: 1"),
    )
    storage = optuna.load_study(study_name="later", storage=f"sqlite:///{later.folder / 'study.db'}")
    known = [each for each in storage.get_trials() if each.user_attrs.get("outcome") == "earlier"]
    assert len(known) == len(earlier.trials)
    for each in known:
        size = each.user_attrs["configuration"]["embedding_dim"]
        assert each.constraints["ms_per_item <= 5"] == pytest.approx(size / 10 / 5 - 1)


# ---------------------------------------------------------------- from a run folder


def test_a_finalist_that_breaks_it_again_comes_last(tmp_path: Path) -> None:
    made = frozen()
    made["study"]["constraints"] = {"ms_per_item": "<= 2"}
    (tmp_path / "study.json").write_text(json.dumps(made))
    folder = Folder(tmp_path)
    for number, value in ((0, 0.9), (1, 0.8)):
        folder.trial(number, value, excesses={"ms_per_item <= 2": -0.1})
    for repeat, excess in enumerate((-0.1, 0.4)):  # 0.15 too slow on average
        folder.confirmed("key0", repeat, 0.9, 0.9, excesses={"ms_per_item <= 2": excess})
        folder.confirmed("key1", repeat, 0.8, 0.8, excesses={"ms_per_item <= 2": -0.1 * repeat})
    assert read_outcome(tmp_path).trial == 1
    assert "is trial 1, trained again with 2 seeds" in folder.page()


def test_if_no_finalist_keeps_it_that_is_said_first(tmp_path: Path) -> None:
    made = frozen()
    made["study"]["constraints"] = {"ms_per_item": "<= 2"}
    (tmp_path / "study.json").write_text(json.dumps(made))
    folder = Folder(tmp_path)
    folder.trial(0, 0.9, excesses={"ms_per_item <= 2": -0.1})
    more: dict[str, Any] = {"configuration": configuration(8)}
    folder.confirmed("key0", 0, 0.9, 0.9, excesses={"ms_per_item <= 2": 0.2}, **more)
    file = tmp_path / "confirm" / "key0" / "0" / "result.json"
    row = json.loads(file.read_text())
    file.write_text(json.dumps(row | {"valid": {"map_at_r": 0.9, "ms_per_item": 2.4}}))
    results = Results.of(read_outcome(tmp_path))
    sentence = (
        "No finalist keeps the constraint ms_per_item <= 2 when it is trained again; the winner is the "
    )
    assert answer(results).startswith(f"{sentence}closest: ms_per_item 2.4. ")
    assert f"{sentence}closest" in unescape(folder.page())


def test_the_leaderboard_leaves_out_what_breaks_one() -> None:
    factors = {"encoder": "mlp", "metric": "cosine", "loss": "triplet", "embedding_dim": 8}
    trials = [
        TrialResult(
            trial=number,
            outcome="complete",
            factors=factors,
            figures={"eer": value},
            excesses={"a <= 1": excess},
        )
        for number, (value, excess) in enumerate([(0.1, 0.5), (0.3, -1), (0.2, 0)])
    ]
    assert [each.trial for each in leaderboard(trials, Objective("eer", "minimize"))] == [2, 1]
