"""Choose what to try next and what to stop early: samplers, plans and pruners."""

from __future__ import annotations

__all__: list[str] = []
