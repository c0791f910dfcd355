"""The specs of the built-in datasets."""

from siamkit.specs import DatasetSpec

DATASETS: list[DatasetSpec] = []
