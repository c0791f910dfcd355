"""What queries find: some shown, and which classes are taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from siamkit.plotting.palette import dressed
from siamkit.report.model import Chart, Gallery, Items, Listing, Part, Table
from siamkit.report.sections._naming import label

HEATED = 30  # classes up to which confusions are a map
CHOSEN = 4  # queries of each sort in the gallery


def right_of(near: Sequence[Sequence[int]], labels: Sequence[str]) -> list[int]:
    """How many of the items found are of the query's class."""
    return [sum(labels[each] == labels[query] for each in found) for query, found in enumerate(near)]


def gallery(near: list[list[int]], items: Items) -> Gallery:
    right = right_of(near, items.labels)
    order = sorted(range(len(near)), key=lambda query: (right[query], query))
    rng = np.random.default_rng(0)
    worst = order[:CHOSEN]
    others = order[CHOSEN:]
    typical = [int(each) for each in rng.choice(others, min(CHOSEN, len(others)), replace=False)]
    queries = [
        (
            f"{sort}: {right[query]} of the {len(near[query])} found are of its class "
            f"({items.labels[query][:60]}).",
            query,
            near[query],
        )
        for sort, chosen in (("Among the worst", worst), ("By chance", typical))
        for query in chosen
    ]
    return Gallery(
        "neighbours", "Queries and what they find", queries,
        "The nearest first. ✓ and a full frame: of the query's class; ✗ and a dashed frame: of another.",
    )  # fmt: skip


def confusions(near: list[list[int]], items: Items) -> list[Part]:
    """Which classes are taken for which, by the item found first."""
    pairs = Counter((items.labels[query], items.labels[found[0]]) for query, found in enumerate(near))
    sizes = Counter(items.labels)
    wrong = sorted(
        ((count / sizes[a], count, a, b) for (a, b), count in pairs.items() if a != b),
        key=lambda each: (-each[0], each[2:]),
    )
    parts: list[Part] = []
    if wrong:
        told = [(a, b, count, share) for share, count, a, b in wrong]
        columns = ("class", "taken for", "queries", "share of its queries")
        table = Table.of(columns, told)
        parts.append(Listing("confusions", "Worst confusions", table, "By the item found first."))
    names = sorted(sizes)
    if 1 < len(names) <= HEATED:
        shares = [[pairs[a, b] / sizes[a] for b in names] for a in names]
        figure = go.Figure(
            go.Heatmap(
                x=[label(each) for each in names],
                y=[label(each) for each in names],
                z=shares,
                zmin=0,
                zmax=1,
                colorscale="Cividis",
                texttemplate="%{z:.0%}" if len(names) <= 12 else None,
                hovertemplate="%{z:.1%} of %{y} find %{x} first<extra></extra>",
            )
        )
        dressed(figure, "class of what is found first", "class of the query", height=200 + 26 * len(names))
        figure.update_xaxes(type="category")
        figure.update_yaxes(type="category", autorange="reversed")
        rows = [
            (a, b, share)
            for a, line in zip(names, shares, strict=True)
            for b, share in zip(names, line, strict=True)
        ]
        said = (
            "Of each class's queries, the share whose first find is of which class; right are those on the "
            "diagonal."
        )
        table = Table.of(("class", "found first", "share"), rows)
        parts.append(Chart("confusion", "Found first", figure, table, said))
    return parts
