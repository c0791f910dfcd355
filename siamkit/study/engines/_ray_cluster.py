"""The Ray cluster that a study's workers run on: found or started, and how many workers it has room for."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import ray

from siamkit.errors import StudyError

CONNECT_SECONDS = 5.0  # Ray itself would try for many minutes
MIN_OBJECT_STORE_BYTES = 100_000_000
CLUSTER_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def connect(data_bytes: int) -> bool:
    """Connect this process to a cluster: that of RAY_ADDRESS, one that runs on this machine, or a new one.

    Args:
        data_bytes: the size of the data that a new cluster must hold.

    Returns:
        Whether this call connected the process. If so, `disconnect` disconnects it, and ends a new cluster.

    Raises:
        StudyError: no cluster answers at RAY_ADDRESS, or Ray does not start.
    """
    if ray.is_initialized():
        return False
    named = os.environ.get("RAY_ADDRESS", "")
    try:
        address = named if named not in ("", "auto", "local") else None
        if address is None and named != "local":
            address = _running_address()
        is_private = address is None or _listens_on_loopback_only(address)
        options = {} if address else _new_cluster_options(data_bytes)
        with _loopback_only() if is_private else nullcontext():
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        subject = (
            f"the Ray cluster {named!r} (RAY_ADDRESS) cannot be joined" if named else "Ray does not start"
        )
        raise StudyError(f"{subject}: {str(error).strip().splitlines()[0]}") from error
    return True


def _new_cluster_options(data_bytes: int) -> dict[str, bool | int]:
    store = int(1.5 * data_bytes) + MIN_OBJECT_STORE_BYTES
    return {"include_dashboard": False, "object_store_memory": store}


def disconnect() -> None:
    """Disconnect from the cluster, and end it if `connect` started it."""
    ray.shutdown()


def _running_address() -> str | None:
    """Return the address of the cluster that `ray start` made this machine part of; None if none answers."""
    address: str = ray._private.utils.read_ray_address()
    try:
        if address:
            _open_connection(*_split(address))
    except OSError:
        return None
    return address or None


def _listens_on_loopback_only(address: str) -> bool:
    """Return whether a cluster listens on 127.0.0.1 only; Ray resolves that to the machine's address.

    Raises:
        OSError, ValueError: the cluster does not answer, or the address is not valid.
    """
    host, port = _split(address)
    _open_connection(host, port)
    if host not in ("127.0.0.1", "localhost"):
        return False
    try:
        _open_connection(ray.util.get_node_ip_address(), port)
    except OSError:
        return True
    return False


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


def _open_connection(host: str, port: int) -> None:
    with socket.create_connection((host, port), CONNECT_SECONDS):
        pass


@contextmanager
def _loopback_only() -> Iterator[None]:
    """Make Ray listen on 127.0.0.1 only; by default, on Linux, it accepts code from the whole network."""
    constants = ray._private.ray_constants
    enabled, switch = constants.ENABLE_RAY_CLUSTER, os.environ.get(CLUSTER_SWITCH)
    constants.ENABLE_RAY_CLUSTER = False  # Ray read the switch when it was imported
    os.environ[CLUSTER_SWITCH] = "0"  # for the processes that it starts
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = enabled
        os.environ.pop(CLUSTER_SWITCH)
        if switch is not None:
            os.environ[CLUSTER_SWITCH] = switch


# ------------------------------------------------------------------ nodes


def has_gpus() -> bool:
    """Return whether any node has an accelerator."""
    return any(node.get("GPU", 0) for node in _nodes())


def room(cpus: int, gpus: float, memory: float | None) -> int:
    """Return how many workers of this size the cluster has room for when it is idle."""
    return sum(_room_on(node, cpus, gpus, memory) for node in _nodes())


def largest_node() -> str:
    """Return the resources of the largest node, as the end of a sentence."""
    nodes = sorted(_nodes(), key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)))
    if not nodes:
        return "it has no nodes"
    node = nodes[-1]
    return (
        f"its largest node has {node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs and "
        f"{node.get('memory', 0) / 1e9:.1f} GB of memory"
    )


def _nodes() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _room_on(node: dict[str, float], cpus: int, gpus: float, memory: float | None) -> int:
    limits = [math.inf, node.get("CPU", 0) // cpus]
    if gpus:
        available, rounding = node.get("GPU", 0), 1e-9
        # A fraction is of a single accelerator: 0.4 fits twice on each.
        limits.append(available * int(1 / gpus + rounding) if gpus < 1 else available // gpus)
    if memory:
        limits.append(node.get("memory", 0) // memory)
    return int(min(limits))
