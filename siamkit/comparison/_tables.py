"""A comparison as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from siamkit.comparison.result import Comparison, Disagreement
from siamkit.stats.compression import Size

SHOWN = 6  # disagreements of two

RIGHT, WRONG = "✓", "✗"  # beside their colours, which not everybody sees


def tables(found: Comparison) -> Iterator[Table | Text]:
    """What each contender reaches; how alike two are; the queries that they differ most on."""
    yield Text(f"{found.differences[0].level:.0%} intervals over {found.over}", style="italic")
    measures = list(next(iter(found.values.values())))
    reached = _table("", *measures)
    for name in found.names:
        values = found.values[name]
        reached.add_row(
            name,
            *(
                f"{values[measure].value:.4f} [{values[measure].low:.4f}, {values[measure].high:.4f}]"
                for measure in measures
            ),
        )
    yield reached
    yield Text("how alike", style="italic")
    alike = Table(box=None, pad_edge=False)
    for name in ("", "CKA", "Procrustes", "neighbours shared", "distances' rank correlation"):
        alike.add_column(name, justify="left" if not name else "right")
    for each in found.similarities:
        alike.add_row(
            f"{each.a} · {each.b}",
            *(
                f"{value:.3f}"
                for value in (each.cka, each.procrustes, each.neighbor_overlap, each.rank_correlation)
            ),
        )
    yield alike
    for (a, b), queries in found.disagreements.items():
        if queries:
            yield Text(f"{a} and {b} differ most on", style="italic")
            yield _apart(found, a, b, queries[:SHOWN])


def _apart(found: Comparison, a: str, b: str, queries: list[Disagreement]) -> Table:
    pairs = queries[0].nearest is None
    shown = _table(*(("pair", "alike") if pairs else ("query", "class")), a, b)
    for each in queries:
        answers = [_answer(found, each, side) for side in (0, 1)]
        shown.add_row(_name(found, each.query, each.id), str(each.label), *answers)
    return shown


def _answer(found: Comparison, each: Disagreement, side: int) -> Text:
    """Whether it is right, the score, and what is found nearest."""
    told = Text()
    if each.correct is not None:
        told.append(RIGHT if each.correct[side] else WRONG, "green" if each.correct[side] else "red")
        told.append(" ")
    told.append(f"{each.scores[side]:.3f}")
    if each.nearest is not None and each.nearest_ids is not None:
        told.append(f"  {_name(found, each.nearest[side], each.nearest_ids[side])}", "dim")
    return told


def _name(found: Comparison, row: int, id: str) -> str:
    """The text of an item, or of both of a pair; else its id."""
    texts = [look.text for look in found.thumbnails.get(row, ()) if look.text]
    whole = " · ".join(texts) or id
    return whole if len(whole) <= 60 else whole[:59] + "…"


def _table(*names: str) -> Table:
    shown = Table(box=None, pad_edge=False)
    for name in names:
        shown.add_column(name)
    return shown


def size_table(curve: Sequence[Size]) -> Table:
    """What embeddings are worth at several sizes, the largest first."""
    shown = Table(box=None, pad_edge=False)
    for name in ("", "dim", "bytes", *curve[0].measures, ""):
        shown.add_column(name, justify="right" if name else "left")
    for each in curve:
        measures = (f"{value:.4f}" for value in each.measures.values())
        mark = "Pareto-optimal" if each.pareto_optimal else ""
        shown.add_row(each.how, str(each.dim), f"{each.bytes_per_vector:g}", *measures, mark)
    return shown
