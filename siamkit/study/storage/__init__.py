"""The storage of a study: trials with leases and fencing, in Optuna's storages. Used by siamkit alone."""

from __future__ import annotations

__all__: list[str] = []
