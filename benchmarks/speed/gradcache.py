"""Memory and time of a training step with micro_batch (GradCache), beside the whole batch at once.

Each contender runs in a process of its own, so that its peak of resident memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

from timing import report

BATCH, MICRO, SIDE, FILTERS, STEPS = 4096, 64, 28, 32, 3


def step_of(micro_batch: int | None) -> None:
    """Print the peak memory before training and in it, and the median seconds of a step."""
    import numpy as np

    import siamkit

    encoder = siamkit.get_encoder(
        "cnn", input_shape=(SIDE, SIDE, 1), embedding_dim=64, filters=FILTERS, normalization="layer"
    )
    model = siamkit.Siamese(encoder, "cosine")
    model.compile("sgd", "sup_con", micro_batch=micro_batch)
    x = np.random.default_rng(0).normal(size=(BATCH, SIDE, SIDE, 1)).astype("float32")
    y = (np.arange(BATCH) % 256).astype("int32")
    model.train_on_batch(x[:MICRO], y[:MICRO])
    before, seconds = peak_mebibytes(), []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        model.train_on_batch(x, y)
        seconds.append(time.perf_counter() - start)
    peak = peak_mebibytes()
    print(json.dumps({"seconds": statistics.median(seconds[1:]), "before": before, "peak": peak}))


def peak_mebibytes() -> int:
    """Return the peak of resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measured(micro_batch: int | None) -> dict[str, float]:
    """Return what `step_of` prints in a process of its own."""
    command = [sys.executable, __file__, "--micro-batch", str(micro_batch or 0)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--micro-batch", type=int)
    asked = parser.parse_args().micro_batch
    if asked is not None:
        step_of(asked or None)
        return
    found = {"micro_batch": measured(MICRO), "whole batch": measured(None)}
    report(
        f"a step of batch {BATCH:,}, micro_batch {MICRO}, CNN of {FILTERS} filters on {SIDE}×{SIDE}",
        {name: each["seconds"] for name, each in found.items()},
        "micro_batch",
        "≤ 4/3 of the time, memory of the micro-batch",
        peak_mebibytes={name: each["peak"] for name, each in found.items()},
        before_mebibytes={name: each["before"] for name, each in found.items()},
    )


if __name__ == "__main__":
    main()
