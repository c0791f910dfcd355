"""Which Keras backend runs, what it runs on, and in which precision.

Importing this package imports neither Keras nor a backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.backend.diagnosis import diagnose
    from siamkit.backend.select import (
        BACKENDS,
        activate,
        choose_backend,
        float32_required,
        installed,
        is_full_float32,
        keep_compiled,
        require_float32,
    )

__all__ = [
    "BACKENDS",
    "activate",
    "choose_backend",
    "diagnose",
    "float32_required",
    "installed",
    "is_full_float32",
    "keep_compiled",
    "require_float32",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "BACKENDS": "select",
        "activate": "select",
        "choose_backend": "select",
        "diagnose": "diagnosis",
        "float32_required": "select",
        "installed": "select",
        "is_full_float32": "select",
        "keep_compiled": "select",
        "require_float32": "select",
    },
)
