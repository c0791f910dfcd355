"""The recipe of a training: optimizer, schedule, length, and the epoch that is kept."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from attempts import FINAL, Killed, bench, do, weights

from siamkit.errors import StudyFileError
from siamkit.runs.results import Objective
from siamkit.study.worker import checkpoint
from siamkit.study.worker.messages import Epoch, FeedsJob, TrialJob
from siamkit.study.worker.trainer import MIN_GAIN, BestEpoch

# ------------------------------------------------------------------ the best epoch


def best_of(values: list[float], direction: Any = "maximize", patience: int | None = None) -> BestEpoch:
    """As a training that goes on to its last epoch."""
    best = BestEpoch(Objective("eer", direction), len(values), patience)
    for epoch, value in enumerate(values, 1):
        best.add(epoch, value)
    return best


@pytest.mark.parametrize(
    ("values", "direction", "number"),
    [
        ([0.2, 0.5, 0.4], "maximize", 2),
        ([0.2, 0.5, 0.4], "minimize", 1),
        ([0.5, 0.5 + 0.9 * MIN_GAIN], "maximize", 1),
        ([0.5, 0.5 + 1.1 * MIN_GAIN], "maximize", 2),
        ([0.5, 0.5 - 0.9 * MIN_GAIN], "minimize", 1),
        ([0.5 + 0.4 * MIN_GAIN * epoch for epoch in range(8)], "maximize", 7),  # slow progress adds up
        ([math.nan, 0.1, 0.1], "maximize", 2),
        ([0.1, math.nan], "maximize", 1),
        ([math.nan, math.nan], "maximize", 1),
    ],
)
def test_a_later_epoch_is_better_only_by_more_than_a_little(
    values: list[float], direction: str, number: int
) -> None:
    assert best_of(values, direction).number == number


def test_patience_counts_the_epochs_since_the_best() -> None:
    best = BestEpoch(Objective("map_at_r"), 9, patience=2)
    ends = []
    for epoch, value in enumerate([0.1, 0.2, 0.2, 0.3, 0.3, 0.2], 1):
        best.add(epoch, value)
        ends.append(best.ends(epoch))
    assert ends == [False, False, False, False, False, True]
    assert not best_of([0.5] * 8).ends(7)
    assert best_of([0.5] * 8).ends(8)


# ------------------------------------------------------------------ real training

keras_only = pytest.mark.keras


def judged(monkeypatch: pytest.MonkeyPatch, values: dict[int, float]) -> None:
    """Gives the epochs of a training, which are 2 steps long, these values of the objective."""
    from keras import ops

    from siamkit.study.worker import judge as module

    judge = module.judge

    def judge_by_epoch(model: Any, *args: Any, **kwargs: Any) -> Any:
        scores = judge(model, *args, **kwargs)
        epoch = int(ops.convert_to_numpy(model.optimizer.iterations)) // 2
        scores.measures["map_at_r"] = values[epoch]
        return scores

    monkeypatch.setattr(module, "judge", judge_by_epoch)


VALUES = {1: 0.5, 2: 0.7, 3: 0.7005, 4: 0.6}


@keras_only
@pytest.mark.parametrize(
    "die_after", [2, *(pytest.param(epoch, marks=pytest.mark.one_backend) for epoch in (None, 3, 4))]
)
def test_the_best_epochs_model_is_kept_also_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, die_after: int | None
) -> None:
    judged(monkeypatch, VALUES)
    recipe = "learning_rate: 0.01, ema: 0.5, schedule: constant"  # that of a cosine depends on the end
    runner, configuration = bench(tmp_path, fixed=f"epochs: 4, {recipe}")
    job = TrialJob(str(tmp_path / "a"), configuration, (5,), (5,), (0,))
    if die_after is not None:
        with pytest.raises(Killed):
            do(runner, job, (0, die_after))
        job = TrialJob(str(tmp_path / "b"), configuration, (5,), (5,), (0,), resume=str(tmp_path / "a"))
    ended, _ = do(runner, job)
    assert ended.outcome == "complete", ended.cause
    assert ended.epochs == [2]
    assert ended.values == [0.7]
    # The same training, ended after the second epoch.
    short, _ = bench(tmp_path, fixed=f"epochs: 2, {recipe}")
    do(short, TrialJob(str(tmp_path / "short"), configuration, (5,), (5,), (0,)))
    for one, other in zip(weights(Path(job.folder)), weights(tmp_path / "short"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    embeddings = [np.load(folder / "embeddings.npy") for folder in (Path(job.folder), tmp_path / "short")]
    np.testing.assert_allclose(*embeddings, rtol=1e-4, atol=1e-5)


@keras_only
@pytest.mark.one_backend
def test_a_checkpoint_after_the_best_epoch_has_both_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(monkeypatch, VALUES)
    epochs = iter(range(1, 9))
    wait = {1: math.inf, 2: math.inf, 3: 0.0}
    monkeypatch.setattr(checkpoint, "seconds_between", lambda cost: wait.get(next(epochs), 0.0))
    recipe = "learning_rate: 0.01, ema: 0.5, schedule: constant"
    runner, configuration = bench(tmp_path, fixed=f"epochs: 4, {recipe}")
    whole, _ = do(runner, TrialJob(str(tmp_path / "whole"), configuration, (5,), (5,), (0,)))
    epochs = iter(range(1, 9))
    with pytest.raises(Killed):
        do(runner, TrialJob(str(tmp_path / "a"), configuration, (5,), (5,), (0,)), (0, 3))
    assert len(list((tmp_path / "a").glob("resume-0-[23].keras"))) == 2
    job = TrialJob(str(tmp_path / "b"), configuration, (5,), (5,), (0,), resume=str(tmp_path / "a"))
    ended, said = do(runner, job)
    assert [each.number for each in said if isinstance(each, Epoch)] == [4]
    assert (ended.epochs, ended.values) == (whole.epochs, whole.values) == ([2], [0.7])
    for one, other in zip(weights(tmp_path / "whole"), weights(tmp_path / "b"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@keras_only
@pytest.mark.one_backend
def test_training_continues_from_the_last_epoch_and_returns_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(monkeypatch, VALUES)
    runner, configuration = bench(tmp_path, fixed="epochs: 4, learning_rate: 0.01")
    _, whole = do(runner, TrialJob(str(tmp_path / "whole"), configuration, (5,), (5,), (0,)))
    with pytest.raises(Killed):
        do(runner, TrialJob(str(tmp_path / "a"), configuration, (5,), (5,), (0,)), (0, 3))
    job = TrialJob(str(tmp_path / "b"), configuration, (5,), (5,), (0,), resume=str(tmp_path / "a"))
    _, rest = do(runner, job)
    last = [[each.row["loss"] for each in said if isinstance(each, Epoch)][-1] for said in (whole, rest)]
    assert last[0] == pytest.approx(last[1], rel=1e-5)

    from siamkit.study.worker.trainer import Limits

    trainer: Any = runner._trainer
    trained = trainer.train(
        configuration, seed=5, data_seed=5, limits=Limits(), on_epoch=lambda number, row: None
    )
    assert trained.epoch == 2
    embeddings = trained.model.embed_views(runner._data.valid.views, preprocessed=True)
    np.testing.assert_allclose(embeddings, trained.scores.embeddings, atol=1e-6)


@keras_only
@pytest.mark.one_backend
def test_training_ends_when_patience_does_and_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(monkeypatch, VALUES)
    runner, configuration = bench(tmp_path, fixed="epochs: 9, patience: 1")
    with pytest.raises(Killed):
        do(runner, TrialJob(str(tmp_path / "a"), configuration, (5,), (5,), (0,)), (0, 3))
    job = TrialJob(str(tmp_path / "b"), configuration, (5,), (5,), (0,), resume=str(tmp_path / "a"))
    ended, said = do(runner, job)
    assert not [each for each in said if isinstance(each, Epoch)]
    assert (ended.epochs, ended.values) == ([2], [0.7])
    assert (tmp_path / "b" / FINAL).is_file()


@keras_only
@pytest.mark.one_backend
def test_micro_batches_are_kept_after_a_kill(tmp_path: Path) -> None:
    from siamkit import load_model

    runner, configuration = bench(tmp_path, fixed="epochs: 3, learning_rate: 0.01, micro_batch: 7")
    do(runner, TrialJob(str(tmp_path / "whole"), configuration, (5,), (5,), (0,)))
    with pytest.raises(Killed):
        do(runner, TrialJob(str(tmp_path / "a"), configuration, (5,), (5,), (0,)), (0, 1))
    job = TrialJob(str(tmp_path / "b"), configuration, (5,), (5,), (0,), resume=str(tmp_path / "a"))
    ended, _ = do(runner, job)
    assert ended.outcome == "complete", ended.cause
    for one, other in zip(weights(tmp_path / "b"), weights(tmp_path / "whole"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    model: Any = load_model(tmp_path / "b" / FINAL)
    assert model.get_compile_config()["micro_batch"] == 7


@keras_only
def test_with_ema_averages_are_evaluated_and_kept_and_the_weights_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras
    from keras import ops

    from siamkit import load_model
    from siamkit.study.worker import train

    trained: list[list[np.ndarray]] = []
    evaluated: list[list[np.ndarray]] = []

    def values(model: Any) -> list[np.ndarray]:
        return [np.array(ops.convert_to_numpy(each)) for each in model.trainable_variables]

    class Recorder(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            trained.append(values(self.model))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            evaluated.append(values(self.model))

    monkeypatch.setattr(train, "made_callbacks", lambda name: [Recorder()])
    # Epochs of one step: what is trained at the beginning of an epoch is what the step before it left.
    runner, configuration = bench(tmp_path, fixed="steps: 10, learning_rate: 0.05, ema: 0.6")
    ended, _ = do(runner, TrialJob(str(tmp_path / "a"), configuration, (5,), (5,), (0,)))
    assert ended.outcome == "complete", ended.cause
    average = trained[1]
    for step in range(1, 10):
        if step > 1:
            average = [0.6 * mean + 0.4 * weight for mean, weight in zip(average, trained[step], strict=True)]
        for one, other in zip(evaluated[step - 1], average, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert max(np.abs(one - other).max() for one, other in zip(average, trained[9], strict=True)) > 0.01
    kept = values(load_model(tmp_path / "a" / FINAL))
    for one, other in zip(kept, evaluated[ended.epochs[0] - 1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


SEEN = """
class Seen(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        with open(PLACE, "a") as file:
            print(logs["map_at_r"], file=file)


documented = make
make = lambda: [*documented(), Seen()]
"""


@keras_only
@pytest.mark.one_backend
def test_callbacks_of_the_user_see_measures_and_may_end_training(tmp_path: Path) -> None:
    import siamkit

    # The module of docs/study.md, which ends training after the second epoch.
    page = (Path(__file__).parents[3] / "docs/study.md").read_text()
    module = page.partition("# my_callbacks.py\n")[2].partition("```")[0]
    assert module.count("> 0.95") == 1
    seen = tmp_path / "seen.txt"
    module = module.replace("> 0.95", "> -1 and epoch == 1") + SEEN.replace("PLACE", repr(str(seen)))
    (tmp_path / "my_callbacks.py").write_text(module)
    labels = np.repeat(np.arange(4), 12)
    items = np.random.default_rng(0).normal(size=(48, 5)).astype("float32")
    np.savez(tmp_path / "items.npz", x=items, y=labels)
    (tmp_path / "study.yaml").write_text(
        "version: 1\nname: s\nengine: inline\nbaselines: null\nconfirm: null\n"
        "data: {path: items.npz}\nbudget: {trials: 1}\n"
        "fixed: {epochs: 6, batch_size: 8, embedding_dim: 4, callbacks: my_callbacks.make}\n"
        "search: {encoder: {mlp: {depth: 1, width: 8}}, metric: cosine, loss: triplet}\n"
    )
    results = siamkit.tune(tmp_path / "study.yaml", progress="none")
    (trial,) = results.trials
    assert trial.outcome == "complete", trial.cause
    assert trial.best_epochs[0] <= 2
    history = pq.read_table(results.folder / trial.folder / "history.parquet").to_pydict()
    assert history["epoch"] == [1, 2]
    assert [float(line) for line in seen.read_text().splitlines()] == history["map_at_r"]
    model: Any = siamkit.load_model(results.folder / trial.folder / FINAL)
    assert int(model.optimizer.iterations.numpy()) == trial.best_epochs[0] * 3


KILLED = """
import os, signal
from pathlib import Path

import keras
import numpy as np
from keras import ops

from siamkit.study.worker import checkpoint

checkpoint.MIN_SECONDS = checkpoint.SECONDS_BETWEEN_KILLS = 0.0
HERE = Path(__file__).parent


class Spoil(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch >= 2:  # from the third epoch on the model has forgotten everything
            for variable in self.model.trainable_variables:
                variable.assign(np.zeros(variable.shape))

    def on_train_batch_end(self, batch, logs=None):
        epochs_done, first = int(ops.convert_to_numpy(self.model.optimizer.iterations)) // 3, HERE / "kill"
        if epochs_done == 3 and batch == 1 and first.exists():  # in the middle of the fourth epoch
            first.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def make():
    return [Spoil()]
"""


@keras_only
@pytest.mark.one_backend
@pytest.mark.waits
def test_a_worker_that_is_killed_after_its_best_epoch_still_returns_it(tmp_path: Path) -> None:
    import siamkit

    (tmp_path / "killed.py").write_text(KILLED)
    labels = np.repeat(np.arange(4), 12)
    items = np.random.default_rng(0).normal(size=(48, 5)).astype("float32") + labels[:, None]
    np.savez(tmp_path / "items.npz", x=items, y=labels)
    study = (
        "version: 1\nname: s\nworkers: 1\nbaselines: null\nconfirm: null\ndata: {path: items.npz}\n"
        "budget: {trials: 1}\npruner: none\n"
        "fixed: {epochs: 4, batch_size: 8, embedding_dim: 4, ema: 0.01, callbacks: killed.make}\n"
        "search: {encoder: {mlp: {depth: 1, width: 8}}, metric: cosine, loss: triplet}\n"
    )
    (tmp_path / "kill").touch()
    found = []
    for place, engine in {"killed": "local", "whole": "inline"}.items():
        (tmp_path / "study.yaml").write_text(f"{study}engine: {engine}\n")
        results = siamkit.tune(tmp_path / "study.yaml", artifacts=tmp_path / place, progress="none")
        (trial,) = results.trials
        assert trial.outcome == "complete", trial.cause
        assert trial.attempt == (2 if place == "killed" else 1)
        folder, (best,) = results.folder / trial.folder, trial.best_epochs
        values = pq.read_table(folder / "history.parquet").column("map_at_r").to_pylist()
        assert best <= 2
        assert max(values[2:]) < values[best - 1] - 0.05
        assert trial.values == [pytest.approx(values[best - 1], rel=1e-5)]
        found.append([np.array(values), *weights(folder), np.load(folder / "embeddings.npy")])
    assert not (tmp_path / "kill").exists()
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    model: Any = siamkit.load_model(folder / FINAL)
    assert int(model.optimizer.iterations.numpy()) == best * 3


@keras_only
@pytest.mark.one_backend
def test_callbacks_that_are_none_are_refused_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wrong_callbacks.py").write_text("def make():\n    return ['EarlyStopping']\n")
    for name, words in {
        "gone_callbacks.make": "'gone_callbacks.make' cannot be imported: No module named 'gone_callbacks'",
        "wrong_callbacks.gone": "'wrong_callbacks.gone' cannot be imported: .* has no attribute 'gone'",
        "wrong_callbacks.make": r"should return a list of keras.callbacks.Callback, got \['EarlyStopping'\]",
    }.items():
        runner, _ = bench(tmp_path, fixed=f"epochs: 1, callbacks: {name}")
        cause = runner.run(FeedsJob((), ()), lambda message: None).cause
        assert cause is not None
        assert cause.kind == "error"
        assert re.search(words, cause.text)
    with pytest.raises(StudyFileError, match=r"fixed.callbacks"):
        bench(tmp_path, fixed="epochs: 1, callbacks: make")


@keras_only
@pytest.mark.one_backend
def test_rounds_are_the_batches_of_the_epochs_in_their_order() -> None:
    from siamkit.data import Dataset
    from siamkit.data.batches import Rounds, feed

    items = np.arange(24, dtype="float32").reshape(12, 2)
    dataset = Dataset(views=(items,), target=np.repeat(np.arange(3), 4), supervision="labels", input="vector")

    def new() -> Any:
        return feed(dataset, "labels", batch_size=4, seed=1, items_per_class=2)

    batches, expected = new(), []
    for batches.epoch in range(4):
        expected += [batches[index][0] for index in range(len(batches))]
    rounds = Rounds(new(), 2)
    for rounds.epoch in (3, 0, 1, 2):  # also one that continues
        for index in range(2):
            np.testing.assert_array_equal(rounds[index][0], expected[2 * rounds.epoch + index])


@keras_only
@pytest.mark.one_backend
def test_steps_replace_epochs(tmp_path: Path) -> None:
    runner, configuration = bench(tmp_path, fixed="steps: 30, schedule: linear")
    ended, said = do(runner, TrialJob(str(tmp_path / "a"), configuration, (5,), (5,), (0,)))
    assert ended.outcome == "complete", ended.cause
    assert [each.number for each in said if isinstance(each, Epoch)] == [*range(1, 11)]
    from siamkit import load_model

    model: Any = load_model(tmp_path / "a" / FINAL)
    assert int(model.optimizer.iterations.numpy()) == 3 * ended.epochs[0]


# ------------------------------------------------------------------ optimizer and schedule


def recipe(**changes: Any) -> Any:
    names = ("warmup", "momentum", "weight_decay", "clip_norm", "ema")
    return {
        "optimizer": "sgd",
        "schedule": "constant",
        "learning_rate": 0.5,
        **dict.fromkeys(names),
        **changes,
    }


def falling_weight(optimizer: Any, share: Any) -> Any:
    """A model of one weight whose gradient is 1, whatever its value."""
    import keras
    from keras import ops

    from siamkit.model.training_state import schedule_steps

    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(optimizer, loss=lambda y, z: ops.mean(z, axis=-1))
    if share is not None:
        schedule_steps(model.optimizer, share)
    return model


def weight_of(model: Any) -> float:
    from keras import ops

    return float(ops.convert_to_numpy(model.trainable_variables[0])[0, 0])


def rate_by_hand(name: str, warmup: float, step: int, steps: int) -> float:
    rising = round(warmup * steps)
    if step < rising:
        if name == "one_cycle":
            return 0.04 + 0.96 * math.sin(math.pi / 2 * step / rising) ** 2
        return (step + 1) / (rising + 1)
    done = (step - rising) / (steps - rising)
    return {
        "constant": 1.0,
        "linear": 1 - done,
        "cosine": math.cos(math.pi / 2 * done) ** 2,
        "one_cycle": math.cos(math.pi / 2 * done) ** 2,
    }[name]


@keras_only
@pytest.mark.parametrize(
    ("name", "warmup", "share"),
    [
        ("constant", None, 0.0),
        ("constant", 0.25, 0.25),
        ("linear", 0.0, 0.0),
        ("linear", 0.25, 0.25),
        ("cosine", None, 0.05),
        ("one_cycle", None, 0.3),
    ],
)
def test_the_learning_rate_follows_its_schedule_step_by_step(
    name: str, warmup: float | None, share: float
) -> None:
    from siamkit.study.worker.recipe import make_optimizer, share_of_peak

    steps, configuration = 20, recipe(schedule=name, warmup=warmup, momentum=0.0)
    model = falling_weight(make_optimizer(configuration), share_of_peak(configuration, steps))
    ones, before = np.ones((4, 1), "float32"), 1.0
    for step in range(steps):
        if step < 15:
            model.train_on_batch(ones, ones)
        else:  # as an epoch
            model.fit(ones, ones, batch_size=4, verbose=0)
        taken, before = before - weight_of(model), weight_of(model)
        assert taken == pytest.approx(0.5 * rate_by_hand(name, share, step, steps), abs=2e-6), step
    assert float(model.optimizer.learning_rate) == 0.5  # the file has the peak


@keras_only
def test_a_recipe_reaches_the_optimizer() -> None:
    from siamkit.study.worker.recipe import make_optimizer

    ones = np.ones((4, 1), "float32")
    # Two steps of gradient 1 at a rate of 0.1 from 1; momentum 0.9 unless the study says otherwise.
    cases: list[tuple[dict[str, Any], float]] = [
        ({}, 1 - 0.1 - 0.1 * 1.9),
        ({"momentum": 0.5}, 1 - 0.1 - 0.1 * 1.5),
        ({"momentum": 0.0, "clip_norm": 0.5}, 1 - 0.05 - 0.05),
        ({"momentum": 0.0, "weight_decay": 0.5}, (0.95 - 0.1) * 0.95 - 0.1),
        ({"optimizer": "lion"}, 1 - 0.1 - 0.1),
        ({"optimizer": "adam"}, 1 - 0.1 - 0.1),
        ({"optimizer": "adam", "weight_decay": 0.5}, (0.95 - 0.1) * 0.95 - 0.1),
        ({"optimizer": "adamw"}, (0.9996 - 0.1) * 0.9996 - 0.1),  # 0.004, as in Keras
        ({"optimizer": "adamw", "weight_decay": 0.5}, (0.95 - 0.1) * 0.95 - 0.1),
    ]
    for changes, expected in cases:
        model = falling_weight(make_optimizer(recipe(learning_rate=0.1, **changes)), None)
        for _ in range(2):
            model.train_on_batch(ones, ones)
        assert weight_of(model) == pytest.approx(expected, abs=1e-5), changes


@keras_only
def test_muon_makes_the_step_of_a_matrix_orthogonal() -> None:
    import keras
    from keras import ops

    from siamkit.study.worker.recipe import make_optimizer

    target = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    layer = keras.layers.Dense(4, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((6,)), layer])
    optimizer = make_optimizer(recipe(optimizer="muon", learning_rate=0.1, weight_decay=0.0))
    model.compile(optimizer, loss="mse")
    model.train_on_batch(np.eye(6, dtype="float32"), target)
    step = ops.convert_to_numpy(layer.kernel)
    # The gradient is -target times a number; five Newton-Schulz steps bring singular values near to 1.
    u, _, v = np.linalg.svd(target, full_matrices=False)
    assert np.corrcoef(step.ravel(), (u @ v).ravel())[0, 1] > 0.97
    singular = np.linalg.svd(step, compute_uv=False)
    assert singular.max() / singular.min() < 2


@keras_only
def test_the_average_of_weights_has_the_long_steps_of_a_loss() -> None:
    from keras import ops

    from siamkit import build
    from siamkit.model.training_state import averaged, swap_averages
    from siamkit.study.worker.recipe import make_optimizer

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 5)).astype("float32"), np.repeat(np.arange(2), 4)
    optimizer = make_optimizer(recipe(optimizer="adamw", learning_rate=0.01, ema=0.75))
    model = build(
        {"mlp": {"depth": 1, "width": 4}}, "cosine", {"proxy_anchor": {"num_classes": 2}}, embedding_dim=3,
        input_shape=(5,), optimizer=optimizer,
    )  # fmt: skip
    assert model.loss_state_holder.state.learning_rate_multiplier != 1

    def values(variables: Any) -> list[np.ndarray]:
        return [np.array(ops.convert_to_numpy(variable)) for variable in variables]

    expected: list[np.ndarray] = []
    for step in range(4):
        model.train_on_batch(x, y)
        now = values(model.trainable_variables)
        expected = [0.75 * e + 0.25 * w for e, w in zip(expected, now, strict=True)] if step else now
    averages = averaged(model.optimizer)
    kept = values(averages[id(variable)] for variable in model.trainable_variables)
    for one, other in zip(kept, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    swap_averages(model)
    for one, other in zip(values(model.trainable_variables), kept, strict=True):
        np.testing.assert_array_equal(one, other)
    swap_averages(model)
    for one, other in zip(values(model.trainable_variables), now, strict=True):
        np.testing.assert_array_equal(one, other)
