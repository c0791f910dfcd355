"""A report as a page that needs no other file, and in short as a notebook shows it."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup
from PIL import Image

from siamkit._version import __version__
from siamkit.report.model import (
    CHECK_MARKS,
    Chart,
    Document,
    Gallery,
    Items,
    Listing,
    Table,
    cell_text,
    shorten,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

LARGE_BYTES = 900
"""The size in bytes above which a picture is compressed further."""

NOTEBOOK_ROWS = 10
NOTEBOOK_TABLES = ("finalists", "trials")


def render_html(document: Document) -> str:
    """Return the page. Every name in it is escaped, and it loads nothing from elsewhere."""
    from plotly.offline import get_plotlyjs  # late: slow to import

    templates = environment()

    def asset(name: str) -> Markup:
        assert templates.loader is not None
        return Markup(templates.loader.get_source(templates, name)[0])

    return templates.get_template("page.html").render(
        document=document,
        sections=document.filled(),
        marks=CHECK_MARKS,
        version=__version__,
        css=asset("page.css"),
        js=asset("page.js"),
        plotly=Markup(get_plotlyjs()),
    )


def render_notebook(document: Document, *, whole: bool = False) -> str:
    """Return a document as HTML for a notebook. Every name in it is escaped, and it has no script.

    Args:
        document: the document.
        whole: whether to show all paragraphs, tables and galleries, rather than the best rows of the first
            tables of a study's report.
    """
    blocks = [block for section in document.sections for block in section.blocks]
    tables = {
        block.title if whole else block.name: block.table
        for block in blocks
        if isinstance(block, (Chart, Listing)) and block.table.rows
        if whole or block.name in NOTEBOOK_TABLES
    }
    paragraphs = [text for section in document.sections for text in section.paragraphs] if whole else []
    galleries = [block for block in blocks if isinstance(block, Gallery)] if whole else []
    checks = [
        check for section in document.sections for check in section.checks if section.name == "reliability"
    ]
    return (
        environment()
        .get_template("results.html")
        .render(
            document=document,
            paragraphs=paragraphs,
            tables=tables,
            galleries=galleries,
            checks=checks,
            marks=CHECK_MARKS,
            most=NOTEBOOK_ROWS,
        )
    )


def environment() -> jinja2.Environment:
    """Return the templates; they escape all that is put in."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("siamkit", "report/assets"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters |= {"shorten": shorten, "cell": cell_text, "script": script, "chart": _chart}
    templates.filters |= {"table": _table, "items": _items, "picture": _picture}
    return templates


def script(value: object) -> Markup:
    """Return data as JSON that no text in it can end."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _table(table: Table) -> Markup:
    return script({"columns": table.columns, "rows": table.rows})


def _chart(figure: go.Figure) -> Markup:
    """Return data and layout; the page has its own colors for paper and ink."""
    content = json.loads(figure.to_json())
    content["layout"].pop("template", None)
    return script({"data": content["data"], "layout": content["layout"]})


def _items(items: Items) -> Markup:
    pictures = [None if image is None else _picture(image) for image in items.images or ()]
    return script(
        {"ids": items.ids, "labels": items.labels, "images": pictures or None, "texts": items.texts}
    )


def _picture(file: bytes, compress: bool = True) -> str:
    """Return a PNG file as a URL; a large one is compressed further, which changes its pixels a little."""
    kind = "png"
    if compress and len(file) > LARGE_BYTES:
        stream = io.BytesIO()
        with Image.open(io.BytesIO(file)) as picture:
            picture.convert("RGB").save(stream, format="WEBP", quality=60)
        file, kind = stream.getvalue(), "webp"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode('ascii')}"
