"""TensorBoard: event files in the run folder, written without TensorBoard.

tensorboardX could also write them, but it imports PyTorch if that is installed: this takes seconds and
hundreds of megabytes in the process that only supervises, and under `engine: inline` it loads a second
framework. A file is a sequence of records with checksums, each a protocol buffer with few fields.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from siamkit.runs.configuration import factors_of
from siamkit.study.tracking.base import (
    AttemptEnded,
    AttemptStarted,
    EpochEnded,
    TrackerEvent,
    is_finite_number,
)
from siamkit.study.worker.messages import Attempt

Scalar = str | bool | int | float


class TensorBoard:
    """A tracker that writes epochs as scalars, and at the end factors and final measures as hyperparameters.

    Args:
        folder: the folder of all runs. A trial's first seed is the run `<trial>`, its later ones are
            `<trial>/seed-<n>`, and the repeat of a finalist is `final-<trial>-<repeat>`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[tuple[str, int], EventFile] = {}

    def on_event(self, event: TrackerEvent) -> None:
        match event:
            case AttemptStarted(attempt):
                self._file(attempt, 0)
            case EpochEnded(attempt, repeat, row):
                measures = {
                    name: value
                    for name, value in row.items()
                    if name not in ("epoch", "repeat") and is_finite_number(value)
                }
                self._file(attempt, repeat).write_scalars(measures, int(row["epoch"]))
            case AttemptEnded():
                self._end(event)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _end(self, event: AttemptEnded) -> None:
        attempt = event.attempt
        file = self._file(attempt, 0)
        final = {f"final/{name}": value for name, value in event.measures.items() if is_finite_number(value)}
        if final:
            file.write_scalars(final, 0)
        factors = factors_of(attempt.configuration)
        known = {name: value for name, value in factors.items() if value is not None}
        is_success = event.outcome in ("complete", "pruned")
        file.write_hyperparameters({**known, "outcome": event.outcome}, list(final), is_success)
        for key in [key for key in self._files if key[0] == attempt.name]:
            self._files.pop(key).close()

    def _file(self, attempt: Attempt, repeat: int) -> EventFile:
        key = attempt.name, repeat
        if key not in self._files:
            folder = self._folder / attempt.name
            self._files[key] = EventFile(folder / f"seed-{repeat}" if repeat else folder, attempt.token)
        return self._files[key]


class EventFile:
    """An event file; each event is on the disk when the call returns.

    Args:
        folder: the folder of the run; created if it does not exist.
        suffix: the suffix of the file's name, so that no two processes write one file.
    """

    def __init__(self, folder: Path, suffix: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        host = socket.gethostname().split(".")[0]
        name = f"events.out.tfevents.{int(time.time()):010}.{host}.{suffix}"
        self._file = (folder / name).open("ab", buffering=0)
        self._write(_text(3, "brain.Event:2"))

    def write_scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write measures at one step."""
        summaries = [_nested(1, _text(1, tag) + _float(2, value)) for tag, value in values.items()]
        self._write(_integer(2, step) + _nested(5, b"".join(summaries)))

    def write_hyperparameters(
        self, values: Mapping[str, Scalar], measures: Sequence[str], is_success: bool
    ) -> None:
        """Write the hyperparameters of a run, and which measures show its quality."""
        infos = [_nested(4, _text(1, name) + _integer(4, _type_of(value))) for name, value in values.items()]
        metrics = [_nested(5, _nested(1, _text(2, tag))) for tag in measures]
        pairs = [_nested(1, _text(1, name) + _nested(2, _value(value))) for name, value in values.items()]
        self._write_part("experiment", _nested(2, b"".join([*infos, *metrics])))
        self._write_part("session_start_info", _nested(3, b"".join(pairs)))
        self._write_part("session_end_info", _nested(4, _integer(1, 1 if is_success else 2)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write_part(self, part: str, content: bytes) -> None:
        plugin = _nested(1, _text(1, "hparams") + _nested(2, content))
        self._write(_nested(5, _nested(1, _text(1, f"_hparams_/{part}") + _nested(9, plugin))))

    def _write(self, event: bytes) -> None:
        data = _double(1, time.time()) + event
        length = struct.pack("<Q", len(data))
        self._file.write(length + _checksum(length) + data + _checksum(data))


# ------------------------------------------------- protocol buffers: a field's number, its type, its value


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _nested(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _nested(field, value.encode())


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _value(value: Scalar) -> bytes:
    """Return a google.protobuf.Value."""
    if isinstance(value, str):
        return _text(3, value)
    return _integer(4, int(value)) if isinstance(value, bool) else _double(2, float(value))


def _type_of(value: Scalar) -> int:
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


def _checksum(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
