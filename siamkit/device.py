"""What Keras lacks: the one module that imports backends, a function for each, and only inside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any


def _jax() -> tuple[str, list[str]]:
    import jax

    return jax.__version__, [f"{each.platform}:{each.id} {each.device_kind}" for each in jax.devices()]


def _torch() -> tuple[str, list[str]]:
    import torch

    cuda = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return torch.__version__, [*cuda, *mps, "cpu"]


def _tensorflow() -> tuple[str, list[str]]:
    import tensorflow

    devices = tensorflow.config.list_physical_devices()
    return tensorflow.__version__, [each.name.removeprefix("/physical_device:").lower() for each in devices]


ASK: dict[str, Callable[[], tuple[str, list[str]]]] = {
    "jax": _jax,
    "torch": _torch,
    "tensorflow": _tensorflow,
}


def main(arguments: list[str]) -> None:
    """`python -m siamkit.device NAME` prints the version and devices of a backend, as JSON."""
    version, devices = ASK[arguments[0]]()
    told: dict[str, Any] = {"version": str(version), "devices": devices}
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
