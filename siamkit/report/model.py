"""What a report is made of: sections of words, tables and charts. Plain data, in no form yet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from siamkit.report.check import Check

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Cell = str | float | int | bool | None


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Args:
        columns: their names.
        rows: a cell a column; None where there is nothing.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]

    @classmethod
    def of(cls, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
        """From any cells: NumPy's numbers become Python's, and what is no number becomes nothing."""
        return cls(tuple(columns), [tuple(_cell(each) for each in row) for row in rows])

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers."""
        cells = [row[column] for row in self.rows if row[column] is not None]
        return bool(cells) and all(isinstance(each, (int, float)) for each in cells)

    def frame(self) -> pd.DataFrame:
        """The same as a DataFrame."""
        import pandas as pd  # late: it is slow to import

        return pd.DataFrame(self.rows, columns=list(self.columns))


@dataclass(frozen=True)
class Chart:
    """A figure with its data.

    Args:
        name: unlike that of any other part of the report.
        title: above it.
        figure: to be drawn. Where points have `customdata`, they are places in `Items`.
        table: the data of the figure.
        words: what there is to see, for those who cannot; and how to read it, for those who can.
        small: whether two fit side by side.
    """

    name: str
    title: str
    figure: go.Figure
    table: Table
    words: str
    small: bool = False
    kind: Literal["chart"] = "chart"


@dataclass(frozen=True)
class Listing:
    """A table to sort and to search.

    Args:
        name: unlike that of any other part of the report.
        title: above it.
        table: its rows, in the order in which they are shown first.
        words: how to read it.
    """

    name: str
    title: str
    table: Table
    words: str = ""
    kind: Literal["listing"] = "listing"


@dataclass(frozen=True)
class Gallery:
    """Queries with what they find nearest, each a place in `Items`.

    Args:
        name: unlike that of any other part of the report.
        title: above it.
        queries: of each why it was chosen, its place, and the places of its neighbours.
        words: how to read it.
    """

    name: str
    title: str
    queries: list[tuple[str, int, list[int]]]
    words: str
    kind: Literal["gallery"] = "gallery"


@dataclass(frozen=True)
class Explorer:
    """Any item with its neighbours, by choice.

    Args:
        neighbors: `(m, k)` places in `Items`.
    """

    name: str
    title: str
    neighbors: list[list[int]]
    words: str
    kind: Literal["explorer"] = "explorer"


@dataclass(frozen=True)
class Source:
    """Text to be copied: a file, a command."""

    name: str
    title: str
    text: str
    kind: Literal["source"] = "source"


Part = Chart | Listing | Gallery | Explorer | Source


@dataclass(frozen=True)
class Section:
    """A part of a report with its heading.

    Args:
        name: a word, unlike that of any other section.
        title: its heading.
        words: paragraphs.
        parts: what follows them.
        findings: listed with their marks.
    """

    name: str
    title: str
    words: Sequence[str] = ()
    parts: Sequence[Part] = ()
    findings: Sequence[Check] = ()


@dataclass(frozen=True)
class Items:
    """The items that charts and galleries show.

    Args:
        ids, labels: of each.
        images: PNG files, or None where there are none.
        texts: or None.
    """

    ids: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    images: list[bytes | None] | None = None
    texts: list[str | None] | None = None


@dataclass(frozen=True)
class Document:
    """A report.

    Args:
        title: of it.
        lead: sentences that tell the most important.
        sections: in order; those without words, parts and findings are left out.
        items: that are shown.
    """

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]
    items: Items = Items()

    def filled(self) -> list[Section]:
        """The sections that have something to say."""
        return [each for each in self.sections if each.words or each.parts or each.findings]

    def tables(self) -> dict[str, Table]:
        """Every table, those of charts among them, by the name of its part."""
        return {
            part.name: part.table
            for section in self.sections
            for part in section.parts
            if isinstance(part, (Chart, Listing))
        }

    def charts(self) -> dict[str, go.Figure]:
        """Every figure, by the name of its part."""
        return {
            part.name: part.figure
            for section in self.sections
            for part in section.parts
            if isinstance(part, Chart)
        }


def _cell(value: Any) -> Cell:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)
