"""Losses of a large batch, and of very many classes: scores in tiles beside all at once; and the peak memory.

    KERAS_BACKEND=torch python benchmarks/speed/tiled.py

On PyTorch a loss is called as it is, on JAX and TensorFlow value and gradient are compiled together. The peak
of resident memory is that of a process that computes one loss and its gradient in tiles.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from timing import medians, report

DIM, BATCH, LARGE_BATCH = 128, 8192, 32_768
CLASSES, CLASS_BATCH = 50_000, 256
LOSSES = ("nt_xent", "sup_con", "info_nce", "multiple_negatives_ranking", "siglip")
CLASS_LOSSES = ("normalized_softmax", "arcface", "proxy_anchor")
RUNS = 3


def step_of(name: str, batch: int, chunk_size: int | None) -> Callable[[], object]:
    """Return a step of a loss: its value, and its gradient by embeddings and class proxies."""
    import keras
    from keras import ops

    import siamkit
    from siamkit.backend.beyond_keras import compiled, stateless, value_and_gradients

    rng = np.random.default_rng(0)
    facts = {"num_classes": CLASSES} if name in CLASS_LOSSES else {}
    views = name not in ("nt_xent", "sup_con", *CLASS_LOSSES)
    points = rng.normal(size=(batch, 2, DIM) if views else (batch, DIM)).astype("float32")
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    classes = CLASSES if facts else batch // 4
    target = None if views else ops.convert_to_tensor((np.arange(batch) % classes).astype("int32"))
    loss = siamkit.get_loss(name, metric="cosine", chunk_size=chunk_size, **facts)
    if loss.state is not None:
        loss.state(points[:1, 0] if views else points[:1])
    weights = [] if loss.state is None else list(loss.state.variables)
    start = ops.convert_to_tensor(points)
    if keras.backend.backend() == "torch":
        import torch

        def eager() -> float:
            leaf = start.clone().requires_grad_()
            value = loss(target, leaf)
            torch.autograd.grad(value, [leaf, *(weight.value for weight in weights)])
            return float(value.detach())

        return eager
    run = compiled(value_and_gradients(stateless(lambda x: loss(target, x), 1, weights)))
    inputs = [start, *(weight.value for weight in weights)]
    return lambda: float(run(*inputs)[0])


def measured(name: str, batch: int) -> dict[str, float]:
    """Return seconds and peak memory of a loss in tiles, in a process of its own."""
    command = [sys.executable, __file__, "--peak", name, "--batch", str(batch)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def peak_mebibytes() -> int:
    """Return the peak of resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peak", help="print seconds and peak memory of this loss in tiles")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--losses", default=",".join((*LOSSES, *CLASS_LOSSES)))
    arguments = parser.parse_args()
    if arguments.peak:
        step = step_of(arguments.peak, arguments.batch, None)
        before = peak_mebibytes()
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "before": before, "peak": peak_mebibytes()}))
        return
    # First the peaks: a process starts with the peak of the one that started it.
    for name in arguments.losses.split(","):
        batch = CLASS_BATCH * 16 if name in CLASS_LOSSES else LARGE_BATCH
        found = measured(name, batch)
        rows = f"batch {batch:,}" + (f", {CLASSES:,} classes" if name in CLASS_LOSSES else "")
        report(
            f"{name}, {rows} × {DIM}, peak memory {found['peak'] / 1024:.1f} GiB",
            {"tiles": found["seconds"]},
            "tiles",
            "under 4 GB",
            peak_mebibytes=found["peak"],
            before_mebibytes=found["before"],
        )
    for name in arguments.losses.split(","):
        batch, against = (CLASS_BATCH, CLASSES) if name in CLASS_LOSSES else (BATCH, BATCH)
        contenders = {"tiles": step_of(name, batch, None), "all at once": step_of(name, batch, against)}
        seconds = medians(contenders, RUNS)
        rows = f"batch {batch:,}" + (f", {CLASSES:,} classes" if name in CLASS_LOSSES else "")
        report(f"{name}, {rows} × {DIM}", seconds, "tiles", "≤ 1.5 × all at once")


if __name__ == "__main__":
    main()
