"""The embedding of the best configuration: maps, neighbors, confusions, spectrum and geometry."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

import numpy as np
import plotly.graph_objects as go

from siamkit.evaluation.measures import MEASURES
from siamkit.plotting import COLORS, SYMBOLS, color, dressed, symbol
from siamkit.report.load import StoredStudy
from siamkit.report.model import Block, Chart, Explorer, Gallery, Items, Listing, Section, Table
from siamkit.report.sections import label

MAX_MAP_CLASSES = len(COLORS) * len(SYMBOLS)
"""The number of classes with a mark of their own on a map; the others are gray."""

MAX_HEATMAP_CLASSES = 30
QUERIES = 4
"""The number of queries of each kind in the gallery."""


def embedding(stored: StoredStudy) -> tuple[Section, Items]:
    """Return the section about the best configuration, and the items that it shows."""
    title = "The embedding"
    if stored.illustrated is None:
        return Section("embedding", title), Items()
    row, arrays = stored.illustrated
    items = stored.items(arrays["rows"])
    shown, total = len(arrays["rows"]), stored.snapshot.data.split.counts.get("valid", 0)
    paragraph = f"Embedding of {row.description}, on {shown:,} validation items"
    paragraph += (
        f" of {total:,}, drawn at random; neighbors are searched among these." if shown < total else "."
    )
    # Of pairs, the first items.
    embeddings = arrays["embeddings"] if arrays["embeddings"].ndim == 2 else arrays["embeddings"][:, 0]
    blocks: list[Block] = [*_maps(embeddings, items)]
    if "neighbours" in arrays:
        neighbors = arrays["neighbours"].tolist()
        caption = "Move the slider, or choose a point on a map. The nearest item is first."
        blocks += [
            _gallery(neighbors, items),
            Explorer("explorer", "Any item and its neighbors", neighbors, caption),
            *_confusions(neighbors, items),
        ]
    blocks += [_spectrum(embeddings), *_geometry(stored)]
    return Section("embedding", title, [paragraph], blocks), items


# ------------------------------------------------------------------ maps


def _maps(embeddings: np.ndarray, items: Items) -> list[Chart]:
    """Return a map for each projection; none if the embeddings have fewer than two dimensions."""
    if len(embeddings) < 3 or embeddings.shape[1] < 2:
        return []
    return [_map(name, points, items, caption) for name, points, caption in _projections(embeddings)]


def _projections(embeddings: np.ndarray, seed: int = 0) -> Iterator[tuple[str, np.ndarray, str]]:
    """Yield name, `(n, 2)` points and caption of each projection: PCA, t-SNE, and UMAP if it is installed."""
    centered = (embeddings - embeddings.mean(axis=0)).astype(np.float64)
    _, sizes, directions = np.linalg.svd(centered, full_matrices=False)
    share = float((sizes[:2] ** 2).sum() / max((sizes**2).sum(), 1e-30))
    yield (
        "PCA",
        centered @ directions[:2].T,
        f"The first two principal components, {share:.0%} of the variance. Items that are far apart here are "
        "far apart in the embedding; items that are near here may not be.",
    )
    if len(embeddings) < 10 or not sizes[1] > 0:
        return
    from sklearn.manifold import TSNE  # late: slow to import
    from threadpoolctl import threadpool_limits

    # Its threads wait for each other actively: with other work on the machine, one is much faster.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        perplexity = min(30.0, (len(embeddings) - 1) / 3)
        tsne = TSNE(init="pca", random_state=seed, perplexity=perplexity, max_iter=500, angle=0.7)
        yield (
            "t-SNE",
            tsne.fit_transform(embeddings),
            "Near points are similar; the distances between groups, and their sizes, have no meaning.",
        )
        if find_spec("umap") is not None:
            from umap import UMAP

            neighbors = min(15, len(embeddings) - 1)
            umap = UMAP(random_state=seed, n_jobs=1, n_neighbors=neighbors).fit_transform(embeddings)
            yield "UMAP", umap, "Near points are similar; the distances between groups mean little."


def _map(name: str, points: np.ndarray, items: Items, caption: str) -> Chart:
    classes = sorted(name for name, _ in Counter(items.labels).most_common(MAX_MAP_CLASSES))
    rows_of: dict[str | None, list[int]] = {name: [] for name in (*classes, None)}
    for row, name_of_class in enumerate(items.labels):
        rows_of[name_of_class if name_of_class in rows_of else None].append(row)
    figure = go.Figure()
    for number, (class_name, rows) in enumerate(rows_of.items()):
        if not rows:
            continue
        figure.add_trace(
            go.Scatter(
                x=points[rows, 0].round(4).tolist(),
                y=points[rows, 1].round(4).tolist(),
                customdata=rows,
                mode="markers",
                name="others" if class_name is None else label(class_name),
                marker={
                    "color": "#9A9A9A" if class_name is None else color(number),
                    "symbol": "circle-open" if class_name is None else symbol(number),
                    "size": 7,
                    "opacity": 0.75,
                },
                hoverinfo="none",  # the page shows the item itself
            )
        )
    dressed(figure, height=520)
    figure.update_xaxes(showticklabels=False, zeroline=False)
    figure.update_yaxes(showticklabels=False, zeroline=False, scaleanchor="x")
    figure.update_layout(legend={"y": -0.05, "yanchor": "top"}, showlegend=len(classes) > 1)
    table = Table.of(
        ("id", "target", "x", "y"),
        [(items.ids[row], items.labels[row], *points[row].tolist()) for row in range(len(items.ids))],
    )
    return Chart(f"map-{name.lower()}", f"Map: {name}", figure, table, caption, small=True)


# ------------------------------------------------------------------ neighbors


def _gallery(neighbors: list[list[int]], items: Items) -> Gallery:
    """Return the `QUERIES` worst queries, and as many at random."""
    labels = items.labels
    correct = [sum(labels[row] == labels[query] for row in rows) for query, rows in enumerate(neighbors)]
    order = sorted(range(len(neighbors)), key=lambda query: (correct[query], query))
    worst, others = order[:QUERIES], order[QUERIES:]
    drawn = np.random.default_rng(0).choice(others, min(QUERIES, len(others)), replace=False)
    queries = [
        (
            f"{kind}: {correct[query]} of {len(neighbors[query])} neighbors are of its class "
            f"({labels[query][:60]}).",
            query,
            neighbors[query],
        )
        for kind, chosen in (("One of the worst", worst), ("At random", map(int, drawn)))
        for query in chosen
    ]
    caption = "The nearest first. ✓ and a solid frame: the class of the query; ✗ and a dashed frame: another."
    return Gallery("neighbors", "Queries and their neighbors", queries, caption)


def _confusions(neighbors: Sequence[Sequence[int]], items: Items) -> list[Block]:
    """Return which classes are confused, by the nearest item."""
    pairs = Counter((items.labels[query], items.labels[rows[0]]) for query, rows in enumerate(neighbors))
    sizes = Counter(items.labels)
    wrong = sorted(
        ((count / sizes[a], count, a, b) for (a, b), count in pairs.items() if a != b),
        key=lambda confusion: (-confusion[0], confusion[2:]),
    )
    blocks: list[Block] = []
    if wrong:
        columns = ("class", "confused with", "queries", "fraction of its queries")
        table = Table.of(columns, [(a, b, count, share) for share, count, a, b in wrong])
        blocks.append(Listing("confusions", "Worst confusions", table, "By the nearest item."))
    classes = sorted(sizes)
    if 1 < len(classes) <= MAX_HEATMAP_CLASSES:
        blocks.append(_confusion_matrix(classes, pairs, sizes))
    return blocks


def _confusion_matrix(classes: Sequence[str], pairs: Counter[tuple[str, str]], sizes: Counter[str]) -> Chart:
    shares = [[pairs[a, b] / sizes[a] for b in classes] for a in classes]
    figure = go.Figure(
        go.Heatmap(
            x=[label(name) for name in classes],
            y=[label(name) for name in classes],
            z=shares,
            zmin=0,
            zmax=1,
            colorscale="Cividis",
            texttemplate="%{z:.0%}" if len(classes) <= 12 else None,
            hovertemplate="the nearest item of %{z:.1%} of %{y} is %{x}<extra></extra>",
        )
    )
    dressed(figure, "class of the nearest item", "class of the query", height=200 + 26 * len(classes))
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="category", autorange="reversed")
    rows = [
        (a, b, share)
        for a, line in zip(classes, shares, strict=True)
        for b, share in zip(classes, line, strict=True)
    ]
    caption = (
        "Fractions of each class's queries, by the class of their nearest item; the diagonal is correct."
    )
    table = Table.of(("class", "class of the nearest item", "fraction"), rows)
    return Chart("confusion", "Confusion matrix", figure, table, caption)


# ------------------------------------------------------------------ geometry


def _spectrum(embeddings: np.ndarray) -> Chart:
    """Return the share of the variance that the first principal components hold."""
    rows = embeddings.astype(np.float64)
    variances = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    shares = np.cumsum(variances) / max(variances.sum(), 1e-30)
    counts = list(range(1, len(shares) + 1))
    figure = go.Figure(
        go.Scatter(
            x=counts, y=shares.tolist(), mode="lines+markers", line={"color": COLORS[0]},
            marker={"size": 5}, hovertemplate="%{x} components hold %{y:.1%}<extra></extra>",
        )
    )  # fmt: skip
    dressed(figure, "principal components", "share of the variance", height=340)
    figure.update_yaxes(range=[0, 1.03], tickformat=".0%")
    columns = ("components", "share of the variance")
    table = Table.of(columns, list(zip(counts, shares.tolist(), strict=True)))
    needed = int(np.argmax(shares >= 0.9)) + 1
    caption = f"{needed} of {len(counts)} principal components hold 90% of the variance."
    return Chart("spectrum", "Used dimensions", figure, table, caption, small=True)


def _geometry(stored: StoredStudy) -> list[Listing]:
    """Return geometry, clusters and neighbors of the first finalists on the test split."""
    known = [(row.test_measures, row.description) for row in stored.finalists if row.test_measures]
    names = [
        name
        for name, measure in MEASURES.items()
        if measure.group in ("geometry", "clustering", "neighbors")
        and any(name in measures for measures, _ in known)
    ]
    if not names:
        return []
    better = {"maximize": "higher", "minimize": "lower", None: "–"}
    rows = [
        [
            name,
            MEASURES[name].summary,
            better[MEASURES[name].direction],
            *(measures.get(name) for measures, _ in known[:3]),
        ]
        for name in names
    ]
    configurations = (f"{rank}. {text}" for rank, (_, text) in enumerate(known[:3], start=1))
    columns = ("measure", "meaning", "better", *configurations)
    title = "Geometry of the finalists on the test split"
    return [Listing("geometry", title, Table.of(columns, rows), "Means over the repeats.")]
