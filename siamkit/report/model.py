"""A report as a document: sections of text, tables, charts and checks. Plain data, which renderers show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import JsonValue

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Cell = str | float | int | bool | None

CHECK_MARKS = {"ok": "✓", "warning": "!", "error": "✗"}
"""The mark of each status of a check."""


# ------------------------------------------------------------------ what a document is made of


@dataclass(frozen=True)
class Check:
    """One reason to trust the results of a study, or to doubt them.

    Args:
        status: `ok`; `warning`, the results say less than they seem to; `error`, do not rely on them.
        name: the name of the check: `split`, `confirmed`, `seeds`, ….
        sentence: the result, with its numbers.
    """

    status: Literal["ok", "warning", "error"]
    name: str
    sentence: str


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Args:
        columns: the names of the columns.
        rows: the rows, each with a cell for each column; None for a missing value.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]

    @classmethod
    def of(cls, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
        """Return a table of any values: NumPy numbers become Python's, NaN and infinity become None."""
        return cls(tuple(columns), [tuple(_cell(value) for value in row) for row in rows])

    @cached_property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column holds numbers."""
        columns = ([row[column] for row in self.rows] for column in range(len(self.columns)))
        known = ([cell for cell in cells if cell is not None] for cells in columns)
        return tuple(bool(cells) and all(isinstance(cell, (int, float)) for cell in cells) for cells in known)

    def frame(self) -> pd.DataFrame:
        """Return the same as a pandas table."""
        import pandas as pd  # late: slow to import

        return pd.DataFrame(self.rows, columns=list(self.columns))


@dataclass(frozen=True)
class Chart:
    """A chart with its data.

    Args:
        name: the chart's name, unique in the report.
        title: the title above the chart.
        figure: the Plotly figure. The `customdata` of a point is its index in `Items`.
        table: the data of the chart.
        caption: text that says what the chart shows and how to read it.
        small: whether the chart is so small that two fit next to each other.
    """

    name: str
    title: str
    figure: go.Figure
    table: Table
    caption: str
    small: bool = False
    kind: Literal["chart"] = "chart"


@dataclass(frozen=True)
class Listing:
    """A table that the reader can sort and search.

    Args:
        name: the table's name, unique in the report.
        title: the title above the table.
        table: the table, its rows in their first order.
        caption: text that says how to read the table.
    """

    name: str
    title: str
    table: Table
    caption: str = ""
    kind: Literal["listing"] = "listing"


@dataclass(frozen=True)
class Gallery:
    """Queries with their nearest items.

    Args:
        name: the gallery's name, unique in the report.
        title: the title above the gallery.
        queries: the queries, each with the reason why it is shown, its index in `Items`, and those of its
            neighbors.
        caption: text that says how to read the gallery.
    """

    name: str
    title: str
    queries: list[tuple[str, int, list[int]]]
    caption: str
    kind: Literal["gallery"] = "gallery"


@dataclass(frozen=True)
class Explorer:
    """Any item with its neighbors; the reader chooses.

    Args:
        name: the explorer's name, unique in the report.
        title: the title above the explorer.
        neighbors: `(m, k)` the indices in `Items` of each item's neighbors.
        caption: text that says how to use the explorer.
    """

    name: str
    title: str
    neighbors: list[list[int]]
    caption: str
    kind: Literal["explorer"] = "explorer"


@dataclass(frozen=True)
class Source:
    """Text to copy: a file or a command."""

    name: str
    title: str
    text: str
    caption: str = ""
    kind: Literal["source"] = "source"


@dataclass(frozen=True)
class Picture:
    """A picture.

    Args:
        name: the picture's name, unique in the report.
        title: the title above the picture.
        png: the contents of a PNG file.
        caption: text that says what the picture shows.
    """

    name: str
    title: str
    png: bytes
    caption: str
    kind: Literal["picture"] = "picture"


Block = Chart | Listing | Gallery | Explorer | Source | Picture


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Args:
        name: the section's name, unique in the report.
        title: its heading.
        paragraphs: the paragraphs of text.
        blocks: the charts, tables and other blocks after the text.
        checks: the checks, listed with their marks.
    """

    name: str
    title: str
    paragraphs: Sequence[str] = ()
    blocks: Sequence[Block] = ()
    checks: Sequence[Check] = ()


@dataclass(frozen=True)
class Items:
    """The items that charts and galleries show.

    Args:
        ids, labels: the id and the label of each item.
        images: the PNG file of each item; None if the items have no images.
        texts: the text of each item; None if the items have no texts.
    """

    ids: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    images: list[bytes | None] | None = None
    texts: list[str | None] | None = None

    def text(self, row: int) -> str:
        """Return the text of an item, or its id."""
        return (self.texts[row] if self.texts else None) or self.ids[row]


@dataclass(frozen=True)
class Document:
    """A report as a document, for any renderer.

    Args:
        title: the title of the report.
        lead: the most important sentences.
        sections: the sections in order; empty ones are left out.
        items: the items that charts and galleries show.
    """

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]
    items: Items = Items()

    def filled(self) -> list[Section]:
        """Return the sections that are not empty."""
        return [
            section for section in self.sections if section.paragraphs or section.blocks or section.checks
        ]

    def tables(self) -> dict[str, Table]:
        """Return every table by the name of its block, including those of charts."""
        return {
            block.name: block.table
            for section in self.sections
            for block in section.blocks
            if isinstance(block, (Chart, Listing))
        }

    def charts(self) -> dict[str, go.Figure]:
        """Return every Plotly figure by the name of its block."""
        return {
            block.name: block.figure
            for section in self.sections
            for block in section.blocks
            if isinstance(block, Chart)
        }

    def to_json(self) -> JsonValue:
        """Return all text and all tables as plain data, and the items without their images."""
        return {
            "title": self.title,
            "lead": list(self.lead),
            "sections": [self._section_to_json(section) for section in self.filled()],
        }

    def _section_to_json(self, section: Section) -> JsonValue:
        return {
            "name": section.name,
            "title": section.title,
            "paragraphs": list(section.paragraphs),
            "checks": [
                {"status": check.status, "name": check.name, "sentence": check.sentence}
                for check in section.checks
            ],
            "tables": {
                block.name: {
                    "title": block.title,
                    "caption": block.caption,
                    "columns": list(block.table.columns),
                    "rows": [list(row) for row in block.table.rows],
                }
                for block in section.blocks
                if isinstance(block, (Chart, Listing))
            },
            "queries": [
                {
                    "reason": reason,
                    "query": self.items.ids[query],
                    "neighbors": [self.items.ids[neighbor] for neighbor in neighbors],
                }
                for block in section.blocks
                if isinstance(block, Gallery)
                for reason, query, neighbors in block.queries
            ],
        }


# ------------------------------------------------------------------ text


def shorten(text: str, length: int = 120) -> str:
    """Return a text, cut to a length with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def cell_text(value: Cell) -> str:
    """Return a cell as text; `page.js` shows cells in the same way."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return shorten(str(value), 200)
    if value == int(value):
        return str(int(value))
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.2g}" if abs(value) < 0.001 else f"{value:.4f}"


def _cell(value: object) -> Cell:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)
