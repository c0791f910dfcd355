"""Build a model from names, or load one from a file.

Only installed components are imported, never a module named in a file.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras

from siamkit.encoders.base import get_encoder
from siamkit.errors import ComponentError, ModelError, nearest
from siamkit.evaluation.measures import Threshold
from siamkit.io.files import local_file
from siamkit.io.paths import as_path
from siamkit.losses.base import get_loss
from siamkit.metrics.base import get_metric
from siamkit.model.siamese import Siamese
from siamkit.registry.catalog import CORE, SESSION
from siamkit.registry.lookup import resolve_spec, split_name
from siamkit.registry.registry import components
from siamkit.registry.specs import Kind


def build(
    encoder: Any = "cnn",
    metric: Any = "cosine",
    loss: Any = "triplet",
    *,
    embedding_dim: int = 64,
    input_shape: tuple[int, ...] | None = None,
    optimizer: Any = "adam",
    normalize: bool = True,
    threshold: Threshold | None = None,
    **needs: Any,
) -> Siamese:
    """Return a compiled Siamese model from names.

    Args:
        encoder, metric, loss: names, mappings `{name: parameters}`, or objects.
        embedding_dim: number of dimensions of an embedding.
        input_shape: shape of one item, without the batch axis; required unless the encoder is an object.
        optimizer: the optimizer, as in `keras.Model.compile`.
        normalize: whether the encoder scales embeddings to unit length.
        threshold: the model's threshold, in the metric's orientation, or how `model.calibrate` chooses it:
            `"f1"`, `{"far": 1e-3}`, … .
        **needs: the facts about the data that the components need: `num_classes`, `vocabulary_size`, …

    Raises:
        ComponentError: an unknown name or argument, or components that do not fit together.

    Example:
        >>> import siamkit
        >>> model = siamkit.build("mlp", "euclidean", "triplet", embedding_dim=8, input_shape=(10,))
        >>> model.embedding_dim
        8
    """
    _check_known(needs)
    shape = {} if input_shape is None else {"input_shape": input_shape}
    if split_name("encoder", encoder)[0] is not None:
        encoder = get_encoder(
            encoder,
            embedding_dim=embedding_dim,
            normalize=normalize,
            **shape,
            **_needed("encoder", encoder, needs),
        )
    if split_name("loss", loss)[0] is not None:
        loss = get_loss(loss, **_needed("loss", loss, needs))
    model = Siamese(encoder, get_metric(metric), threshold=threshold)
    model.compile(optimizer=optimizer, loss=loss)
    return model


def _check_known(needs: dict[str, Any]) -> None:
    specs = [entry.spec for catalog in components().catalogs() for entry in catalog.all()]
    known = {need for spec in specs for need in spec.needs}
    for name in needs:
        if name not in known:
            raise ComponentError(
                f"build has no argument {name!r}; {nearest(name, known)} Parameters of a "
                "component go with its name: {'triplet': {'margin': 1.0}}."
            )


def _needed(kind: Kind, component: Any, needs: dict[str, Any]) -> dict[str, Any]:
    """Return the facts that this component needs."""
    return {key: needs[key] for key in resolve_spec(kind, component).needs if key in needs}


KINDS: tuple[Kind, ...] = ("encoder", "metric", "loss")


def load_model(path: str | os.PathLike[str], compile: bool = True) -> Siamese:
    """Load a Siamese model saved by `model.save("name.keras")`, on any backend.

    The record of components in the file is matched against the *installed* ones; their factories are
    imported, and only then the file is read, in Keras's safe mode.

    Args:
        path: a `.keras` file, or the URL of one.
        compile: whether to also restore optimizer, loss and the loss's state.

    Raises:
        ModelError: the file does not exist, is corrupt or is not a siamkit model, or a component is not
            installed.

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


def load_embedder(path: str | os.PathLike[str]) -> Siamese:
    """Load a model that embeds: a siamkit model, or any other Keras model from one input to `(batch, dim)`.

    A model that is not of siamkit becomes an encoder without preprocessor, so it gets items as they are read.

    Args:
        path: a `.keras` file.

    Raises:
        ModelError: the file does not exist or cannot be loaded, or its model does not embed items.
    """
    try:
        return load_model(path, compile=False)
    except _ForeignModel:
        return Siamese(_read(Path(path), Path(path), compile=False), "cosine")


def _load(file: Path, path: Path, compile: bool) -> Siamese:
    """Load a local file; messages name the path that the user gave."""
    for kind, names in _components(file, path).items():
        for name in names:
            _import(path, kind, name)
    model = _read(file, path, compile)
    assert isinstance(model, Siamese)
    return model


def _read(file: Path, path: Path, compile: bool) -> keras.Model:
    try:
        return keras.saving.load_model(file, compile=compile, safe_mode=True)
    except Exception as error:
        # Keras raises errors of many kinds for a damaged or foreign file.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise ModelError(f"{str(path)!r} cannot be loaded: {type(error).__name__}: {reason}") from error


class _ForeignModel(ModelError):
    """A file holds a Keras model that is not of siamkit."""


def _components(file: Path, path: Path) -> dict[Kind, list[str]]:
    """Return the qualified names that a file records."""
    try:
        with zipfile.ZipFile(file) as archive:
            described: Any = json.loads(archive.read("config.json"))
        if described["registered_name"] != "siamkit>Siamese":
            raise _ForeignModel(
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
