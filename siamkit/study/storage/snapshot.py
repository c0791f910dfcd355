"""The snapshot of a study in its storage, and the check that a study is resumed as it was started."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import TypeAlias

import optuna
from pydantic import JsonValue

from siamkit.errors import StudyError
from siamkit.study.storage.retry import with_retries

ATTRIBUTE = "frozen"
# MySQL's TEXT holds 65,535 bytes; a split by class that names ten thousand people is longer.
MAX_TEXT_LENGTH = 60_000
COMPARED = ("layout", "study", "objectives", "data", "versions")

SnapshotData: TypeAlias = dict[str, JsonValue]
"""A snapshot as plain data, as `study.json` has it; `siamkit.runs.Snapshot` is its type."""


def store_snapshot(optuna_study: optuna.Study, snapshot: SnapshotData, folder: Path, remedy: str) -> None:
    """Store the snapshot of a new study; compare it with the stored one if there is one.

    Raises:
        StudyError: the study was started differently.
    """
    stored = read_snapshot(optuna_study)
    if stored is None:
        for name, value in _attributes(snapshot).items():  # the one that `read_snapshot` looks for comes last
            with_retries(optuna_study.set_user_attr, name, value)
    else:
        check_unchanged(stored, snapshot, folder, remedy)


def read_snapshot(optuna_study: optuna.Study) -> SnapshotData | None:
    """Return the stored snapshot, or None if there is none."""
    attributes = with_retries(lambda: optuna_study.user_attrs)
    stored: SnapshotData | None = attributes.get(ATTRIBUTE)
    if stored is None or not isinstance(stored.get("parts"), int):
        return stored
    text = "".join(attributes[f"{ATTRIBUTE}.{number}"] for number in range(int(str(stored["parts"]))))
    snapshot: SnapshotData = json.loads(zlib.decompress(base64.b64decode(text)))
    return snapshot


def _attributes(snapshot: SnapshotData) -> SnapshotData:
    """Return the attributes that store a snapshot: one, or several if it is long."""
    text = json.dumps(snapshot)
    if len(text) <= MAX_TEXT_LENGTH:
        return {ATTRIBUTE: snapshot}
    packed = base64.b64encode(zlib.compress(text.encode())).decode()
    parts = [packed[start : start + MAX_TEXT_LENGTH] for start in range(0, len(packed), MAX_TEXT_LENGTH)]
    return {
        **{f"{ATTRIBUTE}.{number}": part for number, part in enumerate(parts)},
        ATTRIBUTE: {"parts": len(parts)},
    }


def check_unchanged(stored: SnapshotData, current: SnapshotData, folder: Path, remedy: str) -> None:
    """Check that a study is resumed as it was started.

    Args:
        stored: the stored snapshot.
        current: the snapshot as it would be now.
        folder: the run folder, for the message.
        remedy: what the user can do, for the message.

    Raises:
        StudyError: the two differ; the message names the first difference.
    """
    for part in COMPARED:
        difference = _difference(part, stored.get(part), current.get(part))
        if difference is None:
            continue
        name, old, new = difference
        study = f"the study in {str(folder)!r} was started with"
        if name == "versions.backend":
            raise StudyError(f"{study} the backend {old!r}, not {new!r}; to continue it, use --backend {old}")
        if name == "data.fingerprint":
            raise StudyError(f"{study} other data than these; {remedy}")
        raise StudyError(f"{study} another {name} ({old!r:.80}, now {new!r:.80}); {remedy}")


def _difference(name: str, old: JsonValue, new: JsonValue) -> tuple[str, JsonValue, JsonValue] | None:
    """Return the first difference between plain data: its dotted name and both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            difference = _difference(f"{name}.{key}", old.get(key), new.get(key))
            if difference is not None:
                return difference
        return None
    return None if old == new else (name, old, new)
