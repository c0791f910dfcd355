"""A comparison, and a dimension curve, as documents for the page."""

from __future__ import annotations

from typing import Any

from siamkit.comparison.result import Comparison, Disagreement
from siamkit.data.thumbnails import Thumbnail
from siamkit.report.model import Chart, Document, Gallery, Items, Listing, Part, Section, Table
from siamkit.stats.compression import SizeCurve


def side_by_side(found: Comparison) -> Document:
    """What a comparison found: verdicts, differences, how alike, and what they disagree on."""
    shelf = _Shelf()
    sections = [_differences(found), _likeness(found), _disagreements(found, shelf)]
    return Document(f"{' and '.join(found.names)}, side by side", found.verdicts(), sections, shelf.items())


def made_smaller(name: str, curve: SizeCurve) -> Document:
    """What an embedding is worth at several sizes."""
    measures = list(curve[0].measures)
    rows = [
        (
            each.how,
            each.dim,
            each.bytes_per_vector,
            *each.measures.values(),
            "yes" if each.pareto_optimal else "no",
        )
        for each in curve
    ]
    table = Table.of(("way", "dimensions", "bytes a vector", *measures, "on the front"), rows)
    words = (
        "On the Pareto front is what nothing at most as large is as good as. Directions, steps and means "
        "were learnt from these very items, which flatters pca, int8 and binary."
    )
    chart = Chart("sizes", "Dimension curve", curve.plot(), table, words)
    least = min((each for each in curve if each.pareto_optimal), key=lambda each: each.bytes_per_vector)
    lead = [
        f"Whole it takes {curve[0].bytes_per_vector:g} bytes a vector and reaches "
        f"{curve[0].measures[measures[0]]:.4f} in {measures[0]}; the smallest on the front takes "
        f"{least.bytes_per_vector:g} ({least.how}, {least.dim} dimensions) and reaches "
        f"{least.measures[measures[0]]:.4f}."
    ]
    return Document(f"{name}, made smaller", lead, [Section("sizes", "Quality against size", (), [chart])])


def _differences(found: Comparison) -> Section:
    level = f"{found.differences[0].level:.0%}"
    columns = ("difference", "figure", "size", "low", "high", "p, corrected", "shown")
    rows = [
        (f"{b} - {a}", each.measure, each.difference, each.low, each.high, each.p_adjusted, each.significant)
        for (a, b), each in zip(found.pairs, found.differences, strict=True)
    ]
    told = [(*row[:-1], "yes" if row[-1] else "not at this size") for row in rows]
    measures = list(next(iter(found.values.values())))
    reached = [
        (name, figure, value.value, value.low, value.high)
        for name in found.names
        for figure, value in ((figure, found.values[name][figure]) for figure in measures)
    ]
    parts: list[Part] = [
        Chart(
            "differences",
            "Differences",
            found.plot(),
            Table.of(columns, told),
            f"{level} intervals over {found.over}. A full mark: the interval leaves zero out; an open one: "
            "no difference is shown at this size.",
        ),
        Listing(
            "values",
            "What each reaches",
            Table.of(("contender", "figure", "value", "low", "high"), reached),
            f"{level} intervals over {found.over}. Two that overlap say nothing about the difference.",
        ),
    ]
    return Section("differences", "How they differ", found.notes, parts)


def _likeness(found: Comparison) -> Section:
    columns = ("contenders", "CKA", "Procrustes", "neighbours shared", "distances' rank correlation")
    rows = [
        (f"{each.a} · {each.b}", each.cka, each.procrustes, each.overlap, each.rank_correlation)
        for each in found.likeness
    ]
    words = f"From {found.likeness[0].items:,} items."
    listing = Listing("likeness", "How alike two embeddings are", Table.of(columns, rows), words)
    return Section("likeness", "How alike they are, whatever they are worth", (), [listing])


def _disagreements(found: Comparison, shelf: _Shelf) -> Section:
    parts: list[Part] = []
    for number, ((a, b), queries) in enumerate(found.disagreements.items()):
        if not queries:
            continue
        title = f"{a} and {b}"
        if queries[0].right is None:
            columns = ("pair", "score", a, b)
            rows = [(_words(found, each), each.label, *each.scores) for each in queries]
            words = "Of 1, how near the rank of the similarity is to that of the score."
            parts.append(Listing(f"apart-{number}", title, Table.of(columns, rows), words))
            continue
        shown = [
            (f"{a} {each.scores[0]:.3f}, {b} {each.scores[1]:.3f}", *_shown(found, each, shelf))
            for each in queries
        ]
        words = (
            f"The query, what {a} finds nearest, and what {b} does; ✓ and a full frame: of its class."
            if queries[0].nearest is not None
            else f"One side of the pair and what is true of it; the other as {a} takes it, and as {b} does, "
            "✓ and a full frame: rightly."
        )
        parts.append(Gallery(f"apart-{number}", title, shown, words))
    return Section("disagreements", "What they differ most on", (), parts)


def _shown(found: Comparison, each: Disagreement, shelf: _Shelf) -> tuple[int, list[int]]:
    """Places of the query and of what each finds; of pairs, of one side and of the other as each takes it."""
    looks = found.looks.get(each.query, ())
    query = shelf.put(each.id, each.label if each.nearest else _truth(bool(each.label)), looks[:1])
    if each.nearest is not None and each.nearest_ids is not None and each.nearest_labels is not None:
        nearest = zip(each.nearest, each.nearest_ids, each.nearest_labels, strict=True)
        return query, [shelf.put(id, label, found.looks.get(row, ())) for row, id, label in nearest]
    taken = [_truth(bool(each.label) == right) for right in each.right or ()]
    return query, [shelf.put(each.id, label, looks[1:]) for label in taken]


def _truth(alike: bool) -> str:
    return "alike" if alike else "not alike"


def _words(found: Comparison, each: Disagreement) -> str:
    return " · ".join(look.text for look in found.looks.get(each.query, ()) if look.text) or each.id


class _Shelf:
    """Items that are shown, put one after the other."""

    def __init__(self) -> None:
        self._put: list[tuple[str, str, Thumbnail]] = []

    def put(self, id: str, label: Any, looks: tuple[Thumbnail, ...]) -> int:
        """The place of an item."""
        self._put.append((id, str(label), looks[0] if looks else Thumbnail()))
        return len(self._put) - 1

    def items(self) -> Items:
        looks = [look for _, _, look in self._put]
        return Items(
            [id for id, _, _ in self._put],
            [label for _, label, _ in self._put],
            [look.image for look in looks] if any(look.image for look in looks) else None,
            [look.text or None for look in looks] if any(look.text for look in looks) else None,
        )
