"""Losses under one budget: the file, the protocol and the verdict, with a formula for training."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
from formula_training import Formula, stand_in
from scipy import stats
from tiny_study import write_items

import siamkit
from siamkit.cli import main
from siamkit.errors import StudyError, StudyFileError
from siamkit.report.load import load_study_results
from siamkit.runs.outcome import read_outcome
from siamkit.stats.seeds import Repeats
from siamkit.study.reality.config import RealityConfig, load_reality, reality_schema
from siamkit.study.reality.run import RealityCheck

CHECK = """\
version: 1
name: tiny
seed: 3
data: {path: items.npz, split: {train: 0.5, valid: 0.25, test: 0.25}}
losses: [triplet, contrastive, {multi_similarity: {mining: all}}]
encoder: {mlp: {depth: 1, width: 8, dropout: 0.0}}
metric: euclidean
search: {embedding_dim: {low: 2, high: 90}}
fixed: {batch_size: 8, epochs: 2}
budget: {trials: 4}
confirm: {seeds: 3}
engine: inline
baselines: null
"""


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Formula:
    return stand_in(monkeypatch)


@pytest.fixture
def path(tmp_path: Path, training: Formula) -> Path:
    write_items(tmp_path / "items.npz")
    return write(tmp_path)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RealityCheck, Formula]]:
    """One that was run to its end, to look at."""
    folder = tmp_path_factory.mktemp("done")
    with pytest.MonkeyPatch.context() as patch:
        formula = stand_in(patch)
        write_items(folder / "items.npz")
        yield check(write(folder)), formula


def write(folder: Path, *changes: tuple[str, str]) -> Path:
    text = CHECK
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "losses.yaml").write_text(text)
    return folder / "losses.yaml"


def check(path: Path, **asked: Any) -> RealityCheck:
    return siamkit.reality_check(path, progress="none", **asked)


def refused(path: Path) -> list[str]:
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(StudyFileError) as told:
        check(path)
    assert sorted(path.parent.rglob("*")) == before  # nothing half-written
    return [problem.removeprefix(f"{path}:") for problem in told.value.problems]


# ------------------------------------------------------------ the protocol


def test_each_loss_gets_the_same_budget_and_as_many_seeds(done: tuple[RealityCheck, Formula]) -> None:
    found, training = done
    losses = ["contrastive", "multi_similarity", "triplet"]
    assert Counter(training.trained) == dict.fromkeys(losses, 4 + 3)
    assert training.scored == 9  # each repeat, once; the search never
    assert sorted(each.loss for each in found.losses) == losses
    assert {(each.trials, each.completed, each.seeds) for each in found.losses} == {(4, 4, 3)}
    for each in found.losses:
        # Chosen on validation: what the loss's own study says is its best.
        standing = read_outcome(each.folder)
        assert each.factors["embedding_dim"] == standing.winner["embedding_dim"]
        best = max(standing.trials, key=lambda trial: trial.measures["map_at_r"])
        assert each.search == best.measures["map_at_r"]
        assert each.factors["embedding_dim"] == best.factors["embedding_dim"]


def test_all_losses_meet_the_same_data_and_split(done: tuple[RealityCheck, Formula]) -> None:
    found, _ = done
    frozen = [json.loads((each.folder / "study.json").read_text()) for each in found.losses]
    assert all(each["data"] == frozen[0]["data"] for each in frozen)
    assert all(each["versions"] == frozen[0]["versions"] for each in frozen)


def test_the_verdict_is_of_paired_differences_corrected_together(done: tuple[RealityCheck, Formula]) -> None:
    found, _ = done
    assert found.losses[0].loss == "contrastive"  # by a tenth, as the formula has it
    by_pair = dict(zip(found.pairs, found.differences, strict=True))
    assert len(by_pair) == 3
    stored = {each.loss: load_study_results(each.folder).finalists[0].on_test for each in found.losses}
    ps = []
    for (a, b), difference in by_pair.items():
        alone = stored[a].difference(stored[b])
        assert (difference.low, difference.high, difference.p) == (alone.low, alone.high, alone.p)
        ps.append(alone.p)
    # Holm by hand: of three, the smallest times 3, the next times 2, the last as it is, never falling.
    order = np.argsort(ps)
    expected = np.minimum(1, np.maximum.accumulate(np.array(ps)[order] * [3, 2, 1]))
    assert [found.differences[row].p_adjusted for row in order] == pytest.approx(expected.tolist())
    others = " and ".join(each.loss for each in found.losses[1:])
    assert found.verdict() == (
        f"contrastive has the best map_at_r on the test split, significantly better than {others}."
    )
    pair = next(pair for pair in by_pair if "contrastive" not in pair)
    told = found.verdicts()[found.pairs.index(pair)]
    assert "not significant at this sample size" in told


def test_what_came_of_it_is_written_for_people_and_machines(done: tuple[RealityCheck, Formula]) -> None:
    found, _ = done
    told = json.loads((found.folder / "reality-check.json").read_text())
    assert found.folder.parts[-2:] == ("runs", "tiny")
    assert told["verdict"] == found.verdict()
    for each, stored in zip(found.losses, told["losses"], strict=True):
        assert (stored["loss"], stored["folder"]) == (each.loss, each.loss)
        assert stored["test"] == pytest.approx(np.mean(stored["values"]))
        assert stored["interval"]["low"] < stored["test"] < stored["interval"]["high"]
    assert [each["shown"] for each in told["differences"]].count(False) == 1
    page = (found.folder / "reality-check.md").read_text().replace("\\_", "_")  # as Markdown shows it
    assert found.verdict() in page
    for each in found.losses:
        assert each.interval is not None
        ends = f"{each.interval.low:.4f} to {each.interval.high:.4f}"
        assert f"{each.test:.4f} | {ends} | 3 |" in page
    assert "classes of the test split are also in training" in page


def test_the_interval_of_a_mean_is_over_seeds_and_queries(done: tuple[RealityCheck, Formula]) -> None:
    best = done[0].losses[0]
    assert best.repeats is not None
    assert best.interval is not None
    scores = best.repeats.scores
    assert scores is not None
    assert scores.shape == (3, 12)
    parts = np.array([stats.sem(scores.mean(axis=1)) ** 2, stats.sem(scores.mean(axis=0)) ** 2])
    freedom = parts.sum() ** 2 / (parts**2 / [2, 11]).sum()
    half = stats.t.ppf(0.975, freedom) * np.sqrt(parts.sum())
    assert best.interval.high - best.interval.value == pytest.approx(half)


# ------------------------------------------------------------- going on


def test_it_goes_on_where_it_stopped(path: Path, training: Formula) -> None:
    def stop(loss: str) -> None:
        if loss == "contrastive" and training.trained.count("contrastive") == 2:
            raise KeyboardInterrupt

    training.before = stop
    first = check(path)
    assert first.interrupted
    assert training.trained == ["triplet"] * 7 + ["contrastive"] * 2
    assert not (first.folder / "reality-check.json").exists()
    training.before = lambda loss: None
    second = check(path)
    assert not second.interrupted
    assert Counter(training.trained) == {"triplet": 7, "contrastive": 7, "multi_similarity": 7}
    again = check(path)
    assert len(training.trained) == 21
    assert again.to_json() == second.to_json()


def test_a_raised_budget_is_spent_by_all(path: Path, training: Formula) -> None:
    check(path)
    write(path.parent, ("trials: 4", "trials: 6"))
    found = check(path)
    assert {each.trials for each in found.losses} == {6}


def test_another_space_is_refused_before_anything_is_written(path: Path, training: Formula) -> None:
    check(path)
    before = {file: file.read_bytes() for file in path.parent.rglob("*.yaml")}
    changed = write(path.parent, ("high: 90", "high: 91"))
    before[changed] = changed.read_bytes()
    with pytest.raises(StudyError, match="started with another search for the loss 'triplet'; restore it"):
        check(path)
    assert {file: file.read_bytes() for file in path.parent.rglob("*.yaml")} == before
    assert len(training.trained) == 21
    # What means the same is no other: a default written out, the data seen from elsewhere.
    write(path.parent, ("epochs: 2}", "epochs: 2, precision: float32}"))
    assert not check(path).interrupted


def test_a_loss_may_be_added(path: Path, training: Formula) -> None:
    write(
        path.parent, ("[triplet, contrastive, {multi_similarity: {mining: all}}]", "[triplet, contrastive]")
    )
    assert len(check(path).pairs) == 1
    write(path.parent)
    assert len(check(path).pairs) == 3
    assert len(training.trained) == 21


def test_a_loss_of_which_nothing_completes_is_told_and_the_others_compared(
    path: Path, training: Formula
) -> None:
    def fail(loss: str) -> None:
        if loss == "triplet":
            raise ValueError("no good")

    training.before = fail
    found = check(path)
    assert found.losses[-1].loss == "triplet"
    assert found.losses[-1].repeats is None
    assert "triplet has no test score: 0 of its 4 trials completed." in found.notes
    assert len(found.pairs) == 1
    assert "| triplet | 4 | – | – | – | – | 0 |" in (found.folder / "reality-check.md").read_text()


def test_unequal_numbers_of_trials_are_told(path: Path) -> None:
    # Three sizes, and two margins for one loss only: three configurations, and six.
    write(
        path.parent,
        (
            "triplet, contrastive",
            "{triplet: {mining: all, margin: [0.1, 0.2]}}, "
            "{contrastive: {mining: all, power: 1, pos_margin: 0.0, neg_margin: 1.0}}",
        ),
        ("{low: 2, high: 90}", "[2, 3, 4]"),
        (", {multi_similarity: {mining: all}}", ""),
    )
    found = check(path)
    assert {each.loss: each.trials for each in found.losses} == {"triplet": 4, "contrastive": 3}
    assert any("have different numbers of trials" in note for note in found.notes)


# --------------------------------------------------------------- the file


def test_all_problems_are_told_at_once_with_their_lines(path: Path) -> None:
    write(
        path.parent,
        ("[triplet, contrastive, {", "[triplett, contrastive, {"),
        ("mining: all", "minig: all"),
        ("metric: euclidean", "metric: [euclidean, cosin]"),
        ("budget: {trials: 4}", "budget: {trials: 4, time: 2h}"),
        ("seeds: 3", "seeds: 1"),
        ("engine: inline", "engine: inline\nobjective: map_at_q\nstorage: sqlite"),
        ("epochs: 2", "epochs: 0"),
    )
    told = refused(path)
    expected = [
        "5: losses.0: unknown loss 'triplett'",
        "5: losses.2.multi_similarity.minig: loss 'multi_similarity' has no parameter 'minig'",
        "7: metric.1: unknown metric 'cosin'",
        "9: fixed.epochs: should be at least 1",
        "10: budget.time: unknown key 'time'; choose from trial_memory, trial_time",
        "11: confirm.seeds: should be at least 2",
        "13: objective: unknown measure 'map_at_q'; did you mean 'map_at_r'",
        "14: storage: unknown key 'storage'",
    ]
    assert len(told) == len(expected), told
    for problem, start in zip(told, expected, strict=True):
        assert problem.startswith(start), problem


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ("[triplet]", "5: losses: should name two losses or more to compare, got 1"),
        ("triplet", "5: losses: should be a list, got 'triplet'"),
        ("[triplet, triplet]", "5: losses.1: 'triplet' is listed twice"),
        ("[triplet, 7]", "5: losses.1: should be the name of a loss"),
    ],
)
def test_losses_are_two_or_more_each_named_once(path: Path, losses: str, told: str) -> None:
    write(path.parent, ("[triplet, contrastive, {multi_similarity: {mining: all}}]", losses))
    assert any(problem.startswith(told) for problem in refused(path)), refused(path)


def test_what_is_missing_is_told(path: Path) -> None:
    path.write_text("version: 1\nname: tiny\n")
    told = refused(path)
    assert sorted(problem.rpartition(": ")[2] for problem in told) == [
        "'data' is missing",
        "'encoder' is missing",
        "'losses' is missing",
        "'metric' is missing",
    ]


def test_losses_that_do_not_fit_are_refused_up_front_a_sentence_each(path: Path, training: Formula) -> None:
    write(path.parent, ("contrastive, ", "arcface, proxy_anchor, "))
    told = refused(path)
    assert len(told) == 1
    assert "the loss 'arcface' fits none of the metrics (euclidean)" in told[0]
    write(
        path.parent, ("contrastive, ", "cosine_mse, "), ("metric: euclidean", "metric: [euclidean, cosine]")
    )
    told = refused(path)
    assert len(told) == 1
    assert "the loss 'cosine_mse' learns from scores, but the data give labels" in told[0]
    assert told[0].startswith("5: losses: ")
    assert training.trained == []


def test_each_loss_is_searched_over_the_metrics_that_fit_it(path: Path) -> None:
    write(
        path.parent,
        ("contrastive, ", "arcface, "),
        ("metric: euclidean", "metric: [euclidean, {mahalanobis: {}}, cosine]"),
    )
    parts = {study.loss: study.data["search"]["metric"] for study in load_reality(path).studies}
    assert parts["arcface"] == ["cosine"]
    assert parts["triplet"] == ["euclidean", {"mahalanobis": {}}, "cosine"]


def test_the_studies_find_their_data_from_where_they_lie(path: Path) -> None:
    found = check(path)
    study = found.folder / "contrastive.yaml"
    results = siamkit.tune(study, progress="none")
    assert (results.folder, len(results.trials)) == (found.folder / "contrastive", 4)
    (path.parent / "sub").mkdir()
    write(path.parent, ("data: {path: items.npz,", "data: {source: {path: items.npz},"))
    assert not check(path, artifacts=path.parent / "sub/run").interrupted


def test_the_schema_has_what_the_model_has() -> None:
    schema = reality_schema()
    assert set(schema["properties"]) == set(RealityConfig.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["losses"]["minItems"] == 2
    ran = click.testing.CliRunner().invoke(main, ["schema", "--reality-check"])
    assert json.loads(ran.stdout) == schema


# -------------------------------------------------------- the command line


def test_the_command_prints_a_table_and_a_verdict(path: Path) -> None:
    ran = click.testing.CliRunner().invoke(main, ["reality-check", str(path), "--progress", "plain"])
    assert ran.exit_code == 0, ran.output
    assert "loss 1 of 3: triplet" in ran.output
    assert "contrastive has the best map_at_r on the test split" in ran.output
    assert ran.output.rstrip().endswith("reality-check.md")
    assert "95 % interval" in ran.output


def test_a_mistake_is_one_sentence_and_exit_code_2(path: Path) -> None:
    write(path.parent, ("metric: euclidean", "metric: euclidian"))
    ran = click.testing.CliRunner().invoke(main, ["reality-check", str(path)])
    assert ran.exit_code == 2
    assert ran.stderr.startswith(f"Error: {path}:7: metric: unknown metric 'euclidian'")
    assert "Traceback" not in ran.output
    missing = click.testing.CliRunner().invoke(main, ["reality-check", str(path.parent / "none.yaml")])
    assert (missing.exit_code, missing.stderr.count("\n")) == (2, 1)


def test_ctrl_c_says_that_it_goes_on_from_there(path: Path, training: Formula) -> None:
    def stop(loss: str) -> None:
        raise KeyboardInterrupt

    training.before = stop
    ran = click.testing.CliRunner().invoke(main, ["reality-check", str(path), "--progress", "none"])
    assert ran.exit_code == 130
    assert "run the same command again to continue" in ran.output


# --------------------------------------------------------------- for real


@pytest.mark.keras
@pytest.mark.one_backend
def test_losses_are_compared_for_real_on_digits(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        (
            "{path: items.npz, split: {train: 0.5, valid: 0.25, test: 0.25}}",
            "{source: digits, limit: {train: 120, valid: 60, test: 90}}",
        ),
        (", {multi_similarity: {mining: all}}", ""),
        ("batch_size: 8, epochs: 2", "batch_size: 40, epochs: 2, learning_rate: 0.01"),
        ("{low: 2, high: 90}", "[4, 8]"),
        ("trials: 4", "trials: 2"),
        ("seeds: 3", "seeds: 2"),
        ("baselines: null", "baselines: [raw, {path: theirs.npy}]"),  # relative to this file
    )
    np.save(tmp_path / "theirs.npy", np.random.default_rng(0).normal(size=(1797, 2)))
    found = check(path)
    # Two short epochs hardly reach the pixels themselves.
    named, _, more = found.verdict().partition(" shown to be better than the best baseline (raw · ")
    assert more
    for each in found.losses:
        assert each.loss in named or named == "No loss is" or (each.lead and each.lead.low > 0)
        raw = json.loads((each.folder / "baselines" / "raw" / "result.json").read_text())
        assert (each.folder / "baselines" / "theirs" / "result.json").is_file()
        assert each.lead is not None
        assert each.test is not None
        assert each.lead.difference == pytest.approx(each.test - raw["test"]["map_at_r"])
    assert {(each.trials, each.seeds) for each in found.losses} == {(2, 2)}
    ((a, b),), (difference,) = found.pairs, found.differences
    first, second = (next(e for e in found.losses if e.loss == name) for name in (a, b))
    assert difference.difference == pytest.approx(second.test - first.test)  # type: ignore[operator]
    assert difference.p == difference.p_adjusted  # one is no several
    assert (difference.over, difference.units) == ("queries and seeds", 90)
    for each in found.losses:
        assert isinstance(each.repeats, Repeats)
        assert each.repeats.classes is not None
        assert len(set(each.repeats.classes.tolist())) == 10
        assert each.test is not None
        assert 0.1 < each.test < 1
    backend = json.loads((first.folder / "study.json").read_text())["versions"]["backend"]
    assert backend == os.environ["KERAS_BACKEND"]


def test_a_wrong_name_is_told_once(path: Path) -> None:
    [problem] = refused(write(path.parent, ("name: tiny", "name: ../tiny")))
    assert "name: should be made of letters" in problem
    [problem] = refused(write(path.parent, ("name: tiny\n", "")))
    assert "'name' is missing" in problem
    [problem] = refused(write(path.parent, ("version: 1", "version: 2")))
    assert "version: " in problem


def test_artifacts_that_cannot_be_a_folder_are_refused_in_a_sentence(path: Path) -> None:
    write(path.parent, ("seed: 3", "seed: 3\nartifacts: items.npz"))
    told = click.testing.CliRunner().invoke(main, ["reality-check", str(path), "--progress", "none"])
    assert told.exit_code == 2, told.output
    assert "cannot be written: File exists" in told.stderr
