"""A tiny study over items made by chance, whose file tests change by parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from siamkit.study import tune
from siamkit.study.results.results import Results

HEAD = """\
version: 1
baselines: null
name: tiny
seed: 3
data: {path: items.npz, split: {train: 0.5, valid: 0.25, test: 0.25}}
fixed: {batch_size: 8, epochs: 3}
search:
  encoder: {mlp: {depth: 1, width: 8, dropout: 0.0}}
  metric: euclidean
  loss: {triplet: {margin: 0.2, mining: all}}
  embedding_dim: {low: 2, high: 90}
budget: {trials: 4}
"""

Run = Callable[..., Results]


def write_items(path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.normal(size=(48, 5)).astype("float32"), y=np.repeat(np.arange(4), 12))


def changing(folder: Path, text: str) -> Run:
    """Writes a study and its items; each call runs it, with parts of its file replaced for good."""
    write_items(folder / "items.npz")
    path = folder / "study.yaml"
    path.write_text(text)

    def run(*changes: tuple[str, str]) -> Results:
        text = path.read_text()
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path.write_text(text)
        return tune(path, progress="none")

    return run
