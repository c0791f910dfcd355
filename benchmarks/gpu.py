"""siamkit on an accelerator, beside what its arithmetic and its memory allow.

    KERAS_BACKEND=torch python benchmarks/gpu.py [--only search,study] [--limit 60] > gpu.md

Needs Python, one backend and siamkit only, and takes up to six minutes. If pytorch-metric-learning is
installed, losses are compared with it. Each part runs in a process of its own, since a process keeps the
device's memory that it once reserved; a part that takes too long is ended. The floors are measured first: a
large copy in the device's memory, and a large product in full float32.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
DIM = 128
STUDY = """\
version: 1
name: gpu
seed: 1
data: {{path: images.npz, split: {{by: item, train: 0.8, valid: 0.1, test: 0.1}}}}
search:
  encoder: [{{cnn: {{filters: 16, normalization: batch, pooling: average}}}}]
  metric: [cosine, euclidean]
  loss: [triplet, contrastive, nt_xent]
  embedding_dim: [32, 64]
  learning_rate: {{low: 0.0003, high: 0.003, log: true}}
fixed: {{epochs: 4, batch_size: 128}}
objectives: {{map_at_r: maximize}}
baselines: null
budget: {{trials: 12}}
confirm: {{top: 2, seeds: 2}}
workers: {workers}
resources: {{gpus: {share}}}
"""


def row(work: str, seconds: float | str, floor: float | str = "", target: str = "") -> None:
    """Print a row of the table."""
    cells = (f"{each:.3g}" if isinstance(each, float) else each for each in (seconds, floor))
    print("| " + " | ".join((work, *cells, target)) + " |", flush=True)


def median_seconds(run: Callable[[], object], runs: int = 5) -> float:
    """Return the median seconds of a function that waits for its result; it runs once before."""
    seconds = []
    for _ in range(runs + 1):
        gc.collect()
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


# ------------------------------------------------------------------ the parts


def floors() -> None:
    """Measure how quick copies and products are, and keep the rates for the other parts."""
    from keras import ops

    from siamkit.backend.select import float32_required

    def rate(step: Callable[[Any], Any], x: Any, times: int = 10) -> float:
        def run() -> None:
            y = x
            for _ in range(times):
                y = step(y)
            ops.convert_to_numpy(y[:1, :1])

        return median_seconds(run, 3) / times

    x = ops.ones((2**14, 2**14))
    copied = rate(lambda y: y + 1, x)
    side = 2**13
    a = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(side, side)).astype("float32"))
    with float32_required():
        product = rate(lambda y: ops.matmul(a, y) * 0.01, a)
    rates = {"bytes": 2 * 4 * 2**28 / copied, "operations": 2 * side**3 / product}
    Path(os.environ["RATES"]).write_text(json.dumps(rates))
    row("a copy of 1 GiB in the device's memory", copied, "", f"{rates['bytes'] / 1e12:.2f} TB/s")
    row(f"a product of {side:,}³ in float32", product, "", f"{rates['operations'] / 1e12:.1f} TFLOP/s")


def floor_of(operations: float, moved: float) -> float:
    """Return the seconds that operations and bytes take at least, at the measured rates."""
    rates = json.loads(Path(os.environ["RATES"]).read_text())
    return float(max(operations / rates["operations"], moved / rates["bytes"]))


def clusters(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors `(n, 128)`, and their classes, each of five items."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) // 5
    x = rng.standard_normal((n // 5 + 1, DIM), np.float32)[labels] + rng.standard_normal((n, DIM), np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True), labels


def search() -> None:
    """MAP@R, all groups of measures, and the neighbors of a few queries among many items."""
    import siamkit
    from siamkit.evaluation import nearest_neighbors

    def floor(queries: int, items: int) -> float:
        return floor_of(2 * queries * items * DIM, 2 * 4 * queries * items)

    for n, target in ((10_000, ""), (60_000, "1")):
        x, labels = clusters(n)

        def retrieval(x: np.ndarray = x, labels: np.ndarray = labels) -> object:
            return siamkit.evaluate(x, labels, groups=("retrieval",))

        row(f"MAP@R of {n:,} × {DIM}", median_seconds(retrieval, 3), floor(n, n), target)
    x, labels = clusters(10_000)
    row(f"all groups of 10,000 × {DIM}", median_seconds(lambda: siamkit.evaluate(x, labels), 1))
    gallery, _ = clusters(1_000_000)
    queries = clusters(10_000)[0]
    among_many = median_seconds(lambda: nearest_neighbors(queries, gallery, "cosine", 10), 1)
    row(f"10 neighbors of 10,000 among 1,000,000 × {DIM}", among_many, floor(10_000, 1_000_000), "10")


def losses() -> None:
    """Each loss and its gradient, by its median ratio to pytorch-metric-learning's on the same device."""
    if not find_spec("pytorch_metric_learning"):
        row("losses", "not compared: pytorch-metric-learning is not installed")
        return
    jitted = os.environ["KERAS_BACKEND"] != "torch"
    some = ["triplet", "nt_xent", "sup_con", "multi_similarity", "arcface", "lifted_structure", "circle"]
    script = [sys.executable, str(HERE / "speed" / "losses.py"), "--runs", "3"]
    script += ["--losses", ",".join(some)] if jitted else []  # compiling all of them takes minutes
    for batch in ("256", "4096"):
        run = subprocess.run([*script, "--batches", batch], stdout=subprocess.PIPE, text=True, check=False)
        for line in run.stdout.splitlines():
            if not line.startswith("{"):
                row("losses, " + line, "")
                continue
            found = json.loads(line)
            ratio = found["ratios"]["pytorch-metric-learning"]
            seconds = found["seconds"]
            row(
                found["case"],
                seconds["siamkit"],
                floor_of(0, 2 * 4 * float(batch) ** 2),
                f"{ratio:.2f} × PML ({seconds['pytorch-metric-learning']:.2g} s)",
            )


def memory() -> None:
    """Steps of large batches: time, and the most memory of the device in use."""
    import siamkit
    from siamkit.backend.beyond_keras import compiled, gradient_function

    rng = np.random.default_rng(0)
    # By memory, since JAX tells the most since the process began.
    cases: list[tuple[str, dict[str, Any], int]] = [(name, {}, 32768) for name in ("nt_xent", "sup_con")]
    cases += [("triplet", {"mining": "semihard"}, batch) for batch in (1024, 4096, 16384)]
    cases += [(name, {}, 32768) for name in ("lifted_structure", "multi_similarity")]
    for name, params, batch in cases:
        labels = np.repeat(np.arange(batch // 4, dtype="int32"), 4)
        points = rng.standard_normal((batch, DIM), np.float32)
        loss = siamkit.get_loss(name, metric="cosine", **params)

        run = gradient_function(lambda x, loss=loss, labels=labels: loss(labels, x), 1, compile=compiled)

        try:
            seconds: float | str = median_seconds(lambda run=run, points=points: run(points), 3)  # type: ignore[misc]
        except Exception as error:  # the table says so, and goes on
            seconds = f"{type(error).__name__}: {str(error)[:80]}"
        title = f"{name}{' semi-hard' if params else ''}, batch {batch:,}"
        row(title, seconds, floor_of(2 * 2 * batch**2 * DIM, 2 * 4 * batch**2), peak_memory())


def peak_memory() -> str:
    """Return the most memory of the device that this process had in use, on torch since the last call."""
    if os.environ["KERAS_BACKEND"] == "torch":
        import torch

        if not torch.cuda.is_available():
            return ""
        peak = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    else:
        import jax

        peak = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    return f"{peak / 2**30:.1f} GiB at most"


def used_memory() -> str:
    """Return the device's memory in use by all processes, in words."""
    command = ["nvidia-smi", "--query-gpu=memory.used,name", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def images(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images `(n, 28, 28, 1)` of ten patterns with noise, and their classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, n).astype("int32")
    patterns = rng.uniform(size=(10, 7, 7, 1)).repeat(4, axis=1).repeat(4, axis=2)
    noisy = patterns[labels] + rng.normal(scale=0.3, size=(n, 28, 28, 1))
    return noisy.clip(0, 1).astype("float32"), labels


def training() -> None:
    """An epoch of `fit`, beside a classifier of bare Keras around the same encoder."""
    import keras

    import siamkit

    x, y = images(20_000)

    def encoder() -> Any:
        return siamkit.get_encoder("cnn", input_shape=(28, 28, 1), embedding_dim=64, filters=16)

    model = siamkit.Siamese(encoder(), "cosine")
    model.compile("adam", "nt_xent")
    bare = keras.Sequential([encoder(), keras.layers.Dense(10)])
    bare.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ours = median_seconds(lambda: model.fit(x, y, batch_size=128, epochs=1, verbose=0), 3)
    theirs = median_seconds(lambda: bare.fit(x, y, batch_size=128, epochs=1, verbose=0), 3)
    row("an epoch of 20,000 images, batch 128", ours, theirs, "floor: a classifier of bare Keras")


def batches() -> None:
    """Steps on batches that are gathered on the host, and in the device's memory.

    The floor of any way to gather there is one batch that is in the device's memory already.
    """
    import keras

    import siamkit
    from siamkit.data import Dataset, feed

    class Resident(keras.utils.PyDataset):  # type: ignore[misc, unused-ignore]
        """One batch, as tensors of the backend, again and again."""

        def __init__(self, batch: Any, length: int) -> None:
            super().__init__()
            self._batch, self._length = keras.tree.map_structure(keras.ops.convert_to_tensor, batch), length

        def __len__(self) -> int:
            return self._length

        def __getitem__(self, index: int) -> Any:
            return self._batch

    rng = np.random.default_rng(0)
    for side, channels, n in ((28, 1, 20_000), (96, 3, 5_000)):
        x, y = rng.random((n, side, side, channels), np.float32), rng.integers(0, 10, n)
        dataset = Dataset((x,), y, "labels", "image")
        gathered = feed(dataset, "labels", batch_size=128, seed=0)
        on_device = feed(dataset, "labels", batch_size=128, seed=0, on_device=True)
        is_there = keras.ops.is_tensor(on_device[0][0])  # not on TensorFlow, nor without an accelerator
        resident = Resident(gathered[0], len(gathered))
        shape = (side, side, channels)
        encoder = siamkit.get_encoder("cnn", input_shape=shape, embedding_dim=64, filters=16)
        model = siamkit.Siamese(encoder, "cosine")
        model.compile("adam", "nt_xent")

        def seconds(data: Any, model: Any = model) -> float:
            return median_seconds(lambda: model.fit(data, verbose=0, shuffle=False), 5) / len(data)

        work = f"a step on 128 images of {side} × {side} × {channels}"
        floor = seconds(resident)
        note = f"floor: a batch in the device's memory; {gathered[0][0].nbytes / 1e6:.1f} MB a batch"
        row(f"{work}, gathered on the host", seconds(gathered), floor, note)
        where = "in the device's memory" if is_there else "on the host, as items stay there"
        row(f"{work}, gathered {where}", seconds(on_device), floor, note)


def study() -> None:
    """A study of 12 trials with its finalists confirmed: by four workers, by as many as fit, by one."""
    x, y = images(10_000)
    for workers, share in ((4, "0.25"), ("auto", "null"), (1, "1")):
        with tempfile.TemporaryDirectory() as folder:
            np.savez(Path(folder) / "images.npz", x=(x * 255).astype("uint8"), y=y)
            (Path(folder) / "study.yaml").write_text(STUDY.format(workers=workers, share=share))
            start = time.perf_counter()
            command = [sys.executable, "-c", "from siamkit.cli import main; main()", "tune", "study.yaml"]
            log = Path(folder) / "log"
            with log.open("w") as output:
                run = subprocess.run(command, cwd=folder, stdout=output, stderr=output, check=False)
            seconds = time.perf_counter() - start
            if run.returncode:
                print(log.read_text()[-3000:], file=sys.stderr, flush=True)
            title = f"a study of 12 trials, 2 × 2 finalists; workers: {workers}, gpus: {share}"
            said = [line for line in log.read_text().splitlines() if "the first trial took" in line]
            note = " ".join(("60", *said))
            row(title, seconds if not run.returncode else f"exit code {run.returncode}", "", note)


def tests() -> None:
    """The tests of losses, metrics and models, on the device."""
    folders = [HERE.parent / "tests" / name for name in ("losses", "metrics", "model")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "keras and not waits"]
    command += ["-n", "8"] if find_spec("xdist") else []
    run = subprocess.run([*command, *folders], capture_output=True, text=True, check=False, cwd=HERE.parent)
    lines = run.stdout.strip().splitlines()
    for line in lines:
        if line.startswith(("FAILED", "ERROR", "E  ")):
            print(line[:300], file=sys.stderr, flush=True)
    row("tests of losses, metrics and models", lines[-1] if lines else run.stderr[-300:])


PARTS: dict[str, tuple[Callable[[], None], int]] = {
    "floors": (floors, 60),
    "search": (search, 120),
    "losses": (losses, 150),
    "memory": (memory, 90),
    "training": (training, 60),
    "batches": (batches, 60),
    "study": (study, 240),
    "tests": (tests, 150),
}


def main() -> None:
    """Run the parts, each in a process of its own, and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--limit", type=int, default=240, help="the most seconds of a part")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        PARTS[arguments.part][0]()
        return
    backend = os.environ.setdefault("KERAS_BACKEND", "torch")
    print(f"## {backend}, {used_memory() or 'no nvidia-smi here'}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "RATES": str(Path(folder) / "rates.json"),
            "SIAMKIT_CACHE": folder,
            **os.environ,
        }
        for part in dict.fromkeys(("floors", *arguments.only.split(","))):
            start = time.perf_counter()
            print("| work | seconds | floor | target, notes |\n|---|---:|---:|---|", flush=True)
            command = [sys.executable, __file__, "--part", part]
            run = subprocess.Popen(command, env=environment, start_new_session=True)
            limit = min(PARTS[part][1], arguments.limit)
            try:
                run.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)  # what it has started, too
                row(f"{part}: ended", f"over {limit}")
            print(f"\n{part}: {time.perf_counter() - start:.0f} s in all\n", flush=True)


if __name__ == "__main__":
    main()
