"""The built-in sources of data: each a function of keyword parameters that returns a `Dataset`."""

from __future__ import annotations

from siamkit.data.arrays import digits, npz
from siamkit.data.fashion import fashion_mnist
from siamkit.data.images import image_folder
from siamkit.data.tables import table

__all__ = ["digits", "fashion_mnist", "image_folder", "npz", "table"]
