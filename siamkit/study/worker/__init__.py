"""Workers: training behind one connection to the supervisor. Used by siamkit alone."""

from __future__ import annotations

__all__: list[str] = []
