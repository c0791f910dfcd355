"""A comparison as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from siamkit.comparison.comparison import Comparison
from siamkit.comparison.sizes import Size


def tables(found: Comparison) -> Iterator[Table]:
    """What each contender reaches; how alike two are; the queries that they differ most on."""
    figures = list(next(iter(found.values.values())))
    reached = Table(box=None, pad_edge=False, title=f"95% intervals over {found.over}", title_justify="left")
    for name in ("", *figures):
        reached.add_column(name)
    for name in found.names:
        values = found.values[name]
        reached.add_row(
            name,
            *(
                f"{values[figure].value:.4f} [{values[figure].low:.4f}, {values[figure].high:.4f}]"
                for figure in figures
            ),
        )
    yield reached
    alike = Table(box=None, pad_edge=False, title="how alike", title_justify="left")
    for name in ("", "CKA", "Procrustes", "neighbours shared", "distances' rank correlation"):
        alike.add_column(name, justify="left" if not name else "right")
    for each in found.likeness:
        alike.add_row(
            f"{each.a} · {each.b}",
            *(f"{value:.3f}" for value in (each.cka, each.procrustes, each.overlap, each.rank_correlation)),
        )
    yield alike
    for (a, b), queries in found.disagreements.items():
        if not queries:
            continue
        apart = Table(box=None, pad_edge=False, title=f"{a} and {b} differ most on", title_justify="left")
        for name in ("query", "class", a, b):
            apart.add_column(name)
        for query in queries[:6]:
            apart.add_row(query.id, str(query.label), *(f"{score:.3f}" for score in query.scores))
        yield apart


def size_table(curve: Sequence[Size]) -> Table:
    """What embeddings are worth at several sizes, the largest first."""
    shown = Table(box=None, pad_edge=False)
    for name in ("", "dim", "bytes", *curve[0].figures, ""):
        shown.add_column(name, justify="right" if name else "left")
    for each in curve:
        figures = (f"{value:.4f}" for value in each.figures.values())
        mark = "nothing as small is as good" if each.best else ""
        shown.add_row(each.how, str(each.dim), f"{each.bytes_per_vector:g}", *figures, mark)
    return shown
