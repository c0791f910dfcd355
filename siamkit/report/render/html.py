"""A report as one page that needs nothing but itself."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs

from siamkit._version import __version__
from siamkit.report.model import Cell, Document, Items, Table

LARGE = 900  # bytes of a picture from which it is made smaller
MARKS = {"good": ("✓", "good"), "caution": ("!", "caution"), "fault": ("✗", "fault")}


def render(document: Document) -> str:
    """The page as text. Every name in it is escaped, and it fetches nothing."""
    templates = environment()

    def asset(name: str) -> Markup:
        assert templates.loader is not None
        return Markup(templates.loader.get_source(templates, name)[0])

    return templates.get_template("page.html").render(
        document=document,
        sections=document.filled(),
        marks=MARKS,
        version=__version__,
        css=asset("page.css"),
        js=asset("page.js"),
        plotly=Markup(get_plotlyjs()),
    )


def environment() -> jinja2.Environment:
    """The templates; what they are given is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("siamkit", "report/assets"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters |= {"cut": cut, "cell": cell, "script": script, "chart": _chart}
    made.filters |= {"table": _table, "items": _items}
    return made


def cut(text: str, most: int = 120) -> str:
    """Its beginning, where a text is long."""
    return text if len(text) <= most else text[: most - 1] + "…"


def cell(value: Cell) -> str:
    """A cell as text; as page.js has it, too."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return cut(str(value), 200)
    if value == int(value):
        return str(int(value))
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.2g}" if abs(value) < 0.001 else f"{value:.4f}"


def script(value: Any) -> Markup:
    """Data as JSON that no text in it can end."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _table(table: Table) -> Markup:
    return script({"columns": table.columns, "rows": table.rows})


def _chart(figure: Any) -> Markup:
    """Data and layout; colours of paper and ink are the page's."""
    told = json.loads(figure.to_json())
    told["layout"].pop("template", None)
    return script({"data": told["data"], "layout": told["layout"]})


def _items(items: Items) -> Markup:
    pictures = [None if each is None else _picture(each) for each in items.images or ()]
    return script(
        {"ids": items.ids, "labels": items.labels, "images": pictures or None, "texts": items.texts}
    )


def _picture(file: bytes) -> str:
    """A small PNG file as a URL; one of many colours is made smaller yet."""
    kind = "png"
    if len(file) > LARGE:
        stream = io.BytesIO()
        with Image.open(io.BytesIO(file)) as picture:
            picture.convert("RGB").save(stream, format="WEBP", quality=60)
        file, kind = stream.getvalue(), "webp"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode('ascii')}"
