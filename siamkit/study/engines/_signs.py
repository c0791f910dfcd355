"""Signs in run folders, by which other machines see that they see the same folder and not one of its name."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from siamkit.io.files import write_text
from siamkit.io.paths import as_path
from siamkit.study.worker.messages import Job


class Signs:
    """The signs that one supervisor has put up."""

    def __init__(self) -> None:
        self._up: dict[str, Path] = {}

    def of(self, job: Job) -> str:
        """The sign in the run folder that a job writes to, a path or URL; empty where it writes nothing."""
        if not job.place:
            return ""
        folder = as_path(job.place).parents[2]  # it writes to <run folder>/trials/<trial>/<token>, say
        sign = self._up.get(str(folder))
        if sign is None:
            sign = self._up[str(folder)] = folder / f".sign-{secrets.token_hex(8)}"
            write_text(sign, "")
        return str(sign)

    def take_down(self) -> None:
        for sign in self._up.values():
            with contextlib.suppress(OSError):
                sign.unlink(missing_ok=True)
        self._up.clear()
