"""What a trial costs: siamkit, KerasTuner, and a loop of Keras and Optuna written by hand.

All train the same perceptron with the same semi-hard triplet loss on half of scikit-learn's digits, two
epochs a trial, choose the learning rate and the margin at random, and score the embeddings of a quarter of
the digits. Each contender runs in processes of its own, by turns, because what JAX keeps between trials
counts. A trial is timed from the moment the one before it has ended; the first one of a process is left out.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from timing import report

HERE = Path(__file__).resolve().parent
TRIALS, ROUNDS, EPOCHS, BATCH = 4, 3, 2, 64
RATES, MARGINS = (3e-4, 3e-3), (0.1, 0.5)
STUDY = f"""\
version: 1
name: trials
seed: 7
data: {{source: digits, split: {{by: item, train: 0.5, valid: 0.25, test: 0.25}}}}
fixed: {{optimizer: adam, batch_size: {BATCH}, epochs: {EPOCHS}, schedule: constant}}
search:
  encoder: [{{mlp: {{depth: 2, width: 128, dropout: 0.0}}}}]
  metric: [euclidean]
  loss: [{{triplet: {{mining: semihard, margin: {{low: {MARGINS[0]}, high: {MARGINS[1]}}}}}}}]
  embedding_dim: [32]
  learning_rate: {{low: {RATES[0]}, high: {RATES[1]}, log: true}}
objectives: {{map_at_r: maximize}}
baselines: null
sampler: random
pruner: none
confirm: null
budget: {{trials: {TRIALS}}}
engine: inline
artifacts: run
"""


# ------------------------------------------------------------------ the contenders, each in its own process


def siamkit(ended: Callable[[], None]) -> None:
    """Run a study of siamkit with its worker in this process."""
    from siamkit.backend import select

    select.activate(os.environ["KERAS_BACKEND"])
    select.keep_compiled()  # as workers do
    import keras

    import siamkit.study.worker.train  # noqa: F401
    from siamkit.study.api import tune
    from siamkit.study.execution.trial import TrialHandle

    keras.utils.set_random_seed(0)  # imports TensorFlow too, if it is installed
    gc.collect()
    gc.freeze()  # as workers do

    finish = TrialHandle._on_finish

    def on_finish(self: Any, *arguments: Any) -> None:
        finish(self, *arguments)
        ended()

    TrialHandle._on_finish = on_finish  # type: ignore[method-assign]
    with working_folder():
        Path("study.yaml").write_text(STUDY)
        tune("study.yaml", progress="none")


def by_hand(ended: Callable[[], None]) -> None:
    """Search by Optuna, over models trained by Keras."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    train, valid = digits()

    def objective(trial: optuna.Trial) -> float:
        import keras

        keras.utils.clear_session()
        keras.utils.set_random_seed(trial.number)
        rate = trial.suggest_float("rate", *RATES, log=True)
        model = perceptron(rate, trial.suggest_float("margin", *MARGINS))
        model.fit(*train, batch_size=BATCH, epochs=EPOCHS, verbose=0)
        return score(model, *valid)

    with working_folder():
        study = optuna.create_study(
            storage="sqlite:///study.db", direction="maximize", sampler=optuna.samplers.RandomSampler()
        )
        study.optimize(objective, n_trials=TRIALS, callbacks=[lambda *_: ended()])


def keras_tuner(ended: Callable[[], None]) -> None:
    """Search by KerasTuner."""
    import keras_tuner as kt

    train, valid = digits()

    class Trials(kt.HyperModel):
        def build(self, hp: Any) -> Any:
            rate = hp.Float("rate", *RATES, sampling="log")
            return perceptron(rate, hp.Float("margin", *MARGINS))

        def fit(self, hp: Any, model: Any, *arguments: Any, **options: Any) -> dict[str, float]:
            options |= {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0}
            model.fit(*train, **options)
            return {"score": score(model, *valid)}

    class Search(kt.RandomSearch):
        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            ended()

    with working_folder():
        goal = kt.Objective("score", "max")
        Search(Trials(), goal, max_trials=TRIALS, directory="search").search(verbose=0)


@contextmanager
def working_folder() -> Iterator[None]:
    """Work in an empty folder."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def digits() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return images and classes of half of the digits, and of a quarter."""
    import numpy as np
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(classes))
    images, classes = (images / 16).astype("float32")[order], classes.astype("int32")[order]
    half, end = len(classes) // 2, len(classes) * 3 // 4
    return (images[:half], classes[:half]), (images[half:end], classes[half:end])


def perceptron(rate: float, margin: float) -> Any:
    """Return a compiled perceptron with a semi-hard triplet loss, as people write it."""
    import keras
    from keras import layers, ops

    def loss(labels: Any, embeddings: Any) -> Any:
        labels = ops.reshape(labels, (-1,))
        squares = ops.sum(embeddings**2, axis=1)
        products = ops.matmul(embeddings, ops.transpose(embeddings))
        distances = ops.sqrt(ops.maximum(squares[:, None] + squares[None] - 2 * products, 1e-12))
        alike = ops.equal(labels[:, None], labels[None])
        positive = ops.logical_and(alike, ops.logical_not(ops.eye(ops.shape(labels)[0], dtype="bool")))
        gaps = distances[:, None, :] - distances[:, :, None]
        usable = ops.logical_and(positive[:, :, None], ops.logical_not(alike)[:, None, :])
        semihard = ops.logical_and(usable, ops.logical_and(gaps > 0, gaps < margin))
        chosen = ops.cast(semihard, "float32")
        return ops.sum(chosen * (margin - gaps)) / ops.maximum(ops.sum(chosen), 1.0)

    model = keras.Sequential(
        [
            layers.Input((64,)),
            layers.Dense(128, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(32),
            layers.UnitNormalization(),
        ]
    )
    model.compile(keras.optimizers.Adam(rate), loss)
    return model


def score(model: Any, images: Any, classes: Any) -> float:
    """Return the share of items whose nearest other item has their class."""
    from sklearn.neighbors import NearestNeighbors

    embeddings = model.predict(images, batch_size=256, verbose=0)
    nearest = NearestNeighbors(n_neighbors=2).fit(embeddings).kneighbors(embeddings, return_distance=False)
    return float((classes[nearest[:, 1]] == classes).mean())


# ------------------------------------------------------------------ the comparison


CONTENDERS: dict[str, Callable[[Callable[[], None]], None]] = {
    "siamkit": siamkit,
    "by hand": by_hand,
    **({"KerasTuner": keras_tuner} if find_spec("keras_tuner") else {}),
}
TARGETS = {
    "torch": "≤ 50 ms over by hand; ≤ 0.5 × KerasTuner",
    "jax": "≤ 0.33 × by hand; ≤ 0.33 × KerasTuner",
    "tensorflow": "",
}


def seconds_of(contender: str) -> list[float]:
    """Run a contender in this process, and return the seconds of each trial but the first."""
    ends: list[float] = []
    CONTENDERS[contender](lambda: ends.append(time.perf_counter()))
    return [later - earlier for earlier, later in itertools.pairwise(ends)]


def main() -> None:
    """Run the contenders by turns, and print their row; with a contender's name, run that one alone."""
    if len(sys.argv) > 1:
        print(json.dumps(seconds_of(sys.argv[1])))
        return
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "SIAMKIT_CACHE": folder}
        for _ in range(ROUNDS):
            for name in CONTENDERS:
                run = subprocess.run(
                    [sys.executable, __file__, name],
                    env=environment,
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                seconds[name] += json.loads(run.stdout.splitlines()[-1])
    report(
        f"a trial: digits, perceptron, {EPOCHS} epochs",
        {name: statistics.median(each) for name, each in seconds.items()},
        "siamkit",
        TARGETS[os.environ.get("KERAS_BACKEND", "torch")],
    )


if __name__ == "__main__":
    main()
