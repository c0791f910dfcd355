"""What went wrong, and how to do it all again."""

from __future__ import annotations

import json
from collections import Counter

from siamkit.plotting.palette import dressed
from siamkit.report.load import StoredStudy
from siamkit.report.model import Chart, Listing, Section, Source, Table
from siamkit.report.sections._naming import bars, words


def failures(stored: StoredStudy) -> Section:
    """Failed trials and their causes."""
    failed = [trial for trial in stored.trials if trial.outcome == "failed"]
    if not failed:
        return Section("failures", "Failures")
    causes = Counter(trial.cause for trial in failed).most_common()
    shown = causes[:12]
    ranks = [f"{place + 1}." for place in range(len(shown))]
    figure = bars(ranks, [count for _, count in shown], [cause for cause, _ in shown])
    dressed(figure, "trials", height=130 + 30 * len(shown))
    rows = [(trial.trial, words(trial), trial.cause, trial.seconds) for trial in failed]
    listing = Listing(
        "failed", "Failed trials", Table.of(("trial", "configuration", "cause", "seconds"), rows)
    )
    table = Table.of(("cause", "trials"), causes)
    told = (
        f"{len(failed)} of {len(stored.trials)} trials failed, of {len(causes)} causes. They count "
        f"in the budget."
    )
    return Section("failures", "Failures", [], [Chart("causes", "Causes", figure, table, told), listing])


def reproduce(stored: StoredStudy) -> Section:
    """The seed, the versions, the data, and the whole study."""
    snapshot, versions = stored.snapshot, stored.snapshot.versions
    packages = ", ".join(f"{name} {version}" for name, version in versions.packages.items())
    said = [
        f"Seed {snapshot.study['seed']}, {packages}, Python {versions.python}, backend {versions.backend}.",
        f"Data fingerprint {snapshot.data.fingerprint[:16]}. With the same file, data, versions, "
        f"backend and device, "
        "one worker repeats every number to the bit.",
    ]
    whole = snapshot.model_dump(
        mode="json", exclude_unset=True, include={"study", "settings", "objectives", "data", "versions"}
    )
    text = json.dumps(whole, indent=1, ensure_ascii=False)
    return Section(
        "reproduce", "How to reproduce", said, [Source("study", "The study as it was frozen", text)]
    )
