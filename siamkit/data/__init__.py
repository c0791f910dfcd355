"""Data: sources, splits, preprocessors and feeds.

Importing this package imports no backend; only `feed` needs Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports
from siamkit.backend.select import prepare

if TYPE_CHECKING:
    from siamkit.data.ablation import ChannelStats, ablate, corrupt
    from siamkit.data.augmentation import augmenter
    from siamkit.data.batches import feed
    from siamkit.data.dataset import Dataset, Leaf, length, take
    from siamkit.data.inspection import ClassSizes, DataReport, Duplicates, ImageFacts, inspect
    from siamkit.data.leakage import find_overlap
    from siamkit.data.preprocessing import Altered, Preprocessor
    from siamkit.data.preprocessing.columns import fit_preprocessor, load_preprocessor
    from siamkit.data.splits import Split, SplitOption, split
    from siamkit.data.thumbnails import Thumbnail, thumbnail_of

__all__ = [
    "Altered",
    "ChannelStats",
    "ClassSizes",
    "DataReport",
    "Dataset",
    "Duplicates",
    "ImageFacts",
    "Leaf",
    "Preprocessor",
    "Split",
    "SplitOption",
    "Thumbnail",
    "ablate",
    "augmenter",
    "corrupt",
    "feed",
    "find_overlap",
    "fit_preprocessor",
    "inspect",
    "length",
    "load_preprocessor",
    "split",
    "take",
    "thumbnail_of",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Dataset": "dataset",
        "Leaf": "dataset",
        "Altered": "preprocessing",
        "Preprocessor": "preprocessing",
        "Split": "splits",
        "Thumbnail": "thumbnails",
        "ChannelStats": "ablation",
        "corrupt": "ablation",
        "ablate": "ablation",
        "augmenter": "augmentation",
        "feed": "batches",
        "ClassSizes": "inspection",
        "DataReport": "inspection",
        "Duplicates": "inspection",
        "ImageFacts": "inspection",
        "inspect": "inspection",
        "SplitOption": "splits",
        "find_overlap": "leakage",
        "fit_preprocessor": "preprocessing.columns",
        "length": "dataset",
        "load_preprocessor": "preprocessing.columns",
        "split": "splits",
        "take": "dataset",
        "thumbnail_of": "thumbnails",
    },
    before=prepare,
    only={"feed"},  # the others need no backend
)
