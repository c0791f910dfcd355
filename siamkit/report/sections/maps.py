"""Maps of an embedding: its items in two dimensions."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import plotly.graph_objects as go

from siamkit.plotting.palette import COLORS, SYMBOLS, color, dressed, symbol
from siamkit.report.model import Chart, Items, Table
from siamkit.report.sections._naming import label

CLASSES = len(COLORS) * len(SYMBOLS)  # that a map tells apart; the rest are grey


def maps(rows: np.ndarray, items: Items) -> list[Chart]:
    """A map by each projection there is; none of what has no two dimensions."""
    if len(rows) < 3 or rows.shape[1] < 2:
        return []
    return [_map(name, places, items, how) for name, places, how in projections(rows)]


def projections(rows: np.ndarray, seed: int = 0) -> Iterator[tuple[str, np.ndarray, str]]:
    """Embeddings `(n, dim)` in two dimensions `(n, 2)`: PCA, t-SNE, and UMAP where it is installed."""
    centred = (rows - rows.mean(axis=0)).astype(np.float64)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    share = float((sizes[:2] ** 2).sum() / max((sizes**2).sum(), 1e-30))
    pca = centred @ directions[:2].T
    yield (
        "PCA",
        pca,
        f"The two directions of most variance, {share:.0%} of it. Distances are true as far as these go.",
    )
    if len(rows) < 10 or not sizes[1] > 0:
        return
    from sklearn.manifold import TSNE  # late: slow to import
    from threadpoolctl import threadpool_limits

    # Its threads wait for one another so busily that beside other work several are far slower than one.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        tsne = TSNE(init="pca", random_state=seed, perplexity=min(30.0, (len(rows) - 1) / 3), max_iter=500)
        yield (
            "t-SNE",
            tsne.fit_transform(rows),
            "Near means near; how far apart groups lie, and how large they are, means nothing.",
        )
        if find_spec("umap") is not None:
            from umap import UMAP

            made = UMAP(random_state=seed, n_jobs=1, n_neighbors=min(15, len(rows) - 1)).fit_transform(rows)
            yield "UMAP", made, "Near means near; how far apart groups lie means little."


def _map(name: str, places: np.ndarray, items: Items, how: str) -> Chart:
    counts = Counter(items.labels)
    order = sorted(each for each, _ in counts.most_common(CLASSES))
    figure = go.Figure()
    for number, each in enumerate([*order, None]):
        mine = [
            at
            for at, value in enumerate(items.labels)
            if (value == each if each is not None else value not in order)
        ]
        if not mine:
            continue
        figure.add_trace(
            go.Scatter(
                x=places[mine, 0].round(4).tolist(),
                y=places[mine, 1].round(4).tolist(),
                customdata=mine,
                mode="markers",
                name="others" if each is None else label(each),
                marker={
                    "color": "#9A9A9A" if each is None else color(number),
                    "symbol": "circle-open" if each is None else symbol(number),
                    "size": 7,
                    "opacity": 0.75,
                },
                hoverinfo="none",  # the page shows the item itself
            )
        )
    dressed(figure, height=520)
    figure.update_xaxes(showticklabels=False, zeroline=False)
    figure.update_yaxes(showticklabels=False, zeroline=False, scaleanchor="x")
    figure.update_layout(legend={"y": -0.05, "yanchor": "top"}, showlegend=len(order) > 1)
    rows = [(items.ids[at], items.labels[at], *places[at].tolist()) for at in range(len(items.ids))]
    return Chart(
        f"map-{name.lower()}",
        f"Map: {name}",
        figure,
        Table.of(("id", "target", "x", "y"), rows),
        how,
        small=True,
    )
