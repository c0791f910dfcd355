"""The base of all preprocessors: raw items in, numbers for an encoder out.

They run in NumPy on the host and belong to the model; they are stored as data, never as code.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from siamkit.data.dataset import Array, Leaf
from siamkit.errors import DataError

VERSION = 1  # of the stored form

Shape = tuple[int, ...] | dict[str, tuple[int, ...]]


class Preprocessor(ABC):
    """A function fitted on training items that turns raw items into the input of the encoder.

    A subclass's constructor takes exactly its `config()`, `arrays()` and `texts()`, by keyword, so only these
    are stored.
    """

    kind: ClassVar[str]
    documents: ClassVar[tuple[str, ...]] = ()
    """The keys of `texts()`."""

    @property
    @abstractmethod
    def input_shape(self) -> Shape:
        """Return the shape of one prepared item; for items of several arrays a dict of shapes."""

    @property
    def facts(self) -> dict[str, Any]:
        """Return the facts that an encoder may need: `vocabulary_size`, `max_length`, `columns`."""
        return {}

    @abstractmethod
    def __call__(self, leaf: Leaf) -> Leaf:
        """Prepare items: raw ones `(n, …)` to float32 or int32 `(n, *input_shape)`, or a dict of arrays."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the settings as JSON data."""

    def arrays(self) -> dict[str, Array]:
        """Return the fitted arrays."""
        return {}

    def texts(self) -> dict[str, str]:
        """Return the fitted documents; each is stored in a file of its own name."""
        return {}

    def save(self, folder: str | Path) -> None:
        """Write `preprocessor.json` and the files that belong to it to a folder, created if necessary."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        arrays, texts = self.arrays(), self.texts()
        header = {"version": VERSION, "kind": self.kind, "config": self.config(), "arrays": bool(arrays)}
        if arrays:
            np.savez(target / "arrays.npz", **arrays)  # type: ignore[arg-type, unused-ignore]
        for name, text in texts.items():
            (target / f"{name}.json").write_text(text, encoding="utf-8")
        (target / "preprocessor.json").write_text(json.dumps(header, indent=1), encoding="utf-8")


def single(leaf: Leaf) -> Array:
    """Return the leaf as one array; an object array if its items differ in size.

    Raises:
        DataError: the leaf is a dict of arrays.
    """
    if isinstance(leaf, dict):
        raise DataError(f"should be one array of items, got fields {', '.join(leaf)}")
    try:
        return np.asarray(leaf)
    except ValueError:
        items = np.empty(len(leaf), object)
        for number, item in enumerate(leaf):
            items[number] = np.asarray(item)
        return items
