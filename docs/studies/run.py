"""Runs the Fashion-MNIST study on each backend and writes the table of its results.

    python docs/studies/run.py FOLDER          # the folder of the IDX .gz files

One process a backend; the run folders go to runs/fashion-<backend>, the table to docs/studies/fashion.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from siamkit.report import StoredStudy, load_study_results

HERE = Path(__file__).parent
STUDY = HERE / "fashion.yaml"
RUNS = HERE.parent.parent / "runs"
COMMAND = "make study DATA=/path/to/fashion-mnist"


def run(backend: str, data: Path) -> float:
    """Runs the study on one backend; returns seconds."""
    # The study file with the data where the user has them, beside the original so that paths agree.
    study = RUNS / "fashion.yaml"
    RUNS.mkdir(exist_ok=True)
    study.write_text(STUDY.read_text().replace("../../data/fashion-mnist", str(data.resolve())))
    start = time.monotonic()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "siamkit.cli",
            "tune",
            str(study),
            "--progress",
            "plain",
            "--artifacts",
            str(RUNS / f"fashion-{backend}"),
        ],
        env={**os.environ, "KERAS_BACKEND": backend},
        check=True,
    )
    return time.monotonic() - start


def table(backend: str, stored: StoredStudy) -> str:
    """The results of one backend in Markdown."""
    packages = stored.frozen["versions"]["packages"]
    lines = [
        f"## {backend} {packages[backend]}, Keras {packages['keras']}",
        "",
        "| trial | metric | loss | dim | cut (literal) | map_at_r | recall_at_1 | roc_auc | outcome |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for trial in sorted(stored.trials, key=lambda each: int(each["trial"])):
        factors, measures, literal = trial["factors"], trial["figures"], trial["literal"].get("loss", {})
        cut = next((literal[name] for name in ("neg_margin", "margin", "base") if name in literal), None)
        shown = [
            f"{measures[name]:.4f}" if name in measures else "–"
            for name in ("map_at_r", "recall_at_1", "roc_auc")
        ]
        lines.append(
            f"| {trial['trial']} | {factors['metric']} | {factors['loss']} | {factors['embedding_dim']} | "
            f"{'–' if cut is None else f'{cut:.3f}'} | {' | '.join(shown)} | {trial['outcome']} |"
        )
    lines += [
        "",
        "Confirmed over fresh seeds (mean ± standard deviation), test classes 6–9 scored once:",
        "",
        "| metric | loss | dim | seeds | valid map_at_r | test map_at_r |",
        "|---|---|---|---|---|---|",
    ]
    for row in stored.finalists:
        factors = row["factors"]
        spread = [f"{row[part]:.4f} ± {row[f'{part}_sd'] or 0:.4f}" for part in ("valid", "test")]
        lines.append(
            f"| {factors['metric']} | {factors['loss']} | {factors['embedding_dim']} | {row['repeats']} | "
            f"{' | '.join(spread)} |"
        )
    return "\n".join(lines) + "\n"


def write(backends: list[str]) -> None:
    """Writes fashion.md from the stored results."""
    parts = [
        "# Fashion-MNIST, unseen classes, on three backends\n",
        "10,000 training items of classes 0–3, chosen on 3,000 of 4–5, tested on 6,000 of 6–9 once at "
        "the end; three metrics × three losses × embedding size, 12 trials. "
        "The study is [fashion.yaml](fashion.yaml), "
        f"the command\n\n```bash\n{COMMAND}\n```\n",
        "Initial weights differ between backends even for one seed, so do the trials that follow; the same "
        "seeds draw the same first trials. One seed a trial, two validation classes: differences of a few "
        "hundredths are not shown to be real by this table.\n",
    ]
    parts += [table(backend, load_study_results(RUNS / f"fashion-{backend}")) for backend in backends]
    (HERE / "fashion.md").write_text("\n".join(parts))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("name the folder of the Fashion-MNIST .gz files: make study DATA=FOLDER")
    names = ["jax", "torch", "tensorflow"]
    for name in names:
        print(f"{name}: {run(name, Path(sys.argv[1])):.0f} s", flush=True)
    write(names)
