"""A comparison as a piece of a page: verdicts, tables, and what two disagree on, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siamkit.comparison.result import Comparison
    from siamkit.data.thumbnails import Thumbnail

SHOWN = 12  # disagreements of two


def fragment(found: Comparison, shown: int = SHOWN) -> str:
    """HTML that stands by itself in a notebook or a page; whatever names it holds are escaped.

    Args:
        found: the comparison.
        shown: disagreements of each two.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("siamkit", "comparison"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("comparison.html").render(
        found=found,
        level=f"{found.differences[0].level:.0%}",
        measures=list(next(iter(found.values.values()))),
        differences=list(zip(found.pairs, found.differences, strict=True)),
        disagreements=[(a, b, queries[:shown]) for (a, b), queries in found.disagreements.items() if queries],
        looks=lambda row: _looks(found.thumbnails.get(row, ())),
    )


def _looks(looks: Sequence[Thumbnail]) -> list[dict[str, Any]]:
    return [{"source": look.source if look.image else "", "text": look.text} for look in looks]
