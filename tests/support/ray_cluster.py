"""A Ray cluster of this machine for the tests, and what its workers did there in place of training."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

# Ray reads these when it is imported. The first: nothing but 127.0.0.1.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Its own folder: what is said there of the cluster of this machine stays as it is. Sockets want a short one.
os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray-")

SMALL = 100_000_000
QUICK = {  # a dead node is found out in a second, not in fifteen
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 2,
}
STAND_IN = Path(__file__).parent
TRAINER = "stand_in_trainers:Ordered"


class Nodes:
    """The cluster: a head with two CPUs and an accelerator that is none, and what a test adds."""

    def __init__(self) -> None:
        paths = [str(STAND_IN), *(each for each in sys.path if each)]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"include_dashboard": False, "_system_config": QUICK, **_node(2, 1)},
        )
        self.address = self.cluster.address

    def add(self, cpus: int, gpus: int = 0) -> Any:
        return self.cluster.add_node(**_node(cpus, gpus))

    def remove(self, node: Any) -> None:
        self.cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        self.cluster.shutdown()
        shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


def _node(cpus: int, gpus: int) -> dict[str, Any]:
    return {
        "num_cpus": cpus,
        "num_gpus": gpus,
        "object_store_memory": SMALL,
        "node_ip_address": "127.0.0.1",
    }


def actors() -> list[int]:
    """The processes of actors of this process's cluster."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            named = " ".join(process.cmdline()).startswith("ray::Actor")
            if named and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


class StandIn:
    """What the formula in place of training is ordered to do, and what it did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.order()

    def order(self, **orders: Any) -> None:
        aside = self.folder / "aside.json"
        aside.write_text(json.dumps(orders))
        aside.replace(self.folder / "orders.json")

    def go(self) -> None:
        (self.folder / "go").touch()

    def done(self) -> list[dict[str, Any]]:
        file = self.folder / "done.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def until(self, true: Callable[[dict[str, Any]], bool], seconds: float = 120) -> dict[str, Any]:
        """Waits for a line of what was done."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = next((line for line in self.done() if true(line)), None)
            if found is not None:
                return found
            time.sleep(0.02)
        self.go()  # else actors that wait, and the study with them, would never end
        raise AssertionError("it was never done")


def meanwhile(what: Callable[[], None]) -> Iterator[None]:
    """Does something beside; what goes wrong there goes wrong here."""
    errors: list[BaseException] = []

    def doing() -> None:
        try:
            what()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=doing, daemon=True)
    thread.start()
    yield
    thread.join(60)
    assert not errors, errors
