"""What happens in a worker: training behind one connection to its supervisor. Used by siamkit alone."""

from __future__ import annotations

__all__: list[str] = []
