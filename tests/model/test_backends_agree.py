"""The same on tensorflow, torch and jax: files, embeddings and loss curves, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BACKENDS = ("tensorflow", "torch", "jax")

CASES = {
    "triplet": {"metric": "euclidean", "loss": {"triplet": {"margin": 0.5}}},
    "contrastive": {"metric": "cosine", "loss": "contrastive", "pairs": True},
    "proxy_anchor": {"metric": "cosine", "loss": {"proxy_anchor": {"learning_rate_multiplier": 50.0}}},
    "mahalanobis": {"metric": "mahalanobis", "loss": {"multi_similarity": {"beta": 10.0}}},
}

COMMON = f"""
import sys
import numpy as np
import keras
import siamkit

folder, backend = sys.argv[1:]
assert keras.backend.backend() == backend
data = np.load(folder + "/data.npz")
x, y, other, alike = (data[name] for name in ("x", "y", "other", "alike"))
CASES = {CASES!r}

def encoded(model, x):
    return keras.ops.convert_to_numpy(model(x))  # not `embed`: compiling tiny networks takes most of the time

def made(case):
    needs = {{"num_classes": 4}} if "proxy_anchor" in case["loss"] else {{}}
    optimizer = keras.optimizers.Adam(0.01)
    encoder = {{"mlp": {{"depth": 1, "width": 16}}}}
    return siamkit.build(encoder, case["metric"], case["loss"], embedding_dim=4, input_shape=(6,),
                         optimizer=optimizer, **needs)
"""

SCRIPT = (
    COMMON
    + """
# The first backend draws the weights from which all start.
if backend == "torch":
    keras.utils.set_random_seed(5)
    for name, case in CASES.items():
        np.savez(f"{folder}/{name}.npz", *made(case).get_weights())
    print("weights", flush=True)
sys.stdin.readline()

curves = {}
for name, case in CASES.items():
    model = made(case)
    weights = np.load(f"{folder}/{name}.npz")
    model.set_weights([weights[key] for key in weights.files])
    inputs, targets = ((x, other), alike) if case.get("pairs") else (x, y)
    told = model.fit(inputs, targets, epochs=20, batch_size=len(x), shuffle=False, verbose=0)
    curves[name] = told.history["loss"]
np.savez(f"{folder}/curves-{backend}.npz", **curves)
model.save(f"{folder}/mahalanobis-{backend}.keras")
# A network of every layer that is built in otherwise: convolution, recurrence, mask.
images, tokens = data["images"], data["tokens"]
cnn = siamkit.build({"cnn": {"filters": 4, "depth": 2}}, "cosine", {"proxy_anchor": {}}, embedding_dim=4,
                    input_shape=images.shape[1:], num_classes=4)
cnn.fit(images, y[:len(images)], verbose=0)
cnn.save(f"{folder}/cnn-{backend}.keras")
lstm = siamkit.build({"lstm": {"units": 8, "token_dim": 4}}, "cosine", "contrastive",
                     embedding_dim=4, input_shape=tokens.shape[1:], vocabulary_size=12)
lstm.save(f"{folder}/lstm-{backend}.keras")
np.savez(f"{folder}/embeddings-{backend}.npz", compared=model.compare(x, other), cnn=encoded(cnn, images),
         lstm=encoded(lstm, tokens), proxies=keras.ops.convert_to_numpy(cnn.loss_state_holder.state.proxies))
print("trained", flush=True)
sys.stdin.readline()

found = {}
for origin in ("tensorflow", "torch", "jax"):
    model, cnn, lstm = (siamkit.load_model(f"{folder}/{name}-{origin}.keras")
                        for name in ("mahalanobis", "cnn", "lstm"))
    found |= {f"{origin}-compared": model.compare(x, other),
              f"{origin}-cnn": encoded(cnn, data["images"]), f"{origin}-lstm": encoded(lstm, data["tokens"]),
              f"{origin}-proxies": keras.ops.convert_to_numpy(cnn.loss_state_holder.state.proxies),
              f"{origin}-steps": keras.ops.convert_to_numpy(cnn.optimizer.iterations)}
    # Each goes on training, a torch optimizer's state under jax's for instance.
    assert model.jit_compile is made(CASES["mahalanobis"]).jit_compile  # "auto" is for this backend to answer
    found[f"{origin}-trained"] = model.fit(x, y, batch_size=len(x), verbose=0).history["loss"]
np.savez(f"{folder}/reloaded-{backend}.npz", **found)
"""
)


class Backend:
    """A process of one backend, which takes its next step on request."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "KERAS_BACKEND": name},
            )

    def go_on(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def wait_for(self, step: str) -> None:
        assert self.process.stdout.readline() == f"{step}\n", f"{self.name}: {self.log.read_text()}"

    def wait_for_end(self) -> None:
        assert self.process.wait() == 0, f"{self.name}: {self.log.read_text()}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data for all backends."""
    folder = tmp_path_factory.mktemp("agree")
    rng = np.random.default_rng(11)
    y = np.arange(24) % 4
    centres = rng.normal(size=(4, 6))
    np.savez(
        folder / "data.npz",
        y=y,
        x=(centres[y] + 0.5 * rng.normal(size=(24, 6))).astype("float32"),
        other=(centres[y] + rng.normal(size=(24, 6))).astype("float32"),
        alike=(np.arange(24) % 3 == 0).astype("int32"),
        images=rng.normal(size=(8, 8, 8, 1)).astype("float32"),
        tokens=(rng.integers(1, 12, size=(6, 5)) * (np.arange(5) < 1 + np.arange(6)[:, None])).astype(
            "int32"
        ),
    )
    return folder


@pytest.fixture(scope="module")
def backends(folder):
    """A process for each backend; each has trained on the same data from the same initial weights."""
    processes = {name: Backend(name, folder) for name in BACKENDS}
    try:
        processes["torch"].wait_for("weights")
        for process in processes.values():
            process.go_on()
        for process in processes.values():
            process.wait_for("trained")
        yield processes.values()
    finally:
        for process in processes.values():
            process.process.kill()
            process.process.communicate()


@pytest.mark.parametrize("case", CASES)
def test_the_same_weights_and_batches_give_the_same_loss_curve(backends, folder, case):
    curves = [np.load(folder / f"curves-{backend}.npz")[case] for backend in BACKENDS]
    assert curves[0].shape == (20,)
    assert curves[0][-1] < 0.95 * curves[0][0]  # it learns, so there is something to agree on
    for curve in curves[1:]:
        np.testing.assert_allclose(curve, curves[0], rtol=1e-3)


def test_a_model_saved_on_one_backend_gives_the_same_embeddings_on_every_other(backends, folder):
    for backend in backends:
        backend.go_on()
    for backend in backends:
        backend.wait_for_end()
    for backend in BACKENDS:
        reloaded = np.load(folder / f"reloaded-{backend}.npz")
        for origin in BACKENDS:
            made = np.load(folder / f"embeddings-{origin}.npz")
            for name in made.files:
                np.testing.assert_allclose(reloaded[f"{origin}-{name}"], made[name], atol=1e-5)
            assert reloaded[f"{origin}-steps"] == 1
            assert np.all(np.isfinite(reloaded[f"{origin}-trained"]))
