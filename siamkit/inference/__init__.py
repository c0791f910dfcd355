"""Embed files of any size with a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.inference.embed import embed_file

__all__ = ["embed_file"]

__getattr__, __dir__ = lazy_exports(__name__, {"embed_file": "embed"})
