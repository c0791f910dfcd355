"""The built-in sources of data: functions of keyword parameters that return a `Dataset`."""

from __future__ import annotations

from siamkit.data.sources.arrays import digits, fashion_mnist, npz
from siamkit.data.sources.images import image_folder
from siamkit.data.sources.tables import table

__all__ = ["digits", "fashion_mnist", "image_folder", "npz", "table"]
