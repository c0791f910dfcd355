"""Models for other runtimes: a description as plain data, and encoders as ONNX and SavedModel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.export.formats import (
        ExportedEncoder,
        check_formats,
        describe_model,
        export_encoder,
        write_model,
    )

__all__ = ["ExportedEncoder", "check_formats", "describe_model", "export_encoder", "write_model"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ExportedEncoder": "formats",
        "check_formats": "formats",
        "describe_model": "formats",
        "export_encoder": "formats",
        "write_model": "formats",
    },
)
