"""How long an encoder takes for an item."""

from __future__ import annotations

import statistics
import time
from typing import Any

import keras

BATCH, TIMED = 256, 7


def ms_per_item(encoder: keras.Model, items: Any) -> float:
    """Milliseconds for an item: the median over a few full batches, after one that warms up.

    It is this machine's time, with whatever else runs on it.

    Args:
        encoder: a built Keras model.
        items: prepared items, an array or a dict of arrays; the first 256 are embedded, over and over.
    """
    size = len(next(iter(items.values()))) if isinstance(items, dict) else len(items)
    size = min(BATCH, size)
    batch = {key: leaf[:size] for key, leaf in items.items()} if isinstance(items, dict) else items[:size]
    encoder.predict_on_batch(batch)  # compiles
    seconds = []
    for _ in range(TIMED):
        start = time.perf_counter()
        encoder.predict_on_batch(batch)  # gives NumPy, so it waits for the device
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds) / size
