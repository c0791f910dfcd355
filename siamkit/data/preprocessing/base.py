"""What every preprocessor is: raw items in, numbers for an encoder out.

They run on the host, in NumPy, and belong to the model; they are stored as data and never as code.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from siamkit.data.dataset import Array, Leaf
from siamkit.errors import DataError

VERSION = 1

Shape = tuple[int, ...] | dict[str, tuple[int, ...]]


class Preprocessor(ABC):
    """What raw items go through on their way to the encoder.

    A kind is made from its `config()`, `arrays()` and `texts()`, all by keyword, and from nothing
    else; so that is all that is stored.
    """

    kind: ClassVar[str]
    documents: ClassVar[tuple[str, ...]] = ()
    """The names of its `texts()`."""

    @property
    @abstractmethod
    def input_shape(self) -> Shape:
        """The shape of one prepared item; of an item of several arrays a dict of shapes."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the data know that an encoder may need: `vocabulary_size`, `max_length`, `columns`."""
        return {}

    @abstractmethod
    def __call__(self, leaf: Leaf) -> Leaf:
        """Prepare items: raw ones `(n, …)` to float32 or int32 `(n, *input_shape)`, or a dict."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The settings, fit for JSON."""

    def arrays(self) -> dict[str, Array]:
        """The fitted arrays."""
        return {}

    def texts(self) -> dict[str, str]:
        """The fitted documents, each stored in a file of its name."""
        return {}

    def save(self, folder: str | Path) -> None:
        """Store in a folder, made if need be: `preprocessor.json`, and the files that go with it."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        arrays, texts = self.arrays(), self.texts()
        about = {"version": VERSION, "kind": self.kind, "config": self.config(), "arrays": bool(arrays)}
        if arrays:
            np.savez(place / "arrays.npz", **arrays)  # type: ignore[arg-type, unused-ignore]
        for name, text in texts.items():
            (place / f"{name}.json").write_text(text, encoding="utf-8")
        (place / "preprocessor.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def single(leaf: Leaf) -> Array:
    """The leaf as the one array that it should be; of objects where items differ in size."""
    if isinstance(leaf, dict):
        raise DataError(f"should be one array of items, got fields {', '.join(leaf)}")
    try:
        return np.asarray(leaf)
    except ValueError:
        items = np.empty(len(leaf), object)
        for number, item in enumerate(leaf):
            items[number] = np.asarray(item)
        return items
