"""The Ray cluster that a study's workers run on: found or started, and how many workers it has room for."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import ray

from siamkit.errors import StudyError

ANSWER = 5.0  # seconds that a cluster has to answer in; Ray itself would try for many minutes
QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
SMALLEST = 100_000_000  # bytes of an object store
SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def connect(size: int) -> bool:
    """Connects this process to a cluster: RAY_ADDRESS's, one that runs on this machine, or a new one here.

    Args:
        size: bytes of the data that a new one must keep.

    Returns:
        Whether it was connected here, and so is to be parted from (and a new one ended) with `leave`.

    Raises:
        StudyError: there is no cluster where RAY_ADDRESS says, or Ray does not start.
    """
    if ray.is_initialized():
        return False
    named = os.environ.get("RAY_ADDRESS", "")
    own = {"include_dashboard": False, "object_store_memory": int(1.5 * size) + SMALLEST}
    try:
        address = named if named not in ("", "auto", "local") else None
        if address is None and named != "local":
            address = _running()
        alone = address is None or _is_alone(address)
        with _for_this_machine_alone() if alone else nullcontext():
            ray.init(address=address or "local", **(own if address is None else {}), **QUIET)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        where = f"the Ray cluster {named!r} (RAY_ADDRESS) cannot be joined" if named else "Ray does not start"
        raise StudyError(f"{where}: {str(error).strip().splitlines()[0]}") from error
    return True


def leave() -> None:
    """Parts from the cluster; one that `connect` made ends."""
    ray.shutdown()


def _running() -> str | None:
    """The address of the cluster that `ray start` has made this machine part of; None if none answers."""
    address = ray._private.utils.read_ray_address()
    try:
        if address:
            _reach(*_split(address))
    except OSError:
        return None
    return address or None


def _is_alone(address: str) -> bool:
    """Whether a cluster listens on 127.0.0.1 alone; Ray takes that for a name of the machine's address.

    Raises:
        OSError, ValueError: it does not answer, or that is no address.
    """
    host, port = _split(address)
    _reach(host, port)
    if host not in ("127.0.0.1", "localhost"):
        return False
    try:
        _reach(ray.util.get_node_ip_address(), port)
    except OSError:
        return True
    return False


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


def _reach(host: str, port: int) -> None:
    with socket.create_connection((host, port), ANSWER):
        pass


@contextmanager
def _for_this_machine_alone() -> Iterator[None]:
    """Has Ray listen on 127.0.0.1: on Linux it would be open to the network, and run what it is told to."""
    constants = ray._private.ray_constants
    before, switch = constants.ENABLE_RAY_CLUSTER, os.environ.get(SWITCH)
    constants.ENABLE_RAY_CLUSTER = False  # what the switch sets when Ray is imported; that was before
    os.environ[SWITCH] = "0"  # for the processes that it starts
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before
        os.environ.pop(SWITCH)
        if switch is not None:
            os.environ[SWITCH] = switch


def has_gpus() -> bool:
    """Whether any node has an accelerator."""
    return any(node.get("GPU", 0) for node in _nodes())


def room(cpus: int, gpus: float, memory: float | None) -> int:
    """How many workers that take so much each the cluster has room for when it does nothing else."""
    return sum(_on(node, cpus, gpus, memory) for node in _nodes())


def largest() -> str:
    """What its largest node has, in words."""
    nodes = sorted(_nodes(), key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)))
    if not nodes:
        return "it has no nodes"
    most = nodes[-1]
    return (
        f"its largest node has {most.get('CPU', 0):g} CPUs, {most.get('GPU', 0):g} GPUs and "
        f"{most.get('memory', 0) / 1e9:.1f} GB of memory"
    )


def _nodes() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _on(node: dict[str, float], cpus: int, gpus: float, memory: float | None) -> int:
    fits = [math.inf, node.get("CPU", 0) // cpus]
    if gpus:
        have, rounding = node.get("GPU", 0), 1e-9
        # A worker's fraction is one of one accelerator.
        fits.append(have * int(1 / gpus + rounding) if gpus < 1 else have // gpus)
    if memory:
        fits.append(node.get("memory", 0) // memory)
    return int(min(fits))
