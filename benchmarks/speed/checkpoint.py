"""CPU seconds to write a model with its optimizer, and of these to copy its arrays to the host.

KERAS_BACKEND=torch python benchmarks/speed/checkpoint.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import siamkit


def model_of(megabytes: float) -> siamkit.Siamese:
    """Return a model with weights of this size, and an optimizer that has taken a step."""
    width = round((megabytes * 2**18 + 288**2) ** 0.5 - 288)  # w² + 576 w weights
    encoder = keras.Sequential([keras.Input((512,)), *map(keras.layers.Dense, (width, width, 64))])
    model = siamkit.Siamese(encoder, "cosine")
    model.compile("adam", "sup_con")
    items = np.random.default_rng(0).normal(size=(64, 512)).astype("float32")
    model.fit(items, np.repeat(np.arange(16), 4), batch_size=64, verbose=0)
    return model


def copied(variable: keras.Variable) -> np.ndarray:
    """Return the value of a variable as an array of its own."""
    return np.array(keras.ops.convert_to_numpy(variable.value))


def cpu_seconds(run: Callable[[], object]) -> float:
    """Return the median of five runs."""
    seconds = []
    for _ in range(5):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def main() -> None:
    """Print a line for models of 1, 10 and 100 MB."""
    model_of(0.1)
    for megabytes in (1, 10, 100):
        model = model_of(megabytes)
        variables = [*model.variables, *model.optimizer.variables]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.keras"
            save = cpu_seconds(lambda model=model, file=file: model.save(file))
            size = file.stat().st_size / 1e6
        copy = cpu_seconds(lambda variables=variables: [*map(copied, variables)])
        name = f"{keras.backend.backend()}: weights of {megabytes} MB, file of {size:.0f} MB"
        print(f"{name}: {save:.3f} s, to copy the arrays {copy:.3f} s", flush=True)


if __name__ == "__main__":
    main()
