"""The kinds of preprocessors: fit the one for a dataset, load a stored one."""

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

# A stored preprocessor names one of these; nothing else is ever imported for it.
_KINDS: Mapping[str, type[Preprocessor]] = {
    kind.kind: kind for kind in (ImageScaler, Standardizer, TokenPadder, TextTokenizer, ColumnEncoder)
}


def fit_preprocessor(dataset: Dataset) -> Preprocessor:
    """Return the preprocessor for the dataset's kind of input, fitted on all its views.

    Args:
        dataset: the training items.

    Raises:
        DataError: siamkit does not prepare this kind of input.
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
        f"siamkit has no preprocessor for {dataset.input} input, only for image, vector, series, tokens, "
        "text and tabular"
    )


def load_preprocessor(folder: str | Path) -> Preprocessor:
    """Return the preprocessor stored in a folder.

    Raises:
        DataError: the folder does not hold one, or its kind is unknown, or its files are damaged.
    """
    root = existing_folder(folder, "a folder with a stored preprocessor")
    path = existing_file(root / "preprocessor.json", "a stored preprocessor")
    with unreadable_as_error(path, "a stored preprocessor", ValueError, RecursionError):
        header = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(header, dict) or header.get("version") != VERSION:
        raise DataError(f"{path} should hold a preprocessor of version {VERSION}")
    kind = _KINDS.get(str(header.get("kind")))
    if kind is None:
        raise DataError(f"{path} names no known preprocessor; {nearest(str(header.get('kind')), _KINDS)}")
    arrays = load_arrays(root / "arrays.npz", "stored arrays") if header.get("arrays") else {}
    texts = {}
    for name in kind.documents:
        with unreadable_as_error(root / f"{name}.json", "a stored preprocessor", ValueError):
            texts[name] = (root / f"{name}.json").read_text(encoding="utf-8")
    try:
        # A wrong key, type or shape: the file was not written by `save`.
        return kind(**header.get("config", {}), **arrays, **texts)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
