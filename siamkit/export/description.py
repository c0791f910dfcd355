"""What a model is, as plain data for people and programs without siamkit, and the files that go with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from siamkit._version import __version__
from siamkit.data.preprocessing.base import Preprocessor
from siamkit.model.siamese import Siamese
from siamkit.registry.provenance import record_of

PREPARATION: Mapping[str, str] = {
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
    "`config.categorical` 0 for a missing text, 1 for an unknown one, else its index in the list plus 2, "
    "as int32. A field without columns is left out.",
}
"""What each kind of preprocessor does, for people who do it without siamkit."""


def write_model(model: Siamese, source: Path, folder: Path) -> dict[str, Any]:
    """Write `model.keras`, `preprocessing/`, and `metric.npz` where the metric has weights.

    Args:
        model: the model.
        source: the file that it was loaded from.
        folder: an existing folder for these files.

    Returns:
        The model's description.
    """
    shutil.copyfile(source, folder / "model.keras")
    if model.preprocessor is not None:
        model.preprocessor.save(folder / "preprocessing")
    if model.metric.weights:
        weights = {w.name: keras.ops.convert_to_numpy(w) for w in model.metric.weights}
        np.savez(folder / "metric.npz", **weights)
    return describe_model(model)


def describe_model(model: Siamese) -> dict[str, Any]:
    """Return a model's metric, threshold, input, preprocessing and components, as plain data."""
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
            "encoder": [record_of(encoder) for encoder in model.encoders],
            "metric": [record_of(metric)],
        },
    }


def _preparation(preprocessor: Preprocessor) -> dict[str, Any]:
    shape = preprocessor.input_shape
    return {
        "kind": preprocessor.kind,
        "does": PREPARATION[preprocessor.kind],
        "config": json.loads(json.dumps(preprocessor.config())),
        **{name: array.tolist() for name, array in preprocessor.arrays().items()},
        "gives": {k: list(v) for k, v in shape.items()} if isinstance(shape, dict) else list(shape),
        "files": "preprocessing",
    }
