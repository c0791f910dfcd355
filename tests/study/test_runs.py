"""Whole studies, trained for real on tiny data, in this process and in others that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import selection

import siamkit
from siamkit.registry.registry import components
from siamkit.study.results.results import Results

pytestmark = pytest.mark.keras

# Where one test alone reads the study, a trial and its confirmation are enough.
TRIALS = 2 if selection.BACKEND == selection.MAIN or selection.EVERYTHING else 1

STUDY = """\
version: 1
baselines: null
name: tiny
seed: 3
data: {source: digits, split: {by: class, train: 0.5, valid: 0.2, test: 0.3}, limit: {train: 120, valid: 60}}
fixed: {batch_size: 40, epochs: 2, embedding_dim: 6, learning_rate: 0.01}
search:
  encoder: {mlp: {depth: 1, width: [8, 12], dropout: 0.0}}
  metric: [euclidean, cosine]
  loss: {triplet: {mining: all, margin: {low: 0.1, high: 0.5}}}
budget: {trials: 2}
confirm: {top: 1, seeds: 1}
engine: inline
"""


def write(folder: Path, *changes: tuple[str, str]) -> Path:
    text = STUDY
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "study.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Results:
    changes = [] if TRIALS == 2 else [("budget: {trials: 2}", f"budget: {{trials: {TRIALS}}}")]
    return siamkit.tune(write(tmp_path_factory.mktemp("digits"), *changes), progress="none")


def measures(results: Results) -> list[dict[str, Any]]:
    return [each.measures for each in sorted(results.trials, key=lambda each: each.trial)]


def test_a_study_trains_judges_and_confirms(digits: Results) -> None:
    assert [each.outcome for each in digits.trials] == ["complete"] * TRIALS
    assert 0 < digits.measures["valid"]["map_at_r"] <= 1
    assert 0 < digits.measures["test"]["map_at_r"] <= 1
    for each in digits.trials:
        # The margin was drawn in typical distances and used in the metric's own.
        drawn = each.configuration["loss"]["params"]["margin"]["typical_distance"]
        assert each.resolved_params["loss"]["margin"] == pytest.approx(
            drawn * each.resolved_params["typical_distance"]
        )


@pytest.mark.one_backend
def test_the_best_model_loads_and_embeds_raw_items_as_its_checkpoint_does(digits: Results) -> None:
    from siamkit.data.sources import digits as load

    items = load().views[0][:20]
    best = siamkit.load_model(digits.model_path)
    checkpoint = siamkit.load_model(next(digits.folder.glob("confirm/*/0/checkpoint.keras")))
    assert best.embed(items).shape == (20, 6)
    np.testing.assert_array_equal(best.embed(items), checkpoint.embed(items))
    assert best.threshold == pytest.approx(digits.measures["valid"]["threshold"])
    assert best.same(items[:3], items[:3]).all()


@pytest.mark.one_backend
def test_a_trials_figures_are_those_of_its_stored_embeddings(digits: Results) -> None:
    import pyarrow.parquet as pq

    trial = max(digits.trials, key=lambda each: each.measures["map_at_r"])
    place = digits.folder / trial.folder
    embeddings = np.load(place / "embeddings.npy", allow_pickle=False)
    labels = pq.read_table(digits.folder / "items.parquet").column("target").to_pylist()
    metric = trial.factors["metric"]
    again = siamkit.evaluate(embeddings, labels, metric=metric)
    assert trial.measures["map_at_r"] == pytest.approx(again["map_at_r"])
    # By hand: the share of items whose nearest other one is of their class.
    near = (
        np.linalg.norm(embeddings[:, None] - embeddings[None], axis=2)
        if metric == "euclidean"
        else -(embeddings @ embeddings.T) / np.outer(*[np.linalg.norm(embeddings, axis=1)] * 2)
    )
    np.fill_diagonal(near, np.inf)
    share = np.mean(np.array(labels)[near.argmin(1)] == np.array(labels))
    assert trial.measures["recall_at_1"] == pytest.approx(share)


@pytest.mark.one_backend
def test_one_seed_gives_the_same_figures_twice(digits: Results, tmp_path: Path) -> None:
    again = siamkit.tune(write(tmp_path), progress="none")
    assert measures(again) == measures(digits)
    assert json.dumps(again.measures) == json.dumps(digits.measures)  # so that NaN is itself


def test_measures_with_a_constraint_are_measured(tmp_path: Path) -> None:
    limits = 'constraints: {ms_per_item: "<= 1e6", ami: ">= 2", bytes_per_vector: "<= 24"}\n'
    results = siamkit.tune(write(tmp_path, ("budget: {trials: 2}\n", "budget: {trials: 1}\n" + limits)))
    (trial,) = results.trials
    assert trial.measures["ms_per_item"] > 0
    assert trial.measures["bytes_per_vector"] == 24
    assert trial.broken == ["ami >= 2"]  # never above 1
    assert trial.excesses["ami >= 2"] == pytest.approx((2 - trial.measures["ami"]) / 2)
    assert results.winner is None


@pytest.mark.one_backend
def test_text_pairs_with_scores_are_searched(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = np.array(["red", "green", "blue", "fish", "bird", "tree"])
    rows = ["left,right,target,part"]
    for number in range(48):
        left, right = (" ".join(rng.choice(words, 3)) for _ in range(2))
        share = len(set(left.split()) & set(right.split())) / 3
        rows.append(f"{left},{right},{share:.3f},{('train', 'train', 'valid', 'test')[number % 4]}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    results = siamkit.tune(
        write(
            tmp_path,
            (
                "source: digits, split: {by: class, train: 0.5, valid: 0.2, test: 0.3}, "
                "limit: {train: 120, valid: 60}",
                "path: pairs.csv, split: {by: part}",
            ),
            (
                "{mlp: {depth: 1, width: [8, 12], dropout: 0.0}}",
                "{lstm: {units: 4, token_dim: 4, dropout: 0.0, bidirectional: false}}",
            ),
            ("[euclidean, cosine]", "cosine"),
            ("{triplet: {mining: all, margin: {low: 0.1, high: 0.5}}}", "cosine_mse"),
            ("learning_rate: 0.01", "normalize: true"),
            ("budget: {trials: 2}", "budget: {trials: 1}"),
        ),
        progress="none",
    )
    frozen = json.loads((results.folder / "study.json").read_text())
    assert frozen["data"]["split"]["counts"] == {"train": 24, "valid": 12, "test": 12}
    assert list(results.objectives) == ["spearman"]
    assert -1 <= results.measures["test"]["spearman"] <= 1
    model = results.load_model()
    assert model.embed(np.array(["red fish", "tree"], dtype=object)).shape == (2, 6)


@pytest.mark.one_backend
def test_vector_pairs_are_searched(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(60, 5)).astype("float32")
    alike = np.arange(60) % 2
    b = np.where(alike[:, None], a + 0.1 * rng.normal(size=a.shape), rng.normal(size=a.shape)).astype(
        "float32"
    )
    np.savez(tmp_path / "pairs.npz", a=a, b=b, y=alike)
    results = siamkit.tune(
        write(
            tmp_path,
            (
                "source: digits, split: {by: class, train: 0.5, valid: 0.2, test: 0.3}, "
                "limit: {train: 120, valid: 60}",
                "path: pairs.npz",
            ),
            ("[euclidean, cosine]", "euclidean"),
            ("{triplet: {mining: all, margin: {low: 0.1, high: 0.5}}}", "contrastive"),
            ("budget: {trials: 2}", "budget: {trials: 1}"),
        ),
        progress="none",
    )
    assert list(results.objectives) == ["roc_auc"]
    assert results.measures["test"]["roc_auc"] > 0.8  # the right answer is plain
    assert results.load_model().same(a[:20:2], b[:20:2]).mean() < 0.5


@pytest.mark.one_backend
def test_data_are_searched_as_models_are_and_judged_on_what_is_clean(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from siamkit.data.sources import digits as load

    path = write(
        tmp_path,
        ("width: [8, 12]", "width: 8"),
        ("[euclidean, cosine]", "euclidean"),
        (
            "budget: {trials: 2}",
            "  data: {items_per_class: [2, 5], label_noise: [0, 0.4], imbalance: 1, corruption: [none, "
            "noise_2]}\nbudget: {trials: 3}",
        ),
    )
    results = siamkit.tune(path, progress="none")
    assert [each.outcome for each in results.trials] == ["complete"] * 3
    assert len({tuple(each.configuration["data"].items()) for each in results.trials}) > 1
    for each in results.trials:
        assert each.factors["data.items_per_class"] in (2, 5)
        assert each.factors["data.label_noise"] in (0, 0.4)
        assert each.factors["data.imbalance"] == 1
        assert each.factors["data.corruption"] in ("none", "noise_2")
    items = pq.read_table(results.folder / "items.parquet")
    assert items.num_rows == 60
    truth = load().target[np.array(items.column("id").to_pylist(), dtype=int)]
    assert items.column("target").to_pylist() == [str(each) for each in truth]
    assert results.factors["data.items_per_class"] in (2, 5)
    page = (results.folder / "report.html").read_text()
    for name in results.factors:
        varied = len({each.factors[name] for each in results.trials}) > 1
        assert not name.startswith("data.") or (name in page) == varied, name


MODULE = """\
import os, time
import siamkit
from siamkit.losses.triplet import Triplet
from keras import ops


class Bad(Triplet):
    def __init__(self, kind="nan", **more):
        super().__init__(**more)
        self.kind = kind

    def call(self, y_true, y_pred):
        if self.kind == "raise":
            raise RuntimeError("this loss cannot be had")
        return super().call(y_true, y_pred) * float("nan")


@siamkit.hookimpl
def siamkit_losses():
    return [siamkit.LossSpec(name="bad", factory="MODULE:make", supervision="labels",
                             params={"kind": siamkit.Choice("nan", options=("nan", "raise"))})]
"""


@pytest.mark.one_backend
def test_a_loss_that_is_nan_or_raises_fails_its_trial_and_the_study_goes_on(tmp_path: Path) -> None:
    (tmp_path / "bad_losses.py").write_text(MODULE.replace("MODULE:make", "bad_losses:Bad"))
    path = write(
        tmp_path,
        (
            "{triplet: {mining: all, margin: {low: 0.1, high: 0.5}}}",
            "[{bad: {kind: [nan, raise]}}, {triplet: {mining: all, margin: 0.2}}]".replace("nan,", "'nan',"),
        ),
        ("width: [8, 12]", "width: 8"),
        ("[euclidean, cosine]", "euclidean"),
        ("budget: {trials: 2}", "plugins: [bad_losses]\nbudget: {trials: 5}"),
    )
    try:
        results = siamkit.tune(path, progress="none")
    finally:
        components().losses._by_qualified.pop("bad_losses/bad", None)
    causes = {each.factors.get("loss.bad_losses/bad.kind", "triplet"): each.cause for each in results.trials}
    assert set(causes) == {"nan", "raise", "triplet"}
    assert causes["nan"] == "the loss of epoch 1 is nan"
    assert "this loss cannot be had" in causes["raise"]
    assert causes["triplet"] == ""
    assert results.factors["loss"] == "triplet"


OWN_SPECS = """\
import siamkit

siamkit.register(siamkit.LossSpec(name="own", factory="own_factories:make", supervision="labels"))
"""

OWN_FACTORIES = """\
def make():
    from own_margins import MARGIN  # only now, in the process that trains
    from siamkit.losses.triplet import Triplet

    return Triplet(margin=MARGIN)
"""


@pytest.mark.one_backend
def test_modules_next_to_the_study_file_reach_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_specs.py").write_text(OWN_SPECS)
    (tmp_path / "own_factories.py").write_text(OWN_FACTORIES)
    (tmp_path / "own_margins.py").write_text("MARGIN = 0.2\n")
    path = write(
        tmp_path,
        ("{triplet: {mining: all, margin: {low: 0.1, high: 0.5}}}", "own"),
        ("width: [8, 12]", "width: 8"),
        ("[euclidean, cosine]", "euclidean"),
        ("budget: {trials: 2}", "plugins: [own_specs]\nbudget: {trials: 1}"),
        ("engine: inline", "engine: local\nworkers: 1"),
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = list(sys.path)
    try:
        results = siamkit.tune(path, progress="none")
    finally:
        components().losses._by_qualified.pop("session/own", None)
        for module in ("own_specs", "own_factories", "own_margins"):
            sys.modules.pop(module, None)
    assert [(each.outcome, each.cause) for each in results.trials] == [("complete", "")]
    assert sys.path == before


@pytest.mark.one_backend
def test_the_limits_of_a_trial_fail_it(tmp_path: Path) -> None:
    for budget, cause in (
        ("trial_time: 0.001s", "took longer than the trial_time of 0.001 s"),
        ("trial_memory: 1MB", "took more memory than the trial_memory of 0.001 GB"),
    ):
        folder = tmp_path / budget[:10]
        folder.mkdir()
        results = siamkit.tune(
            write(folder, ("budget: {trials: 2}", f"budget: {{trials: 1, {budget}}}")), progress="none"
        )
        assert [each.cause for each in results.trials] == [cause]
        assert results.winner is None


# ---------------------------------------------------------------- other processes

SLOW = """\
import os, pathlib, time
import siamkit
from siamkit.losses.triplet import Triplet


def make(**parameters):
    here = pathlib.Path(os.environ["SLOW_HERE"])
    if here.is_dir():
        (here / "reached").touch()
        time.sleep(120)
    return Triplet(**parameters)


@siamkit.hookimpl
def siamkit_losses():
    return [siamkit.LossSpec(name="slow", factory="slow_losses:make", supervision="labels",
                             params={"margin": siamkit.Float(0.2, low=0.1, high=0.5)})]
"""


# A suite started in the background ignores Ctrl-C, and its children would inherit that.
TUNE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from siamkit.cli import main
main()
"""


class Runs:
    """`siamkit tune` in processes of their own; their workers hang in each trial while `slow` is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.slow = folder / "slow"
        (folder / "slow_losses.py").write_text(SLOW)
        write(
            folder,
            ("{triplet: {mining: all, margin: {low: 0.1, high: 0.5}}}", "slow"),
            ("budget: {trials: 2}", "plugins: [slow_losses]\nbudget: {trials: 2}"),
            ("engine: inline", "engine: local\nworkers: 1"),
            ("confirm: {top: 1, seeds: 1}", "confirm: null"),
        )
        self.started: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", TUNE, "tune", "study.yaml"],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "SLOW_HERE": str(self.slow)},
        )
        self.started.append(process)
        return process

    def hanging(self) -> subprocess.Popen[str]:
        self.slow.mkdir(exist_ok=True)
        (self.slow / "reached").unlink(missing_ok=True)
        process = self.start()
        deadline = time.monotonic() + 120
        while not (self.slow / "reached").exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process

    def let_go(self) -> None:
        (self.slow / "reached").unlink(missing_ok=True)
        self.slow.rmdir()


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    found = Runs(tmp_path)
    yield found
    for process in found.started:
        process.kill()
        if not process.stdout.closed:  # type: ignore[union-attr]
            process.communicate()


@pytest.mark.one_backend
@pytest.mark.waits
def test_a_study_survives_kill_9_and_ctrl_c_and_refuses_a_second_run(runs: Runs) -> None:
    first = runs.hanging()
    second = runs.start()
    out, err = second.communicate(timeout=120)
    assert second.returncode == 2
    assert "another 'siamkit tune' is running this study" in err
    assert "Traceback" not in err

    os.kill(first.pid, signal.SIGKILL)
    first.communicate(timeout=30)
    assert first.returncode == -signal.SIGKILL

    third = runs.hanging()  # the dead trial, tried again
    third.send_signal(signal.SIGINT)
    out, err = third.communicate(timeout=60)
    assert third.returncode == 130, err
    assert "Traceback" not in err
    assert (runs.folder / "runs/tiny/report.html").is_file()

    runs.let_go()
    last = runs.start()
    out, err = last.communicate(timeout=240)
    assert last.returncode == 0, err
    assert "\x1b" not in out  # no terminal, no control codes
    results = [json.loads(path.read_text()) for path in runs.folder.glob("runs/tiny/trials/*/*/result.json")]
    assert [each["outcome"] for each in results] == ["complete"] * 2
    assert max(each["attempt"] for each in results) == 2  # the other one may not have begun when it struck
    assert {"trial died", "trial interrupted"} <= {
        json.loads(line)["event"] for line in (runs.folder / "runs/tiny/log.jsonl").read_text().splitlines()
    }
