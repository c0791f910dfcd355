"""The log of a study, read: who takes part, who stopped and why, and what died of what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siamkit.io.paths import is_local


@dataclass
class Logbook:
    """What the log of a run folder says; read on with `look`, as it grows.

    Args:
        folder: the run folder.
        started: by owner, the line with which it started.
        stopped: by owner, the line with which it stopped.
        causes: by trial, what its process died of.
        finals: by trial and repeat, the line with which a finalist started that has not ended yet.
    """

    folder: Path
    started: dict[str, dict[str, Any]] = field(default_factory=dict)
    stopped: dict[str, dict[str, Any]] = field(default_factory=dict)
    causes: dict[int, str] = field(default_factory=dict)
    finals: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    _read: int = 0

    def look(self) -> None:
        """Reads what is new. A log that is missing or damaged says less, and that is all."""
        for line in self._lines():
            owner, event = str(line.get("owner", "")), line["event"]
            if event == "started":
                self.started[owner] = line
                self.stopped.pop(owner, None)
            elif event == "stopped":
                self.stopped[owner] = line
                self.finals = {key: each for key, each in self.finals.items() if each.get("owner") != owner}
            elif event == "trial died":
                self.causes[line["trial"]] = line.get("cause") or self.causes.get(line["trial"], "")
            elif event == "final started":
                self.finals[line["trial"], line["repeat"]] = line
            elif event in ("confirmed", "final died"):
                self.finals.pop((line.get("trial", -1), line["repeat"]), None)

    def last_start(self) -> dict[str, Any] | None:
        """The line with which `tune` last started."""
        tunes = [line for owner, line in self.started.items() if owner.startswith("tune:")]
        return max(tunes, key=lambda line: float(line["time"]), default=None)

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            if is_local(self.folder):
                with (self.folder / "log.jsonl").open("rb") as file:
                    file.seek(self._read)
                    new = file.read()
                new = new[: new.rfind(b"\n") + 1]  # the last line may be half-written
                self._read += len(new)
            else:
                new = b"".join(each.read_bytes() for each in sorted(self.folder.glob("log-*.jsonl")))
        except OSError:
            return
        found = []
        for text in new.splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("event"), str) and "time" in line:
                found.append(line)
        yield from found if is_local(self.folder) else sorted(found, key=lambda each: float(each["time"]))
