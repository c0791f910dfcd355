"""The report of 2,000 trials and 100,000 embeddings: made, in which memory, and opened in Chromium."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import report

from siamkit.data.dataset import Dataset
from siamkit.data.thumbnails import items_table, shown_rows
from siamkit.io.files import write_arrays, write_table
from siamkit.runs.results import BaselineResult, RepeatResult, Snapshot, TrialResult, write_record
from siamkit.runs.run_folder import AttemptFolder, RunFolder

TRIALS, ITEMS, CLASSES, DIM, EPOCHS = 2_000, 100_000, 500, 64, 20
FINALISTS, SEEDS = 3, 5
RUNS = 3
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

MAKE = """\
import resource, sys, time
from pathlib import Path
start = time.perf_counter()
from siamkit.report import write_report
write_report(Path(sys.argv[1]))
seconds, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
print(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20)
"""

PAINTED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
UNDRAWN = "[data-chart]:not([data-drawn])"


# ------------------------------------------------------------------ a run folder


def write_study(path: Path) -> None:
    """Write the run folder of a study that ended, file by file as a study does."""
    rng = np.random.default_rng(0)
    folder = RunFolder(path)
    counts = {"train": ITEMS, "valid": ITEMS, "test": ITEMS}
    snapshot = Snapshot.model_validate(
        {
            "layout": 1,
            "name": "large",
            "study": {"seed": 0, "seeds": 1, "sampler": "tpe", "version": 1},
            "settings": {"budget": {"trials": TRIALS}},
            "objectives": {"map_at_r": "maximize"},
            "data": {
                "items": 3 * ITEMS,
                "input": "image",
                "supervision": "labels",
                "fingerprint": "0123456789abcdef0123",
                "split": {"by": "class", "counts": counts},
            },
            "versions": {
                "backend": "torch",
                "python": "3.11",
                "packages": {"siamkit": "1.0", "keras": "3.15"},
            },
        }
    )
    write_record(folder.snapshot_file, snapshot)
    for number in range(TRIALS):
        write_trial(AttemptFolder(folder.attempt(number, "token")), number, rng)
    labels = rng.integers(CLASSES, size=ITEMS)
    images = rng.integers(256, size=(ITEMS, 28, 28, 1), dtype=np.uint8)
    write_table(folder.items, items_table(Dataset((images,), labels, "labels", "image")))
    ids = [f"item {row}" for row in range(ITEMS)]
    for rank in range(FINALISTS):
        for repeat in range(SEEDS):
            write_repeat(
                AttemptFolder(folder.confirmation(f"key{rank}", repeat)), rank, repeat, ids, labels, rng
            )
    for place, name in enumerate(("chance", "raw", "pca", "untrained")):
        files = folder.baseline(name)
        scores = np.clip(rng.normal(0.1 * place, 0.1, ITEMS), 0, 1)
        value = {"map_at_r": float(scores.mean())}
        write_record(
            files.result, BaselineResult(name=name, metric="cosine", dim=DIM, valid=value, test=value)
        )
        write_table(files.test_queries, {"id": ids, "target": labels, "map_at_r": scores})


def configuration(rng: np.random.Generator) -> dict[str, Any]:
    """Return the factors of a configuration."""
    return {
        "encoder": str(rng.choice(["cnn", "resnet", "mlp"])),
        "metric": str(rng.choice(["cosine", "euclidean", "manhattan", "mahalanobis"])),
        "loss": str(rng.choice(["triplet", "contrastive", "multi_similarity", "proxy_anchor", "nt_xent"])),
        "embedding_dim": int(rng.integers(8, 256)),
        "normalize": bool(rng.integers(2)),
        "learning_rate": float(10 ** rng.uniform(-4, -2)),
        "batch_size": int(rng.choice([64, 128, 256])),
        "loss.triplet.margin": float(rng.uniform(0.05, 1.0)),
    }


def write_trial(files: AttemptFolder, number: int, rng: np.random.Generator) -> None:
    """Write a trial: most are complete, some are pruned or failed."""
    outcome = "pruned" if number % 5 == 4 else "failed" if number % 50 == 3 else "complete"
    epochs = EPOCHS if outcome == "complete" else 5
    curve = rng.uniform(0.2, 0.9) * (1 - np.exp(-np.arange(1, epochs + 1) / 5))
    measures = {
        "map_at_r": float(curve[-1]), "recall_at_1": float(curve[-1] ** 0.5), "roc_auc": 0.9, "eer": 0.1,
        "parameters": float(rng.integers(1e4, 1e6)), "flops": 1e6, "hubness": 1.5, "effective_rank": 20.0,
    }  # fmt: skip
    result = TrialResult(
        trial=number,
        token="token",
        key=f"trial{number}",
        outcome=outcome,
        cause="the loss is NaN" if outcome == "failed" else "",
        factors=configuration(rng),
        measures=measures if outcome == "complete" else {},
        seconds=float(rng.uniform(5, 50)),
    )
    history = {
        "repeat": np.zeros(epochs, np.int64), "epoch": np.arange(1, epochs + 1), "loss": rng.random(epochs),
        "map_at_r": curve, "is_best": np.arange(epochs) == epochs - 1,
    }  # fmt: skip
    files.path.mkdir(parents=True)
    write_table(files.history, history)
    write_record(files.result, result)


def write_repeat(
    files: AttemptFolder, rank: int, repeat: int, ids: list[str], labels: np.ndarray, rng: np.random.Generator
) -> None:
    """Write a repeat of a finalist, with its scores of all test items and what the report shows."""
    scores = np.clip(rng.normal(0.8 - 0.05 * rank, 0.2, ITEMS), 0, 1)
    test = {"map_at_r": float(scores.mean()), "far": 0.1, "frr": 0.1, "hubness": 1.5, "effective_rank": 20.0}
    result = RepeatResult(
        trial=rank,
        key=f"key{rank}",
        repeat=repeat,
        outcome="complete",
        factors=configuration(np.random.default_rng(rank)),
        valid={"map_at_r": 0.8 - 0.05 * rank, "parameters": 1e5},
        test=test,
        seconds=100.0,
    )
    rows = shown_rows(ITEMS)
    centers = np.random.default_rng(1).normal(size=(CLASSES, DIM))
    embeddings = (centers[labels[rows]] + rng.normal(0, 0.5, (len(rows), DIM))).astype(np.float32)
    neighbors = np.argsort(-embeddings @ embeddings.T, axis=1)[:, 1:11].astype(np.int32)
    rates = np.linspace(0, 1, 300, dtype=np.float32)
    curves = {
        f"{split}_{name}": values
        for split in ("valid", "test")
        for name, values in (("far", rates), ("frr", (1 - rates) ** 3), ("threshold", rates))
    }
    files.path.mkdir(parents=True)
    write_table(files.test_queries, {"id": ids, "target": labels, "map_at_r": scores})
    write_arrays(
        files.report_data, {"rows": rows, "embeddings": embeddings, "neighbours": neighbors, **curves}
    )
    write_record(files.result, result)


# ------------------------------------------------------------------ what is timed


def make(folder: Path) -> list[float]:
    """Return the seconds, seconds of a core, and GiB of a process that writes the report."""
    ran = subprocess.run([sys.executable, "-c", MAKE, folder], check=True, capture_output=True, text=True)
    return list(map(float, ran.stdout.split()))


def opened(page: Path) -> tuple[float, float]:
    """Return the median seconds until the page can be read, and until all charts are drawn, one by one."""
    from playwright.sync_api import sync_playwright

    read, drawn = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for _ in range(RUNS + 1):
            tab = browser.new_page()
            start = time.perf_counter()
            tab.goto(page.as_uri())
            tab.evaluate(PAINTED)
            read.append(time.perf_counter() - start)
            while chart := tab.query_selector(UNDRAWN):
                chart.scroll_into_view_if_needed()
                tab.evaluate(PAINTED)
            drawn.append(time.perf_counter() - start)
            tab.close()
        browser.close()
    return statistics.median(read[1:]), statistics.median(drawn[1:])


def main() -> None:
    """Time the report on one backend: it needs none."""
    if os.environ["KERAS_BACKEND"] != "torch":
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder)
        runs = [make(folder) for _ in range(RUNS)]
        page = folder / "report.html"
        made, core, memory = (statistics.median(column) for column in zip(*runs, strict=True))
        size = page.stat().st_size / 1e6
        report(
            f"report of {TRIALS:,} trials, {ITEMS:,} embeddings: made", {"siamkit": made}, "siamkit",
            f"10 s, 1.5 GiB (here {core:.1f} s of a core, {memory:.2f} GiB; {size:.1f} MB)",
            core=core, memory=memory, megabytes=size,
        )  # fmt: skip
        if CHROMIUM is not None:
            read, drawn = opened(page)
            report("opened in Chromium", {"siamkit": read}, "siamkit", f"2 s (all charts: {drawn:.1f} s)")


if __name__ == "__main__":
    main()
