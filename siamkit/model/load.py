"""Loading models: only installed components are imported, never a module that a file names."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras

from siamkit.errors import ComponentError, ModelError
from siamkit.io.files import local_file
from siamkit.io.paths import as_path
from siamkit.model.siamese import Siamese
from siamkit.registry.catalog import CORE, SESSION
from siamkit.registry.registry import components
from siamkit.registry.specs import Kind

KINDS: tuple[Kind, ...] = ("encoder", "metric", "loss")


def load_model(path: str | os.PathLike[str], compile: bool = True) -> Siamese:
    """Load a Siamese model saved by `model.save("name.keras")`, on any backend.

    The record of components in the file is matched against the *installed* ones; their factories are
    imported, and only then the file is read, in Keras's safe mode.

    Args:
        path: a `.keras` file, or the URL of one.
        compile: restore optimizer, loss and the loss's state too.

    Raises:
        ModelError: no such file, not a siamkit model, corrupt, or a component is not installed.

    Example:
        >>> import siamkit, tempfile, os
        >>> model = siamkit.build("mlp", "cosine", "triplet", embedding_dim=4, input_shape=(3,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(os.path.join(folder, "model.keras"))
        ...     loaded = siamkit.load_model(os.path.join(folder, "model.keras"))
        >>> loaded.embedding_dim
        4
    """
    path = as_path(path)
    if not path.is_file():
        raise ModelError(f"the model file {str(path)!r} does not exist")
    with local_file(path) as file:
        return _load(file, path, compile)


def _load(file: Path, path: Path, compile: bool) -> Siamese:
    """Load a local file; messages name the path that the user gave."""
    for kind, names in _components(file, path).items():
        for name in names:
            _import(path, kind, name)
    try:
        model = keras.saving.load_model(file, compile=compile, safe_mode=True)
    except Exception as error:
        # Keras raises errors of many kinds for a damaged or foreign file.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise ModelError(f"{str(path)!r} cannot be loaded: {type(error).__name__}: {reason}") from error
    assert isinstance(model, Siamese)
    return model


def _components(file: Path, path: Path) -> dict[Kind, list[str]]:
    """Return the qualified names that a file records."""
    try:
        with zipfile.ZipFile(file) as archive:
            described: Any = json.loads(archive.read("config.json"))
        if described["registered_name"] != "siamkit>Siamese":
            raise ModelError(
                f"{str(path)!r} holds a {described['registered_name'] or described['class_name']}, "
                "not a siamkit model; load it with keras.saving.load_model"
            )
        records = described["config"]["components"]
        return {kind: [str(record["name"]) for record in records[kind] if record] for kind in KINDS}
    except ModelError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
    ) as error:
        raise ModelError(f"{str(path)!r} is not a siamkit model file, or it is damaged") from error


def _import(path: Path, kind: Kind, name: str) -> None:
    try:
        entry = components().find(kind, name)
    except ComponentError:
        distribution = name.rpartition("/")[0]
        how = {
            CORE: "this version of siamkit does not have it",
            SESSION: "register it with siamkit.register",
        }.get(distribution, f"install the plugin {distribution!r}, or load the module of that name")
        raise ModelError(f"{str(path)!r} uses the {kind} {name!r}, which is not installed; {how}") from None
    entry.factory()
