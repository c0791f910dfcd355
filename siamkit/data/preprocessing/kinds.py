"""Preprocessors: fitted on the training part, stored and loaded again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from siamkit.data.dataset import Dataset
from siamkit.data.preprocessing.base import VERSION, Preprocessor
from siamkit.data.preprocessing.columns import ColumnEncoder
from siamkit.data.preprocessing.scaling import ImageScaler, Standardizer
from siamkit.data.preprocessing.text import TextTokenizer, TokenPadder
from siamkit.data.sources.arrays import load_arrays
from siamkit.errors import DataError, nearest
from siamkit.io.paths import existing_file, existing_folder, unreadable_as_error

__all__ = ["Preprocessor", "fit_preprocessor", "load_preprocessor"]

# A stored preprocessor may name one of these, and nothing else is ever imported for it.
_KINDS: Mapping[str, type[Preprocessor]] = {
    kind.kind: kind for kind in (ImageScaler, Standardizer, TokenPadder, TextTokenizer, ColumnEncoder)
}


def fit_preprocessor(dataset: Dataset) -> Preprocessor:
    """The preprocessor for this kind of input, fitted on all views of the dataset: the training part.

    Raises:
        DataError: if there is none for its input.
    """
    match dataset.input:
        case "image":
            return ImageScaler.fit(dataset.views)
        case "vector" | "series":
            return Standardizer.fit(dataset.views)
        case "tokens":
            return TokenPadder.fit(dataset.views)
        case "text":
            return TextTokenizer.fit(dataset.views)
        case "tabular":
            return ColumnEncoder.fit(dataset.views)
    raise DataError(
        f"there is no preprocessor for {dataset.input} yet, only for image, vector, series, tokens, text "
        "and tabular"
    )


def load_preprocessor(folder: str | Path) -> Preprocessor:
    """The preprocessor stored in a folder.

    Raises:
        DataError: if it is of no known kind, or damaged.
    """
    place = existing_folder(folder, "a folder with a stored preprocessor")
    path = existing_file(place / "preprocessor.json", "a stored preprocessor")
    with unreadable_as_error(path, "a stored preprocessor", ValueError, RecursionError):
        about = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(about, dict) or about.get("version") != VERSION:
        raise DataError(f"{path} should hold a preprocessor of version {VERSION}")
    kind = _KINDS.get(str(about.get("kind")))
    if kind is None:
        raise DataError(f"{path} names no known preprocessor; {nearest(str(about.get('kind')), _KINDS)}")
    arrays = load_arrays(place / "arrays.npz", "stored arrays") if about.get("arrays") else {}
    texts = {}
    for name in kind.documents:
        with unreadable_as_error(place / f"{name}.json", "a stored preprocessor", ValueError):
            texts[name] = (place / f"{name}.json").read_text(encoding="utf-8")
    try:
        # A wrong key, a wrong type or a wrong shape: the file is not what `save` wrote.
        return kind(**about.get("config", {}), **arrays, **texts)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
