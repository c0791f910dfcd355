"""The process that `siamkit.export.formats` starts: it writes an encoder, runs the export, and compares.

Embeddings are compared with those of the model on the backend that it was trained on.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from siamkit.backend.beyond_keras import run_saved_model, write_torch_onnx
from siamkit.data.dataset import Array, Leaf, take
from siamkit.errors import SiamkitError
from siamkit.export.formats import TOLERANCE, ExportAnswer, ExportRequest, in_float32
from siamkit.model.factory import load_model
from siamkit.registry.registry import components

Write = Callable[[keras.Model, Path, Leaf], None]


def main(arguments: list[str]) -> None:
    """Answer `python -m siamkit.export._child REQUEST.json` in the file that the request names."""
    request = ExportRequest(**json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    sys.path.extend(entry for entry in request.path if entry not in sys.path)
    try:
        answer = _answer(request)
    except SiamkitError as error:
        answer = ExportAnswer(str(error))
    Path(request.answer).write_text(json.dumps(asdict(answer)), encoding="utf-8")


def _answer(request: ExportRequest) -> ExportAnswer:
    for module in request.plugins:
        components().load_module(module)
    encoder = in_float32(load_model(request.model, compile=False).encoder)
    arrays = dict(np.load(request.items, allow_pickle=False))
    expected = arrays.pop("y")
    items: Leaf = {name.removeprefix("x."): leaf for name, leaf in arrays.items()}
    if not request.is_dict:
        items = items["items"]
    encoder(take(items, np.arange(1)), training=False)  # Keras exports no model that was never called
    run, out = RUNNERS[request.format], Path(request.out)
    causes = []
    for write in WRITERS[request.format, keras.backend.backend()]:
        try:
            write(encoder, out, items)
            embeddings = run(out, items)
            # The number of items is free, and a server may well ask for one.
            first = run(out, take(items, np.arange(1)))
        except Exception as error:  # exporters raise errors of every kind
            causes.append(f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}")
            _remove(out)
            continue
        largest = float(np.abs(expected).max())
        difference = max(
            float(np.abs(embeddings - expected).max()), float(np.abs(first - expected[:1]).max())
        )
        if difference <= TOLERANCE * largest:
            return ExportAnswer(
                max_difference=difference, relative_difference=difference / largest if largest else 0.0
            )
        causes.append(f"its embeddings differ from the model's by {difference:.2g} of {largest:.2g}")
        _remove(out)
    return ExportAnswer(", then ".join(causes))


# ------------------------------------------------------------------ writing


def _keras(format: str) -> Write:
    def write(encoder: keras.Model, path: Path, items: Leaf) -> None:
        leaves = items.items() if isinstance(items, dict) else [("items", items)]
        specs = {
            name: keras.InputSpec(shape=(None, *leaf.shape[1:]), dtype=str(leaf.dtype), name=name)
            for name, leaf in leaves
        }
        signature = [specs if isinstance(items, dict) else specs["items"]]
        encoder.export(str(path), format=format, verbose=False, input_signature=signature)

    return write


def _dynamo(encoder: keras.Model, path: Path, items: Leaf) -> None:
    write_torch_onnx(encoder, str(path), items)


def _tf2onnx(encoder: keras.Model, path: Path, items: Leaf) -> None:
    """Write through Keras, with the operation erfc of Keras's GELU, which tf2onnx lacks."""
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

    _keras("onnx")(encoder, path, items)


# By format and backend, in the order in which they are tried.
WRITERS: dict[tuple[str, str], tuple[Write, ...]] = {
    ("onnx", "torch"): (_keras("onnx"), _dynamo),
    ("onnx", "tensorflow"): (_tf2onnx,),
    ("saved_model", "tensorflow"): (_keras("tf_saved_model"),),
}


# ------------------------------------------------------------------ running


def _run_onnx(path: Path, items: Leaf) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (embeddings,) = session.run(None, items if isinstance(items, dict) else {"items": items})
    return np.asarray(embeddings)


def _run_saved_model(path: Path, items: Leaf) -> Array:
    return run_saved_model(str(path), items)


RUNNERS: dict[str, Callable[[Path, Leaf], Array]] = {"onnx": _run_onnx, "saved_model": _run_saved_model}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1:])
