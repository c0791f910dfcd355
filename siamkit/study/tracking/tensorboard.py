"""TensorBoard: event files in the run folder, a run for each trial, written without TensorBoard."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siamkit.study.tracking.base import Attempt, is_number


class TensorBoard:
    """Writes epochs as scalars, and at the end factors and final measures as hyperparameters.

    Args:
        folder: the runs' parent; a trial's first seed is `<trial>`, its later ones `<trial>/seed-<n>`, a
            finalist's repeat `final-<trial>-<repeat>`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[tuple[str, int], EventFile] = {}

    def started(self, attempt: Attempt) -> None:
        self._file(attempt, 0)

    def epoch(self, attempt: Attempt, repeat: int, row: dict[str, Any]) -> None:
        measures = {k: v for k, v in row.items() if k not in ("epoch", "repeat") and is_number(v)}
        self._file(attempt, repeat).scalars(measures, int(row["epoch"]))

    def ended(self, attempt: Attempt, outcome: str, cause: str, measures: dict[str, float]) -> None:
        file = self._file(attempt, 0)
        final = {f"final/{name}": value for name, value in measures.items() if is_number(value)}
        if final:
            file.scalars(final, 0)
        chosen = {key: value for key, value in attempt.factors.items() if value is not None}
        plain = {
            key: each if isinstance(each, (str, int, float)) else str(each) for key, each in chosen.items()
        }
        file.hyperparameters({**plain, "outcome": outcome}, list(final), outcome in ("complete", "pruned"))
        for key in [key for key in self._files if key[0] == attempt.name]:
            self._files.pop(key).close()

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _file(self, attempt: Attempt, repeat: int) -> EventFile:
        key = attempt.name, repeat
        if key not in self._files:
            folder = self._folder / attempt.name
            self._files[key] = EventFile(folder / f"seed-{repeat}" if repeat else folder, attempt.token)
        return self._files[key]


Scalar = str | bool | int | float


class EventFile:
    """One event file; each event is on the disk when the call returns.

    Args:
        folder: of the run; created if it does not exist.
        suffix: of the file's name, different for each writer.
    """

    def __init__(self, folder: Path, suffix: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        host = socket.gethostname().split(".")[0]
        name = f"events.out.tfevents.{int(time.time()):010}.{host}.{suffix}"
        self._file = (folder / name).open("ab", buffering=0)
        self._write(text(3, "brain.Event:2"))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write measures at one step."""
        each = [text(1, tag) + single(2, value) for tag, value in values.items()]
        self._write(number(2, step) + nested(5, b"".join(nested(1, value) for value in each)))

    def hyperparameters(self, chosen: Mapping[str, Scalar], measures: list[str], success: bool) -> None:
        """Write the hyperparameters of a run, and the names of its measures."""
        infos = [nested(4, text(1, name) + number(4, kind_of(value))) for name, value in chosen.items()]
        metrics = [nested(5, nested(1, text(2, tag))) for tag in measures]
        pairs = [nested(1, text(1, name) + nested(2, value_of(each))) for name, each in chosen.items()]
        self._hparams("experiment", nested(2, b"".join(infos + metrics)))
        self._hparams("session_start_info", nested(3, b"".join(pairs)))
        self._hparams("session_end_info", nested(4, number(1, 1 if success else 2)))

    def close(self) -> None:
        self._file.close()

    def _hparams(self, part: str, content: bytes) -> None:
        plugin = nested(1, text(1, "hparams") + nested(2, content))
        self._write(nested(5, nested(1, text(1, f"_hparams_/{part}") + nested(9, plugin))))

    def _write(self, event: bytes) -> None:
        data = double(1, time.time()) + event
        length = struct.pack("<Q", len(data))
        self._file.write(length + checksum(length) + data + checksum(data))


# ------------------------------------------------- protocol buffers: a field's number, its type, its value


def varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def double(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value)


def nested(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def text(field: int, value: str) -> bytes:
    return nested(field, value.encode())


def single(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


def value_of(value: Scalar) -> bytes:
    """A google.protobuf.Value."""
    if isinstance(value, str):
        return text(3, value)
    return number(4, int(value)) if isinstance(value, bool) else double(2, float(value))


def kind_of(value: Scalar) -> int:
    return 1 if isinstance(value, str) else 2 if isinstance(value, bool) else 3


# ------------------------------------------------- CRC-32C, rotated and shifted as TensorFlow does


def _table() -> tuple[int, ...]:
    table = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)
        table.append(entry)
    return tuple(table)


_TABLE = _table()


def checksum(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
