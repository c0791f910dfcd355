"""Who works on a study, and whether they are alive, as one who only looks on can tell."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from siamkit.study.storage.leases import is_gone
from siamkit.study.storage.owner import machine


@dataclass(frozen=True)
class Owner:
    """One run of `tune` or `worker`.

    Args:
        name: as in the leases.
        role: tune or worker.
        host: the machine it runs on.
        pid: of its process there.
        alive: whether it lives; None where that cannot be told yet.
    """

    name: str
    role: str
    host: str
    pid: int
    alive: bool | None


class Owners:
    """Judges owners: those of this machine by their process, others by whether their leases are renewed.

    Args:
        patience: seconds without a sign of life after which one elsewhere is taken for dead.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._seen: dict[str, tuple[Any, float, bool]] = {}

    def judge(self, signs: Iterable[tuple[str, Any]]) -> list[Owner]:
        """The owners of some leases or lines of the log.

        Args:
            signs: the name of an owner, and whatever changes while it lives.
        """
        by_name: dict[str, list[Any]] = {}
        for name, sign in signs:
            by_name.setdefault(name, []).append(sign)
        found = []
        for name, sign in by_name.items():
            if name.count(":") != 3:
                continue
            role, where, process, _ = name.split(":")
            alive = is_here(name) if where == machine() else self._is_heard(name, sign)
            host = re.sub(r"-(?:[0-9a-f]{1,8}-)?\d+$", "", where)
            found.append(Owner(name, role, host, int(process.partition("-")[0]), alive))
        return found

    def _is_heard(self, name: str, sign: Any) -> bool | None:
        now = time.monotonic()
        before, since, moved = self._seen.get(name, (sign, now, False))
        if before != sign:
            since, moved = now, True
        self._seen[name] = sign, since, moved
        if now - since > self._patience:
            return False
        return True if moved else None


def is_here(name: str) -> bool:
    """Whether an owner is a process of this machine, and lives."""
    return name.count(":") == 3 and name.split(":")[1] == machine() and not is_gone(name)
