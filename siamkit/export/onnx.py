"""Encoders for those without Keras: ONNX and SavedModel, each written and run in a process of its own.

A `.keras` file loads on any backend, so a study on JAX can leave an ONNX file by way of torch.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siamkit.backend import select
from siamkit.data.dataset import Array, Leaf
from siamkit.errors import ModelError

FILES: Mapping[str, str] = {"onnx": "embedder.onnx", "saved_model": "saved_model"}
"""The formats, and where in the folder each goes."""

TOLERANCE = 1e-4  # of the largest number in an embedding: float32 computed in another order stays far below

# Which backends write a format, and which packages each wants besides.
_WRITERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "onnx": {"torch": ("onnx", "onnxscript", "onnxruntime"), "tensorflow": ("tf2onnx", "onnxruntime")},
    # JAX's needs TensorFlow too, and then runs only on the kind of device it was written on.
    "saved_model": {"tensorflow": ()},
}
_PATIENCE = 900  # seconds for one try


def check_writable(formats: Sequence[str]) -> None:
    """Raises ModelError where nothing installed can write one of the formats, and says what to install."""
    for name in formats:
        if not _writers(name, None):
            wanted = " or ".join(_WRITERS[name])
            extra = "pip install 'siamkit[export]', and " if name == "onnx" else ""
            raise ModelError(f"nothing installed here can write {name}; {extra}the backend {wanted}")


def convert(
    model: Path,
    format: str,
    folder: Path,
    items: Leaf,
    expected: Array,
    prefer: str | None = None,
    plugins: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes a model's encoder, prepared items in and embeddings out, and runs what was written.

    Args:
        model: a `.keras` file.
        format: `onnx` or `saved_model`.
        folder: where the result goes, under its name in `FILES`.
        items: prepared items to run it on.
        expected: `(n, dim)` their embeddings.
        prefer: the backend to try first, of those that can.
        plugins: modules that register components of the model.

    Returns:
        What to tell of it: file, backend, number of items, largest difference, absolute and
        relative to the largest number in an embedding.

    Raises:
        ModelError: no backend could write it, or all that was written embeds otherwise.
    """
    check_writable([format])
    causes = []
    for backend in _writers(format, prefer):
        told = _ask(backend, model, format, folder / FILES[format], items, expected, plugins)
        if "error" not in told:
            return {"file": FILES[format], "through": backend, "items": len(expected), **told}
        causes.append(f"{backend}: {told['error']}")
    raise ModelError(f"the encoder cannot be had as {format}; " + "; ".join(causes))


def _writers(format: str, prefer: str | None) -> list[str]:
    """The installed backends that can write a format, the preferred one first."""
    there = select.installed()
    able = [
        backend
        for backend, packages in _WRITERS[format].items()
        if backend in there and all(importlib.util.find_spec(package) for package in packages)
    ]
    return sorted(able, key=lambda backend: backend != prefer)


def _ask(
    backend: str, model: Path, format: str, out: Path, items: Leaf, expected: Array, plugins: Sequence[str]
) -> dict[str, Any]:
    """What `siamkit.export._child` says, in a process of its own: Keras runs on one backend in each."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",  # the accelerator may be taken, and a few items need none
    }
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        leaves = items if isinstance(items, dict) else {"items": items}
        np.savez(place / "items.npz", **{f"x.{name}": leaf for name, leaf in leaves.items()}, y=expected)  # type: ignore[arg-type, unused-ignore]
        asked = {
            "model": str(model.resolve()),
            "format": format,
            "out": str(out.resolve()),
            "items": str(place / "items.npz"),
            "fields": isinstance(items, dict),
            "plugins": list(plugins),
            "path": sys.path,
            "answer": str(place / "answer.json"),
        }
        (place / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
        try:
            # By file: exporters print at length, to the standard output too.
            ran = subprocess.run(
                [sys.executable, "-m", "siamkit.export._child", str(place / "asked.json")],
                capture_output=True,
                text=True,
                errors="replace",
                env=environment,
                timeout=_PATIENCE,
                check=False,
            )
            told: dict[str, Any] = json.loads((place / "answer.json").read_text(encoding="utf-8"))
        except subprocess.TimeoutExpired:
            return {"error": f"took longer than {_PATIENCE} s"}
        except (OSError, ValueError):
            return {"error": (ran.stderr.strip().splitlines() or [f"it ended with {ran.returncode}"])[-1]}
    return told
