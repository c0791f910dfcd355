"""What `Siamese.fit` costs over a plain Keras model with the same encoder, loss and batches.

KERAS_BACKEND=jax python benchmarks/speed/fit.py [--runs 9]
"""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np
from timing import medians, report

import siamkit

BATCH, PER_CLASS = 64, 4
OPTIONS: dict[str, Any] = {"batch_size": BATCH, "epochs": 1, "shuffle": False, "verbose": 0}
CASES: dict[str, tuple[tuple[int, ...], dict[str, Any], int]] = {
    "mlp, 64 numbers": ((64,), {"mlp": {"depth": 2, "width": 128}}, 12_800),
    "cnn of 16 filters, 28×28": ((28, 28, 1), {"cnn": {"filters": 16}}, 1_280),
}


def items(shape: tuple[int, ...], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random items, and classes such that each batch in order has four items of each class."""
    x = np.random.default_rng(0).uniform(size=(n, *shape)).astype("float32")
    return x, (np.arange(n) // PER_CLASS % (BATCH // PER_CLASS)).astype("int32")


def main() -> None:
    """Print a row for each encoder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    for title, (shape, encoder, n) in CASES.items():
        x, y = items(shape, n)

        def build(shape: tuple[int, ...] = shape, encoder: dict[str, Any] = encoder) -> Any:
            keras.utils.set_random_seed(1)
            return siamkit.get_encoder(encoder, input_shape=shape, embedding_dim=32)

        ours = siamkit.Siamese(build(), "cosine")
        ours.compile(keras.optimizers.Adam(), "nt_xent")
        plain = keras.Sequential([keras.Input(shape), build()])
        plain.compile(keras.optimizers.Adam(), siamkit.get_loss("nt_xent", metric="cosine"))
        contenders = {
            "siamkit": lambda x=x, y=y, model=ours: model.fit(x, y, **OPTIONS),  # type: ignore[misc]
            "plain Keras": lambda x=x, y=y, model=plain: model.fit(x, y, **OPTIONS),  # type: ignore[misc]
        }
        report(f"an epoch, {title}", medians(contenders, runs), "siamkit", "at most 1.03")


if __name__ == "__main__":
    main()
