"""The base of all preprocessors: raw items in, numbers for an encoder out.

They run in NumPy on the host and belong to the model; they are stored as data, never as code.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np

from siamkit.data.dataset import Array, Leaf
from siamkit.errors import DataError
from siamkit.io.values import as_array

VERSION = 1  # of the stored form

Shape = tuple[int, ...] | dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Altered:
    """How many items lose content when they are prepared.

    Args:
        items: the number of items.
        cut: the number of items that are longer than `max_length` and are cut.
        unknown: the number of items with token ids above `highest`, which all become one id.
        max_length: the length of a prepared item.
        longest: the length of the longest of these items.
        highest: the highest token id of the training items.
    """

    items: int = 0
    cut: int = 0
    unknown: int = 0
    max_length: int = 0
    longest: int = 0
    highest: int | None = None

    def __bool__(self) -> bool:
        return bool(self.cut or self.unknown)

    def __add__(self, other: Altered) -> Altered:
        return Altered(
            self.items + other.items,
            self.cut + other.cut,
            self.unknown + other.unknown,
            max(self.max_length, other.max_length),
            max(self.longest, other.longest),
            self.highest if other.highest is None else other.highest,
        )

    def sentence(self) -> str:
        """Return the counts as a sentence; empty if nothing is altered.

        Example:
            >>> from siamkit.data import Altered
            >>> Altered(items=900, cut=12, max_length=24, longest=31).sentence()
            '12 of 900 texts were cut: the longest has 31 pieces, and the model takes 24'
        """
        noun, unit = ("texts", "pieces") if self.highest is None else ("items", "token ids")
        parts = []
        if self.cut:
            parts.append(
                f"{self.cut:,} of {self.items:,} {noun} were cut: the longest has {self.longest:,} "
                f"{unit}, and the model takes {self.max_length:,}"
            )
        if self.unknown:
            parts.append(
                f"{self.unknown:,} of {self.items:,} {noun} have token ids above {self.highest}, the "
                "highest in training: all these ids became one"
            )
        return "; ".join(parts)


class Preprocessor(ABC):
    """A function fitted on training items that turns raw items into the input of the encoder.

    A subclass's constructor takes exactly its `config()`, `arrays()` and `texts()`, by keyword, so only these
    are stored.
    """

    kind: ClassVar[str]
    documents: ClassVar[tuple[str, ...]] = ()
    """The keys of `texts()`."""
    columns: Mapping[str, Sequence[str]] = MappingProxyType({})
    """The columns of the table that it was fitted on: `left`, `right`, `target`, or `features`, `label`."""

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

    def altered(self, leaf: Leaf) -> Altered:
        """Return how many raw items lose content when they are prepared: texts that are cut, for example."""
        return Altered()

    def vary(self, leaf: Leaf, rng: np.random.Generator) -> Leaf:
        """Return prepared items as training sees them, with random changes; unchanged by default."""
        return leaf

    def restored(self, leaf: Leaf) -> Leaf:
        """Return prepared items as raw ones, as far as preparing can be undone; by default unchanged."""
        return leaf

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the settings as JSON data."""

    def arrays(self) -> dict[str, Array]:
        """Return the fitted arrays."""
        return {}

    def texts(self) -> dict[str, str]:
        """Return the fitted documents; each is stored in a file of its own name."""
        return {}

    def with_columns(self, columns: Mapping[str, Sequence[str]]) -> Self:
        """Return the same preprocessor with the columns that it was fitted on, by their role."""
        found = copy(self)
        object.__setattr__(found, "columns", {role: list(names) for role, names in columns.items()})
        return found

    def save(self, folder: str | Path) -> None:
        """Write `preprocessor.json` and the files that belong to it to a folder, created if necessary."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        arrays, texts = self.arrays(), self.texts()
        header = {"version": VERSION, "kind": self.kind, "config": self.config(), "arrays": bool(arrays)}
        if self.columns:
            header["columns"] = dict(self.columns)
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
    if not isinstance(leaf, (list, tuple)) or len({np.shape(item) for item in leaf}) < 2:
        return as_array(leaf, name="items")
    items = np.empty(len(leaf), object)
    for number, item in enumerate(leaf):
        items[number] = np.asarray(item)
    return items
