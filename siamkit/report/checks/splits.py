"""The data: which classes and items the parts have in common, and whether there are enough."""

from __future__ import annotations

from collections.abc import Iterator

from siamkit.report.check import Check, caution, fault, good
from siamkit.report.load import StoredStudy
from siamkit.runs.results import Overlap, SharedItems, Snapshot
from siamkit.stats.resampling import MIN_CLASSES

FEW_ITEMS = 200  # of a test part: with 100 of them right, 95 % intervals reach 7 points to each side
MANY = 0.01  # of a part's items, from which its figures are recall in part


def on_parts(stored: StoredStudy) -> Iterator[Check]:
    """What the split and its parts let one say."""
    snapshot = stored.snapshot
    counts, is_labels = snapshot.data.split.counts, snapshot.data.supervision == "labels"
    if is_labels:
        yield from _on_classes(snapshot)
    if 0 < counts.get("test", 0) < FEW_ITEMS:
        what = "items" if is_labels else "pairs"
        yield caution(
            "test_items",
            f"The test part has {counts['test']} {what} only: small differences "
            f"cannot be seen in it ({FEW_ITEMS} or more would do).",
        )
    yield from _on_items(snapshot)


def shared_items(snapshot: Snapshot) -> str | None:
    """What is in two parts of a study's data, in a sentence; None if nothing was found."""
    told = [_told(snapshot, shared) for shared in (snapshot.overlap or Overlap()).between]
    found = [each for each in told if each]
    return f"{'; '.join(found)}. They stay: see that figures are not recall." if found else None


def _on_classes(snapshot: Snapshot) -> Iterator[Check]:
    split, overlap = snapshot.data.split, snapshot.overlap or Overlap()
    values = split.values or {}
    classes = overlap.classes.get("test")
    if split.by == "class":
        classes = classes or len(values.get("test", []))
        seen: int | None = 0
    else:
        seen = overlap.seen.get("test", classes if split.by == "item" else None)
    if seen == 0:
        number = f"The {classes} classes" if classes else "The classes"
        yield good("split", f"{number} of the test part are in no other part: they were not seen.")
    elif seen is None and split.by != "item":
        yield caution(
            "split",
            f"The data are split by {split.by}; whether the test classes were seen in "
            "training is not recorded.",
        )
    else:
        number = "All" if seen == classes else f"{seen} of the {classes}"
        yield caution(
            "split",
            f"{number} classes of the test part were seen in training (split by "
            f"{split.by}): the figures say nothing about classes that are new.",
        )
    if classes and classes < MIN_CLASSES:
        yield caution(
            "test_classes",
            f"The test part has {classes} classes: too few to say how it would be "
            f"on other classes than these ({MIN_CLASSES} or more would do).",
        )
    elif classes:
        yield good("test_classes", f"The test part has {classes} classes.")


def _on_items(snapshot: Snapshot) -> Iterator[Check]:
    overlap, counts = snapshot.overlap, snapshot.data.split.counts
    if overlap is None:
        yield caution("duplicates", "Whether items are in two parts was not looked for.")
        return
    shared = [shared for shared in overlap.between if shared.exact or shared.near]
    if not shared:
        looked = overlap.looked_at
        cut = {part: n for part, n in looked.items() if n < counts[part]}
        told = "".join(f", nearly equal ones looked for among {n:,} of {part}" for part, n in cut.items())
        yield good("duplicates", f"No item was found in two parts, exactly or nearly{told}.")
    for each in shared:
        first, second = each.parts
        share = each.exact / counts[second] + each.near / overlap.looked_at[second]
        if each.whole is not None:  # pairs share single items by their nature
            share = each.whole / counts[second]
        worse = fault if (first, second) == ("train", "test") and share >= MANY else caution
        some = ", ".join(f"{a} and {b}" for a, b, _ in each.examples[:2])
        yield worse("duplicates", f"{_told(snapshot, each)} (such as {some}).")


def _told(snapshot: Snapshot, each: SharedItems) -> str:
    """What is in both of two parts; nothing if nothing is."""
    first, second = each.parts
    if not each.exact and not each.near:
        return ""
    assert snapshot.overlap is not None
    count, looked = snapshot.data.split.counts[second], snapshot.overlap.looked_at[second]
    pairs = each.whole is not None
    what = f"{second} {'pairs hold an item that is' if pairs else 'items are'}"
    told = []
    if each.exact:
        told.append(f"{each.exact:,} of {count:,} {what} in {first} too")
    if each.near:
        more = " more" if each.exact else ""
        told.append(f"{each.near:,}{more} of {looked:,} {what} nearly in {first}")
    if each.whole:
        told.append(f"{each.whole:,} pairs are there whole")
    return ", ".join(told)
