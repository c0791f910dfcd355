"""The frozen study: kept in the storage, and compared with what would go on."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import optuna

from siamkit.errors import StudyError
from siamkit.study.storage.retry import with_retries

# A text of MySQL's holds 65,535 bytes; a split by class that names ten thousand people is longer.
LONGEST = 60_000
COMPARED = ("layout", "study", "objectives", "data", "versions")


def freeze(study: optuna.Study, frozen: dict[str, Any], folder: Path, remedy: str) -> None:
    """Writes what is frozen into the storage, or compares it with what is there.

    Raises:
        StudyError: the study was begun otherwise.
    """
    before = read_snapshot(study)
    if before is None:
        for name, value in _packed(frozen).items():  # the one that is looked for is the last
            with_retries(study.set_user_attr, name, value)
    else:
        compare(before, frozen, folder, remedy)


def read_snapshot(study: optuna.Study) -> dict[str, Any] | None:
    """What is frozen in the storage."""
    attrs = with_retries(lambda: study.user_attrs)
    before: dict[str, Any] | None = attrs.get("frozen")
    if before is None or "parts" not in before:
        return before
    text = "".join(attrs[f"frozen.{number}"] for number in range(before["parts"]))
    whole: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(text)))
    return whole


def _packed(frozen: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(frozen)
    if len(text) <= LONGEST:
        return {"frozen": frozen}
    packed = base64.b64encode(zlib.compress(text.encode())).decode()
    parts = [packed[start : start + LONGEST] for start in range(0, len(packed), LONGEST)]
    return {**{f"frozen.{n}": part for n, part in enumerate(parts)}, "frozen": {"parts": len(parts)}}


def compare(before: dict[str, Any], now: dict[str, Any], folder: Path, remedy: str) -> None:
    """Raises StudyError where a study was begun otherwise than it would go on, naming the difference.

    Args:
        before: what is frozen.
        now: what would be frozen now.
        folder: the run folder, for the message.
        remedy: what to do about it, for the message.
    """
    for part in COMPARED:
        found = _difference(part, before.get(part), now.get(part))
        if found is not None:
            where, old, new = found
            told = f"the study in {str(folder)!r} was begun with"
            if where == "versions.backend":
                raise StudyError(f"{told} the backend {old!r}, not {new!r}; --backend {old} goes on with it")
            if where == "data.fingerprint":
                raise StudyError(f"{told} other data than are there now; {remedy}")
            raise StudyError(f"{told} another {where} ({old!r:.80}, now {new!r:.80}); {remedy}")


def _difference(where: str, old: Any, new: Any) -> tuple[str, Any, Any] | None:
    """The first place where two pieces of plain data differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            found = _difference(f"{where}.{key}", old.get(key), new.get(key))
            if found is not None:
                return found
        return None
    return None if old == new else (where, old, new)
