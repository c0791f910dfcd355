"""TensorBoard's event files, written without TensorBoard.

tensorboardX would write them too, but imports PyTorch wherever that is installed: seconds and hundreds of
megabytes in the process that only supervises, and a second framework in it under `engine: inline`. A file is
a row of records with checksums, each a protocol buffer of few fields.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

Scalar = str | bool | int | float


class EventFile:
    """One event file; each event is on the disk when the call returns.

    Args:
        folder: TensorBoard's name of the run; made if need be.
        suffix: of the file's name, so that no two writers take one.
    """

    def __init__(self, folder: Path, suffix: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        host = socket.gethostname().split(".")[0]
        name = f"events.out.tfevents.{int(time.time()):010}.{host}.{suffix}"
        self._file = (folder / name).open("ab", buffering=0)
        self._write(text(3, "brain.Event:2"))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Figures at one step."""
        each = [text(1, tag) + single(2, value) for tag, value in values.items()]
        self._write(number(2, step) + nested(5, b"".join(nested(1, value) for value in each)))

    def hyperparameters(self, chosen: Mapping[str, Scalar], measures: list[str], success: bool) -> None:
        """What a run was made with, and which figures tell what it was worth."""
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
