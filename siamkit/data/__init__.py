"""Data: sources, splits, preprocessors and feeds.

Importing this package imports no backend; only `siamkit.data.batches` needs Keras.
"""

from __future__ import annotations

from siamkit.data.dataset import Dataset, Leaf, length, take
from siamkit.data.preprocessing._fit import Preprocessor, fit_preprocessor, load_preprocessor
from siamkit.data.splits import Split, split

__all__ = [
    "Dataset",
    "Leaf",
    "Preprocessor",
    "Split",
    "fit_preprocessor",
    "length",
    "load_preprocessor",
    "split",
    "take",
]
