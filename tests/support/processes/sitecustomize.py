"""Python runs this at the start of each process that a test starts: workers start in two thirds of the time.

Keras imports TensorFlow wherever it is installed, for random seeds and for model files, whatever the backend.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


class OtherBackend(MetaPathFinder):
    """Finds TensorFlow, as it is installed, and fails its import on PyTorch and JAX."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if name != "tensorflow" or os.environ.get("KERAS_BACKEND") not in ("torch", "jax"):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None:
            spec.loader = self  # type: ignore[assignment]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        raise ImportError(f"{module.__name__} is not the backend of this test's process")


sys.meta_path.insert(0, OtherBackend())
