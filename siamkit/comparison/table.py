"""A comparison as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from siamkit.comparison.comparison import Comparison


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
