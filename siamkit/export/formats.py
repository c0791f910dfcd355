"""Models for other runtimes: a description as plain data, and the encoder as ONNX and SavedModel.

Each format is written and checked in a process of its own. A `.keras` file loads on any backend, so a study
on JAX can export ONNX through torch.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siamkit._version import __version__
from siamkit.backend import select
from siamkit.data.dataset import Array, Leaf, length, take
from siamkit.data.preprocessing import Preprocessor
from siamkit.errors import ModelError
from siamkit.registry.registry import record_of

if TYPE_CHECKING:
    import keras

    from siamkit.model.siamese import Siamese

FILES: Mapping[str, str] = {"onnx": "embedder.onnx", "saved_model": "saved_model"}
"""The formats, and the name of the file or folder of each."""

TOLERANCE = 1e-4  # of the largest number in an embedding: float32 computed in another order stays far below
MAX_ITEMS = 64  # items that an export is compared on
TIMEOUT_SECONDS = 900  # for one attempt

# Which backends write a format, and which packages each needs besides.
_WRITERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "onnx": {"torch": ("onnx", "onnxscript", "onnxruntime"), "tensorflow": ("tf2onnx", "onnxruntime")},
    # JAX's needs TensorFlow too, and then runs only on the kind of device it was written on.
    "saved_model": {"tensorflow": ()},
}


@dataclass(frozen=True)
class ExportedEncoder:
    """An exported encoder, and the difference of its embeddings from the model's.

    Args:
        file: name of the file or folder of the export.
        through: the backend that wrote the export.
        items: number of compared items.
        max_difference: the largest absolute difference of a number.
        relative_difference: the largest difference divided by the largest absolute number in an embedding.
    """

    file: str
    through: str
    items: int
    max_difference: float
    relative_difference: float


@dataclass(frozen=True)
class ExportRequest:
    """A request to the process of `siamkit.export._child`; plain data for a JSON file."""

    model: str
    format: str
    out: str
    items: str
    is_dict: bool
    plugins: tuple[str, ...]
    path: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class ExportAnswer:
    """The answer of that process: the differences, or why no writer succeeded."""

    error: str = ""
    max_difference: float = 0.0
    relative_difference: float = 0.0


def check_formats(formats: Sequence[str]) -> None:
    """Check that the installed packages can write the formats.

    Raises:
        ModelError: a format cannot be written; the message says what to install.
    """
    for name in formats:
        if not _writers(name, None):
            backends = " or ".join(_WRITERS[name])
            extra = "pip install 'siamkit[export]', and " if name == "onnx" else ""
            raise ModelError(f"no installed package can write {name}; {extra}the backend {backends}")


def export_encoder(
    model: Siamese,
    source: Path,
    folder: Path,
    formats: Sequence[str],
    items: Leaf | None = None,
    plugins: Sequence[str] = (),
) -> dict[str, ExportedEncoder]:
    """Write the encoder in other formats, each run and compared with the model's embeddings.

    Args:
        model: the model, loaded from `source`.
        source: a `.keras` file.
        folder: an existing folder for the exports.
        formats: the formats to write, of `onnx` and `saved_model`.
        items: prepared items to compare on, of which the first 64 are used; by default random items.
        plugins: modules that register components of the model.

    Returns:
        The exports by format.

    Raises:
        ModelError: a format cannot be written here, or the exported encoder gives different embeddings.
    """
    if not formats:
        return {}
    import keras

    check_formats(formats)
    items = random_items(model) if items is None else take(items, np.arange(min(length(items), MAX_ITEMS)))
    expected = _expected(model, items)
    preferred = keras.backend.backend()
    exports = {}
    for name in formats:
        causes = []
        for backend in _writers(name, preferred):
            answer = _ask(backend, source, name, folder / FILES[name], items, expected, plugins)
            if not answer.error:
                exports[name] = ExportedEncoder(
                    FILES[name], backend, len(expected), answer.max_difference, answer.relative_difference
                )
                break
            causes.append(f"{backend}: {answer.error}")
        else:
            raise ModelError(f"{name} export failed: {'; '.join(causes)}")
    return exports


def input_of(items: Leaf) -> list[dict[str, Any]]:
    """Return name, shape and dtype of each field of an encoder's input; a single array is named `items`."""
    leaves = items.items() if isinstance(items, dict) else [("items", items)]
    return [
        {"name": name, "shape": [None, *leaf.shape[1:]], "dtype": str(leaf.dtype)} for name, leaf in leaves
    ]


def random_items(model: Siamese, count: int = MAX_ITEMS) -> Leaf:
    """Return random prepared items of the right shapes and within the right ranges of ids."""
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


def _expected(model: Siamese, items: Leaf) -> Array:
    """Return the model's embeddings of prepared items, computed in float32 throughout."""
    encoder = in_float32(model.encoder)
    if encoder is model.encoder:
        return model.embed(items, preprocessed=True)
    return np.asarray(encoder.predict(items, batch_size=length(items), verbose=0))


def in_float32(model: keras.Model) -> keras.Model:
    """Return the model if it computes in float32 throughout, else a copy that does, with the same weights."""
    import keras

    config = keras.saving.serialize_keras_object(model)
    float32_config = _with_float32(config)
    if float32_config == config:
        return model
    copy = keras.saving.deserialize_keras_object(float32_config)
    copy.set_weights(model.get_weights())
    return copy


def _with_float32(config: Any) -> Any:
    """Return a configuration with float32 in place of every other dtype policy."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {**config["config"], "name": "float32"}}
        return {
            key: "float32" if key == "dtype" and str(value).startswith("mixed_") else _with_float32(value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_with_float32(item) for item in config)
    return config


def _writers(format: str, preferred: str | None) -> list[str]:
    """Return the installed backends that can write a format, the preferred one first."""
    installed = select.installed()
    able = [
        backend
        for backend, packages in _WRITERS[format].items()
        if backend in installed and all(importlib.util.find_spec(package) for package in packages)
    ]
    return sorted(able, key=lambda backend: backend != preferred)


def _ask(
    backend: str, model: Path, format: str, out: Path, items: Leaf, expected: Array, plugins: Sequence[str]
) -> ExportAnswer:
    """Run `siamkit.export._child` on a backend, in a new process: Keras runs on one backend per process."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",  # the accelerator may be in use, and a few items need none
    }
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        leaves = items if isinstance(items, dict) else {"items": items}
        np.savez(scratch / "items.npz", **{f"x.{name}": leaf for name, leaf in leaves.items()}, y=expected)  # type: ignore[arg-type, unused-ignore]
        request = ExportRequest(
            model=str(model.resolve()),
            format=format,
            out=str(out.resolve()),
            items=str(scratch / "items.npz"),
            is_dict=isinstance(items, dict),
            plugins=tuple(plugins),
            path=tuple(sys.path),
            answer=str(scratch / "answer.json"),
        )
        (scratch / "request.json").write_text(json.dumps(asdict(request)), encoding="utf-8")
        try:
            # Answers come in a file: exporters print at length, to the standard output too.
            process = subprocess.run(
                [sys.executable, "-m", "siamkit.export._child", str(scratch / "request.json")],
                capture_output=True,
                text=True,
                errors="replace",
                env=environment,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
            return ExportAnswer(**json.loads((scratch / "answer.json").read_text(encoding="utf-8")))
        except subprocess.TimeoutExpired:
            return ExportAnswer(f"took longer than {TIMEOUT_SECONDS} s")
        except (OSError, ValueError):
            last = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
            return ExportAnswer(last)


PREPARATION: Mapping[str, str] = {
    "image_scaler": "Images of the size `config.size` (height, width), others resized bilinearly as "
    "`config.image_fit` says: cropped at the center, padded with white, or stretched; then each channel "
    "as (pixel - mean) / std in the units of the raw image, as float32.",
    "standardizer": "Each feature as (value - mean) / std, as float32.",
    "token_padder": "Token ids cut or filled up with 0 to `config.max_length`; an id above `config.highest` "
    "becomes `highest + 1`; as int32.",
    "text_tokenizer": "Ids from preprocessing/tokenizer.json (a file of Hugging Face's tokenizers, without "
    "special tokens), cut or filled up with 0 to `config.max_length`; an empty text is the single id 1; as "
    "int32. `config.dropout` is for training only.",
    "column_encoder": "`numeric`: the columns `config.numeric` as (value - mean) / std, 0 where missing; "
    "`missing`: 1 where one of them is missing; both float32. `categorical`: for each column of "
    "`config.categorical` 0 for a missing text, 1 for an unknown one, else its index in the list plus 2, "
    "as int32. A field without columns is left out.",
}
"""The steps of each kind of preprocessor, for users who run the encoder without siamkit."""


def write_model(model: Siamese, source: Path, folder: Path) -> dict[str, Any]:
    """Write `model.keras`, `preprocessing/`, and `metric.npz` if the metric has weights.

    Args:
        model: the model.
        source: the file that it was loaded from.
        folder: an existing folder for these files.

    Returns:
        The model's description.
    """
    import keras

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
