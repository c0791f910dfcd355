"""The process of its own that `siamkit.export.onnx` starts: writes an encoder, runs it, and compares.

The compare is with embeddings of the model on the backend that it was trained on.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from siamkit.data.dataset import Array, Leaf, take
from siamkit.errors import SiamkitError
from siamkit.export.float32 import in_float32
from siamkit.export.onnx import TOLERANCE
from siamkit.model.load import load_model
from siamkit.registry.registry import components

Write = Callable[[keras.Model, Path, Leaf], None]


def main(arguments: list[str]) -> None:
    """`python -m siamkit.export._child ASKED.json` leaves its answer in the file that is named there."""
    asked = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    sys.path.extend(each for each in asked["path"] if each not in sys.path)
    try:
        told = _answer(asked)
    except SiamkitError as error:
        told = {"error": str(error)}
    Path(asked["answer"]).write_text(json.dumps(told), encoding="utf-8")


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    for module in asked["plugins"]:
        components().load_module(module)
    encoder = in_float32(load_model(asked["model"], compile=False).encoder)
    arrays = dict(np.load(asked["items"], allow_pickle=False))
    expected = arrays.pop("y")
    items: Leaf = {name.removeprefix("x."): leaf for name, leaf in arrays.items()}
    if not asked["fields"]:
        items = items["items"]
    encoder(take(items, np.arange(1)), training=False)  # Keras exports no model that was never called
    run = RUN[asked["format"]]
    causes = []
    for write in WAYS[asked["format"], keras.backend.backend()]:
        place = Path(asked["out"])
        try:
            write(encoder, place, items)
            found = run(place, items)
            # The number of items is free, and whoever serves them may well ask for one.
            one = run(place, take(items, np.arange(1)))
        except Exception as error:  # exporters raise whatever they like
            causes.append(f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}")
            _remove(place)
            continue
        largest = float(np.abs(expected).max())
        difference = max(float(np.abs(found - expected).max()), float(np.abs(one - expected[:1]).max()))
        if difference <= TOLERANCE * largest:
            relative = difference / largest if largest else 0.0
            return {"max_difference": difference, "relative_difference": relative}
        causes.append(f"its embeddings differ from the model's by {difference:.2g} of {largest:.2g}")
        _remove(place)
    return {"error": ", then ".join(causes)}


# ------------------------------------------------------------------ writing


def _keras(format: str) -> Write:
    def write(encoder: keras.Model, place: Path, items: Leaf) -> None:
        leaves = items.items() if isinstance(items, dict) else [("items", items)]
        specs = {
            name: keras.InputSpec(shape=(None, *leaf.shape[1:]), dtype=str(leaf.dtype), name=name)
            for name, leaf in leaves
        }
        signature = [specs if isinstance(items, dict) else specs["items"]]
        encoder.export(str(place), format=format, verbose=False, input_signature=signature)

    return write


def _dynamo(encoder: keras.Model, place: Path, items: Leaf) -> None:
    from siamkit.backend.beyond_keras import write_torch_onnx

    write_torch_onnx(encoder, str(place), items)


def _tf2onnx(encoder: keras.Model, place: Path, items: Leaf) -> None:
    """Through Keras; tf2onnx lacks the operation erfc, which Keras's GELU is made of."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **kwargs: Any) -> None:
            one = ctx.make_const(f"{node.name}_one", np.ones((), dtype="float32")).output[0]
            erf = ctx.make_node("Erf", node.input).output[0]
            like = {"outputs": node.output, "shapes": node.output_shapes, "dtypes": node.output_dtypes}
            ctx.remove_node(node.name)
            ctx.make_node("Sub", [one, erf], name=node.name, **like)

    _keras("onnx")(encoder, place, items)


# Each in the order in which they are tried.
WAYS: dict[tuple[str, str], tuple[Write, ...]] = {
    ("onnx", "torch"): (_keras("onnx"), _dynamo),
    ("onnx", "tensorflow"): (_tf2onnx,),
    ("saved_model", "tensorflow"): (_keras("tf_saved_model"),),
}


# ------------------------------------------------------------------ running


def _run_onnx(place: Path, items: Leaf) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(place), providers=["CPUExecutionProvider"])
    (embeddings,) = session.run(None, items if isinstance(items, dict) else {"items": items})
    return np.asarray(embeddings)


def _run_saved_model(place: Path, items: Leaf) -> Array:
    from siamkit.backend.beyond_keras import run_saved_model

    return np.asarray(run_saved_model(str(place), items))


RUN: dict[str, Callable[[Path, Leaf], Array]] = {"onnx": _run_onnx, "saved_model": _run_saved_model}


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1:])
