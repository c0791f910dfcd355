"""Running a study: one session for each process, a supervisor of workers, a scheduler of trials. Internal."""

from __future__ import annotations

__all__: list[str] = []
