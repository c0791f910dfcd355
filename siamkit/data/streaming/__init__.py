"""A stream of items with their ids, a chunk at a time, and the stream that reads a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamkit.data.dataset import Leaf
from siamkit.data.preprocessing import Preprocessor
from siamkit.data.preprocessing.columns import ColumnEncoder
from siamkit.data.preprocessing.scaling import Standardizer
from siamkit.data.preprocessing.text import TextTokenizer, TokenPadder
from siamkit.data.sources.table_files import read_header, read_parts
from siamkit.data.sources.tables import Table
from siamkit.errors import DataError, nearest


@dataclass(frozen=True)
class Chunk:
    """A chunk of items as read: their ids, their labels or None, and the items."""

    ids: Sequence[str]
    labels: Any
    items: Leaf


@dataclass(frozen=True)
class Stream:
    """The items of a file, folder or dataset, read in chunks.

    Args:
        total: the number of items, or None if it is unknown.
        chunks: iterator over the chunks of items, which are read during the iteration.
        pairs: whether the data are pairs; the stream has only one of their sides.
        notes: sentences about omitted items; complete after the last chunk.
    """

    total: int | None
    chunks: Iterator[Chunk]
    pairs: bool = False
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class StreamRequest:
    """A request for items: which of the data to read, and how.

    Args:
        preprocessor: the model's preprocessor; its kind says which input the model takes.
        size: the number of items in a chunk.
        side: the side of pairs to read, 0 or 1; for data of one side, the number of the encoder that embeds
            them.
        towers: the number of encoders of the model.
        columns: names of the columns of a table, or of the array of an `.npz` file; by default the usual
            names.
        label, id: names of the columns or arrays of labels and of ids.
        with_targets: whether to return the targets of pairs if `label` is None.
        skip_unreadable: whether to leave out images that cannot be read.
    """

    preprocessor: Preprocessor | None = None
    size: int = 256
    side: int = 0
    towers: int = 1
    columns: tuple[str, ...] = ()
    label: str | None = None
    id: str | None = None
    with_targets: bool = False
    skip_unreadable: bool = False

    def check_unnamed(self, path: object) -> None:
        """Raise DataError if columns are named of data that have no named columns or arrays."""
        named = {"columns": ", ".join(self.columns), "label": self.label, "id": self.id}
        for what, value in named.items():
            if value:
                raise DataError(
                    f"{path} has no columns with names, so {what} {value!r} (--{what}) would be "
                    "ignored: leave it out"
                )

    def check_one_sided(self, path: object) -> None:
        """Raise DataError if side 1 is requested of data with one side, from a model with one encoder."""
        if self.side and self.towers == 1:
            raise DataError(f"{path} has no side 1: its items have one side, and the model has one encoder")


# The columns of pairs, and the column of their targets.
_SIDES = {("left", "right"): "target", ("a", "b"): "y"}


def table_stream(path: Path, request: StreamRequest, files: ExitStack) -> Stream:
    """Return a stream of the rows of a table, each an item with the requested columns, else the model's.

    Raises:
        DataError: a column does not exist, or its values do not fit the model.
    """
    names, total = read_header(path)
    chosen = _choose_columns(path, names, request)

    def chunks() -> Iterator[Chunk]:
        done = 0
        parts = files.enter_context(closing(read_parts(path, chosen.all, request.size)))
        for arrow in parts:
            for start in range(0, len(arrow), request.size):
                rows = Table(path, arrow.slice(start, request.size), done + 1)
                count = len(rows.arrow)
                ids = [str(done + number) for number in range(count)]
                if chosen.id is not None:
                    ids = rows.ids(chosen.id).tolist()
                labels = None if chosen.label is None else _labels(rows, chosen.label)
                yield Chunk(ids, labels, _items(rows, chosen, request.preprocessor))
                done += count

    return Stream(total, chunks(), chosen.pairs)


# ------------------------------------------------------------------ which columns


@dataclass(frozen=True)
class _Columns:
    """The names of the columns of items, labels and ids; and whether the rows are pairs.

    `fields` are the names under which the model takes the columns of `features`: those of the left side.
    """

    features: list[str]
    fields: list[str]
    label: str | None
    id: str | None
    pairs: bool

    @property
    def all(self) -> list[str]:
        return list(dict.fromkeys(name for name in (*self.features, self.label, self.id) if name is not None))


def _choose_columns(path: Path, names: list[str], request: StreamRequest) -> _Columns:
    """Return the named columns, else those that the model was trained on, else those with the usual names."""
    encoder = request.preprocessor
    trained = {} if encoder is None else encoder.columns
    tabular = [*encoder.numeric, *encoder.categorical] if isinstance(encoder, ColumnEncoder) else []
    if tabular and request.columns:
        raise DataError(
            f"the model takes the columns {', '.join(tabular)}, so columns (--columns) would be ignored: "
            "leave it out"
        )
    pair, target = _pair_columns(names, trained, request, bool(tabular))
    known = trained.get("features") or trained.get(("left", "right")[request.side], ())
    items = list(request.columns) or (list(known) if set(known) <= set(names) else [])
    features = list(pair[request.side]) if pair else tabular or items
    required = [*features, *request.columns, *filter(None, (request.label, request.id))]
    for name in required:
        if name not in names:
            raise DataError(f"{path} has no column {name!r}; {nearest(name, names)}")
    if not pair:
        request.check_one_sided(path)
    labels = [*([target] if pair and request.with_targets else []), *trained.get("label", ()), "label"]
    label = request.label or next((name for name in labels if name in names and name not in features), None)
    id = request.id or ("id" if "id" in names and "id" not in features else None)
    others = [name for name in names if name not in (label, id)]
    if not features and len(others) != 1:
        raise DataError(
            f"choose the columns of {path} to embed with columns (--columns): {', '.join(others)}; pairs "
            "have the columns left, right and target"
        )
    fields = list(pair[0]) if pair else features or others
    return _Columns(features or others, fields, label, id, bool(pair))


def _pair_columns(
    names: list[str], trained: Mapping[str, Sequence[str]], request: StreamRequest, tabular: bool
) -> tuple[tuple[Sequence[str], Sequence[str]] | None, str]:
    """Return the columns of both sides, if the table has them, and the column of the targets."""
    choices: list[tuple[Sequence[str], Sequence[str], str]] = []
    if trained.get("left") and trained.get("right"):
        choices.append((trained["left"], trained["right"], [*trained.get("target", ()), "target"][0]))
    if not tabular:
        choices += [((left,), (right,), target) for (left, right), target in _SIDES.items()]
    for left, right, target in () if request.columns else choices:
        if {*left, *right} <= set(names):
            return (left, right), target
    return None, ""


# ------------------------------------------------------------------ items and labels


def _items(table: Table, chosen: _Columns, preprocessor: Preprocessor | None) -> Leaf:
    features = chosen.features
    if isinstance(preprocessor, ColumnEncoder):
        return {
            field: table.optional_texts(name)
            if field in preprocessor.categorical
            else table.optional_numbers(name)
            for field, name in zip(chosen.fields, features, strict=True)
        }
    fitting = {TextTokenizer: ("text",), TokenPadder: ("tokens",), Standardizer: ("vector", "tokens")}
    kinds = () if preprocessor is None else fitting.get(type(preprocessor), ())
    items, kind = table.view(features, *kinds[:1])
    if preprocessor is not None and kind not in kinds:
        raise DataError(
            f"{', '.join(features)} of {table.path} makes {kind}, but the model takes "
            f"{(kinds or ('no rows of tables',))[0]}"
        )
    return items


def _labels(table: Table, name: str) -> Any:
    """Return labels, or None where missing; texts for a format whose types one chunk cannot show."""
    column = table.arrow.column(name)
    if table.path.suffix.lower() == ".parquet":
        return column.combine_chunks()
    texts, is_missing = table.optional_texts(name), column.is_null().to_numpy()
    return [None if missing else text for text, missing in zip(texts, is_missing, strict=True)]
