"""The embedding of the best: maps, neighbours, confusions, geometry."""

from __future__ import annotations

from siamkit.report.load import StoredStudy
from siamkit.report.model import Explorer, Items, Part, Section
from siamkit.report.sections._naming import words
from siamkit.report.sections.geometry import geometry, spectrum
from siamkit.report.sections.maps import maps
from siamkit.report.sections.neighbors import confusions, gallery


def embedding(stored: StoredStudy) -> tuple[Section, Items]:
    """What there is to see of the best configuration, and the items that are shown."""
    title = "The embedding"
    if stored.illustrated is None:
        return Section("embedding", title), Items()
    row, found = stored.illustrated
    items = stored.items(found["rows"])
    shown, whole = len(found["rows"]), stored.snapshot.data.split.counts.get("valid", 0)
    said = f"Of {words(row)}, on {shown:,} validation items"
    said += f" of {whole:,}, drawn evenly; neighbours are sought among these." if shown < whole else "."
    # Of pairs the first items.
    rows = found["embeddings"] if found["embeddings"].ndim == 2 else found["embeddings"][:, 0]
    parts: list[Part] = [*maps(rows, items)]
    if "neighbours" in found:
        near = found["neighbours"].tolist()
        told = "Move the slider, or choose a point on a map. What is found first stands first."
        parts += [gallery(near, items), Explorer("explorer", "Any item, and what it finds", near, told)]
        parts += confusions(near, items)
    parts += [spectrum(rows), *geometry(stored)]
    return Section("embedding", title, [said], parts), items
