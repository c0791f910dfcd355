"""A model as files that others can use: itself, what it is as data, and its encoder in other formats."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from siamkit._version import __version__
from siamkit.data.dataset import Array, Leaf, length, take
from siamkit.data.preprocessing.base import Preprocessor
from siamkit.export.float32 import in_float32
from siamkit.export.onnx import convert
from siamkit.model.siamese import Siamese
from siamkit.registry.provenance import record_of

MOST = 64  # items that an export is compared on

# What each preprocessor does, for whoever has to do it without siamkit.
PREPARES: Mapping[str, str] = {
    "image_scaler": "Images of the size `config.size` (height, width), others resized bilinearly; then each "
    "channel as (pixel - mean) / std in the units of the raw image, as float32.",
    "standardizer": "Each feature as (value - mean) / std, as float32.",
    "token_padder": "Token ids cut or filled up with 0 to `config.max_length`; an id above `config.highest` "
    "becomes `highest + 1`; as int32.",
    "text_tokenizer": "Ids from preprocessing/tokenizer.json (a file of Hugging Face's tokenizers, without "
    "special tokens), cut or filled up with 0 to `config.max_length`; an empty text is the single id 1; as "
    "int32.",
    "column_encoder": "`numeric`: the columns `config.numeric` as (value - mean) / std, 0 where missing; "
    "`missing`: 1 where one of them is missing; both float32. `categorical`: for each column of "
    "`config.categorical` 0 for a missing text, 1 for an unknown one, else its place in the list from 2, "
    "as int32. A field without columns is left out.",
}


def write_model(model: Siamese, source: Path, folder: Path) -> dict[str, Any]:
    """Writes `model.keras`, `preprocessing/`, and `metric.npz` where the metric has weights.

    Args:
        model: it.
        source: the file that it was loaded from.
        folder: where these go; it is there.

    Returns:
        What the model is, as plain data.
    """
    shutil.copyfile(source, folder / "model.keras")
    if model.preprocessor is not None:
        model.preprocessor.save(folder / "preprocessing")
    if model.metric.weights:
        weights = {each.name: keras.ops.convert_to_numpy(each) for each in model.metric.weights}
        np.savez(folder / "metric.npz", **weights)
    return describe(model)


def describe(model: Siamese) -> dict[str, Any]:
    """What a model is: its metric, threshold, input, preprocessing and components, as plain data."""
    metric = model.metric
    near = "at most" if metric.sign > 0 else "at least"
    return {
        "siamkit": __version__,
        "embedding_dim": model.embedding_dim,
        "metric": {
            **(record_of(metric) or {"name": type(metric).__name__}),
            "orientation": metric.orientation,
            "config": {
                key: value for key, value in metric.get_config().items() if key not in ("dtype", "trainable")
            },
            "weights": "metric.npz" if metric.weights else None,
        },
        "threshold": model.threshold,
        "same": None if model.threshold is None else f"two items whose {metric.orientation} is {near} it",
        "preprocessing": None if model.preprocessor is None else _preparation(model.preprocessor),
        "components": {
            "encoder": [record_of(each) for each in model.encoders],
            "metric": [record_of(metric)],
        },
    }


def _preparation(preprocessor: Preprocessor) -> dict[str, Any]:
    shape = preprocessor.input_shape
    return {
        "kind": preprocessor.kind,
        "does": PREPARES[preprocessor.kind],
        "config": json.loads(json.dumps(preprocessor.config())),
        **{name: array.tolist() for name, array in preprocessor.arrays().items()},
        "gives": {k: list(v) for k, v in shape.items()} if isinstance(shape, dict) else list(shape),
        "files": "preprocessing",
    }


def export_encoder(
    model: Siamese,
    source: Path,
    folder: Path,
    formats: Sequence[str],
    items: Leaf | None = None,
    plugins: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes the encoder in other formats, each run and compared with `model.encode`.

    Args:
        model: it, loaded from `source`.
        source: a `.keras` file.
        folder: where these go; it is there.
        formats: `onnx`, `saved_model`.
        items: prepared items to compare on, the first 64; made up unless given.
        plugins: modules that register components of the model.

    Returns:
        By format what there is to tell of it.

    Raises:
        ModelError: a format that cannot be had here.
    """
    if not formats:
        return {}
    items = made_up(model) if items is None else take(items, np.arange(min(length(items), MOST)))
    expected = encoded(model, items)
    prefer = keras.backend.backend()
    return {name: convert(source, name, folder, items, expected, prefer, plugins) for name in formats}


def input_of(items: Leaf) -> list[dict[str, Any]]:
    """What an encoder takes: name, shape and dtype of each field, or of `items` if there is one array."""
    leaves = items.items() if isinstance(items, dict) else [("items", items)]
    return [
        {"name": name, "shape": [None, *leaf.shape[1:]], "dtype": str(leaf.dtype)} for name, leaf in leaves
    ]


def encoded(model: Siamese, items: Leaf) -> Array:
    """What an export should give for prepared items: the model's embeddings, in float32 throughout."""
    encoder = in_float32(model.encoder)
    if encoder is model.encoder:
        return model.encode(items)
    return np.asarray(encoder.predict(items, batch_size=length(items), verbose=0))


def made_up(model: Siamese, count: int = MOST) -> Leaf:
    """Prepared items of the right shapes: numbers by chance, and ids that there are."""
    rng = np.random.default_rng(0)
    facts: dict[str, Any] = {} if model.preprocessor is None else model.preprocessor.facts
    shape = model.encoder.input_shape if model.preprocessor is None else model.preprocessor.input_shape
    if "vocabulary_size" in facts:
        return rng.integers(0, facts["vocabulary_size"], (count, facts["max_length"]), dtype=np.int32)
    if not isinstance(shape, dict):
        sizes = shape if model.preprocessor is not None else shape[1:]
        return rng.normal(size=(count, *sizes)).astype("float32")
    fields: dict[str, Array] = {
        name: rng.normal(size=(count, *sizes)).astype("float32") for name, sizes in shape.items()
    }
    if "missing" in fields:
        fields["missing"] = (fields["missing"] > 1).astype("float32")
    if "categorical" in fields:
        sizes = list(facts["columns"]["categorical"].values())
        fields["categorical"] = rng.integers(0, sizes, (count, len(sizes)), dtype=np.int32)
    return fields
