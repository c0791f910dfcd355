"""Save and load in a process that has only the installed modules of a component.

Starting Python with a backend takes seconds, so one process serves all components of a session. Before each
component it forgets the modules of the previous one and what they registered with Keras.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np
from keras import ops, tree

from siamkit.model.factory import load_model
from siamkit.model.siamese import Siamese
from siamkit.registry.catalog import SESSION
from siamkit.registry.registry import components
from siamkit.testing._common import data, model_with
from siamkit.testing._numbers import CannotCheck, close, frozen, numpy, require, while_doing, worst
from siamkit.testing._subject import BATCH, Subject

ANSWER = "siamkit answers: "  # other lines on the way are whatever backends print


def fresh_process(subject: Subject) -> None:
    """Check that a process that imported only siamkit loads a saved model, and gives the same outputs."""
    installed = subject.entry.origin.distribution != SESSION
    if not installed and not subject.plugins:
        raise CannotCheck(
            f"{subject} is known to this session alone; give plugins=[module], the module that registers it"
        )
    with while_doing(f"a model with {subject}"):
        model = model_with(subject)
        x, y = data(subject, BATCH)
        expected = outputs(model, x, y)
    with tempfile.TemporaryDirectory() as folder:
        with while_doing(f"saving a model with {subject}"):
            model.save(Path(folder) / "model.keras")
        np.savez(Path(folder) / "given.npz", y=y, **packed(x))
        error = server().ask({"folder": folder, "plugins": list(subject.plugins)})
        require(error is None, f"a model with {subject} should load in a fresh process, got {error}")
        with np.load(Path(folder) / "got.npz") as got:
            for name, value in expected.items():
                require(
                    close(got[name], value),
                    f"a model with {subject} should give the same {name} in a fresh process, "
                    f"got {worst(got[name], value)}",
                )


def outputs(model: Siamese, x: Any, y: np.ndarray) -> dict[str, np.ndarray]:
    """Return a model's outputs: its embeddings, comparisons of some, and its loss."""
    x = tree.map_structure(ops.convert_to_tensor, x)
    embeddings = model(x, training=False)
    rows = ops.reshape(embeddings, (-1, embeddings.shape[-1]))
    loss = frozen(lambda: model.loss(y, embeddings))
    return {
        "embeddings": numpy(embeddings),
        "comparisons": numpy(model.metric.matrix(rows, rows)),
        "loss": numpy(loss),
    }


def packed(x: Any) -> dict[str, Any]:
    """Return views, each an array or a dict of arrays, as one dict of arrays."""
    views = x if isinstance(x, tuple) else (x,)
    leaves_by_name: dict[str, Any] = {}
    for i, view in enumerate(views):
        leaves = view.items() if isinstance(view, dict) else [("", view)]
        leaves_by_name |= {f"{i}/{name}": leaf for name, leaf in leaves}
    return leaves_by_name


def unpacked(arrays: dict[str, np.ndarray]) -> Any:
    views: dict[str, Any] = {}
    for key, leaf in arrays.items():
        view, _, name = key.partition("/")
        views.setdefault(view, {})[name] = leaf
    given = [view.get("", view) for view in views.values()]
    return tuple(given) if len(given) > 1 else given[0]


# ------------------------------------------------------------------ this side


class Server:
    """The other process, started at the first request."""

    def __init__(self) -> None:
        self.errors: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "siamkit.testing._fresh_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            encoding="utf-8",
            env={
                **os.environ,
                "KERAS_BACKEND": keras.backend.backend(),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
        )
        atexit.register(self.close)

    def ask(self, question: dict[str, Any]) -> str | None:
        """Return the error in the other process, if any."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(question), file=self.process.stdin, flush=True)
            for line in self.process.stdout:
                if line.startswith(ANSWER):
                    answer: str | None = json.loads(line.removeprefix(ANSWER))
                    return answer
        except BrokenPipeError:
            pass
        self.errors.seek(0)
        last = self.errors.read().strip().splitlines()[-1:]
        self.close()
        return f"a process that ended: {''.join(last)}"

    def close(self) -> None:
        """End the process by closing its input."""
        global _server
        _server = None
        atexit.unregister(self.close)
        self.process.communicate()
        self.errors.close()


_server: Server | None = None


def server() -> Server:
    global _server
    if _server is None:
        _server = Server()
    return _server


# ------------------------------------------------------------------ that side


def answer(question: dict[str, Any]) -> None:
    """Load a model and write its outputs into the same folder."""
    folder = Path(question["folder"])
    for module in question["plugins"]:
        components().load_module(module)
    model = load_model(folder / "model.keras")
    with np.load(folder / "given.npz") as given:
        arrays = dict(given)
    y = arrays.pop("y")
    told_here: dict[str, Any] = outputs(model, unpacked(arrays), y)
    np.savez(folder / "got.npz", **told_here)


class Memory:
    """The modules and the classes in Keras's registry that a process holds, to be restored later."""

    def __init__(self) -> None:
        self.modules = set(sys.modules)
        self.registered = dict(keras.saving.get_custom_objects())

    def forget(self, packages: set[str]) -> None:
        """Forget modules of these packages imported since: the next component imports them again."""
        for name in set(sys.modules) - self.modules:
            if name.partition(".")[0] in packages:
                del sys.modules[name]
        keras.saving.get_custom_objects().clear()
        keras.saving.get_custom_objects().update(self.registered)


def main() -> None:
    """Answer requests, one line of JSON each, until the input ends."""
    memory = Memory()
    factories = [e.spec.factory for catalog in components().catalogs() for e in catalog.all()]
    packages = {str(factory).partition(".")[0].partition(":")[0] for factory in factories}
    for line in sys.stdin:
        try:
            answer(json.loads(line))
            error = None
        except Exception as reason:
            first = str(reason).strip().splitlines() or [""]
            error = f"{type(reason).__name__}: {first[0]}"
        print(ANSWER + json.dumps(error), flush=True)
        memory.forget(packages)


if __name__ == "__main__":
    main()
