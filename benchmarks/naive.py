"""How much sooner a study reaches what a naive search finds.

    python benchmarks/naive.py FOLDER [--seeds 5] [--trials 60]

FOLDER holds Fashion-MNIST (`*.gz`). The naive search trains random configurations one after the other in one
process, each to its end by siamkit's usual recipe, and evaluates each once. The study is `siamkit tune` on
the same search space, items and recipe, with its own sampler and pruner and two workers. Both begin with the
start of their process, and have the machine to themselves. The study ends when one of its trials is as good
as the best of the naive search, or when it has taken as long. About ten minutes a seed on two cores.

Each seed is a line in benchmarks/results/naive.jsonl once it is done; those that are there are not run again.
The table goes to benchmarks/results/naive.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
MEASURED, PAGE = RESULTS / "naive.jsonl", RESULTS / "naive.md"
POLL_SECONDS = 0.1
HEAD = """\
# A study beside a naive search

`python benchmarks/naive.py FOLDER`: 1,500 training images of Fashion-MNIST, encoder × metric ×
loss × dimension with the losses' own parameters; trainings of the length that a study has by default
(300 steps). The naive search trains random configurations one after the other in one process. The study
has its own sampler and pruner and two workers; it ends when a trial is as good as the best of the naive
search. All seconds are from the start of a process. The last two columns divide the seconds of the naive
search, until its end and until it found its best, by those of the study.

| backend | seed | naive: trials | seconds | MAP@R | found | study: after | trials | end | found |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""
STUDY = """\
version: 1
name: naive
seed: {seed}
data:
  source: fashion_mnist
  path: {folder}
  split: {{by: item, train: 0.6, valid: 0.2, test: 0.2}}
  limit: {{train: 1500, valid: 1000, test: 100}}
fixed: {{batch_size: 64}}
search:
  encoder: [mlp, {{cnn: {{depth: 2, filters: 8}}}}]
  metric: [euclidean, cosine, manhattan]
  loss: [contrastive, triplet, multi_similarity, proxy_anchor, normalized_softmax]
  embedding_dim: {{low: 4, high: 128, log: true}}
objectives: {{map_at_r: maximize}}
baselines: null
confirm: null
budget: {{trials: {budget}}}
workers: 2
artifacts: run
"""


def naive(file: str, trials: int, seed: int) -> None:
    """Train random configurations of a study, and print the value of each."""
    import optuna

    from siamkit.data.batches import Rounds
    from siamkit.model.training_state import schedule_steps
    from siamkit.study.config.load import load_study
    from siamkit.study.worker.prepared_data import prepare_data, training_data
    from siamkit.study.worker.recipe import share_of_peak
    from siamkit.study.worker.train import KerasTrainer, _begin

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = load_study(file)
    data = prepare_data(study)[0]
    fixed = study.config.fixed
    trainer: Any = KerasTrainer(data, fixed)
    search = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed))
    for number in range(trials):
        trial = search.ask()
        configuration = study.space.sample(trial)
        _begin(seed=number)
        items = training_data(data, configuration, number)
        model, _ = trainer._build(configuration, items)
        batches = trainer._batches(model, configuration, items, number)
        rounds = Rounds(batches, fixed.steps_between(len(batches)))
        if (share := share_of_peak(configuration, fixed.evaluations * len(rounds))) is not None:
            schedule_steps(model.optimizer, share)
        model.fit(rounds, epochs=fixed.evaluations, verbose=0, shuffle=False)
        value = trainer.evaluate(model, "valid", {"retrieval", "verification"}).measures["map_at_r"]
        search.tell(trial, value)
        print(json.dumps(value), flush=True)


def naive_search(folder: Path, trials: int, seed: int) -> Iterator[tuple[float, float]]:
    """Yield the seconds from the start of a naive search to the end of each trial, and its value."""
    command = [sys.executable, __file__, str(folder / "study.yaml"), "--naive", str(seed)]
    start = time.monotonic()
    command += ["--trials", str(trials)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield time.monotonic() - start, float(line)
    if process.returncode:
        sys.exit(f"the naive search failed: exit code {process.returncode}")


def study_until(folder: Path, target: float, limit: float) -> tuple[float | None, int, float]:
    """Run a study until a trial reaches a value.

    Returns:
        The seconds until then, None if it took longer than the limit; how many trials had ended; the best
        value.
    """
    from siamkit.runs import RunFolder

    command = [sys.executable, "-m", "siamkit.cli", "tune", "study.yaml"]
    run, start = RunFolder(folder / "run"), time.monotonic()
    with (folder / "out.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    seconds, values = None, [float("-inf")]
    while process.poll() is None and seconds is None and time.monotonic() - start < limit:
        time.sleep(POLL_SECONDS)
        results = run.trials() if run.path.is_dir() else []
        values = [result.values[0] for result in results if result.values] or values
        if max(values) >= target:
            seconds = time.monotonic() - start
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
    if process.wait() not in (0, 130) and seconds is None:
        sys.exit(f"the study failed:\n{(folder / 'out.txt').read_text()}")
    return seconds, len(results), max(values)


def measured(folder: Path, seed: int, trials: int) -> dict[str, Any]:
    """Return the times of both searches for a seed."""
    with tempfile.TemporaryDirectory() as place:
        study = Path(place) / "study.yaml"
        study.write_text(STUDY.format(seed=seed, folder=folder.resolve(), budget=10 * trials))
        found = list(naive_search(study.parent, trials, seed))
        seconds, best = max(found, key=lambda each: each[1])
        whole = found[-1][0]
        reached, ended, value = study_until(study.parent, best, whole)
    return {
        "backend": os.environ.get("KERAS_BACKEND", ""),
        "seed": seed,
        "trials": trials,
        "best": best,
        "naive_seconds": whole,
        "naive_found": seconds,
        "study_seconds": reached,
        "study_trials": ended,
        "study_best": value,
    }


def page(rows: list[dict[str, Any]]) -> str:
    """Return the table, in Markdown."""
    lines = [HEAD]
    ratios: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: (row["backend"], row["seed"])):
        reached = row["study_seconds"]
        ratio = (row["naive_seconds"] / reached, row["naive_found"] / reached) if reached else (0.0, 0.0)
        ratios.append(ratio)
        cells = [
            row["backend"],
            row["seed"],
            row["trials"],
            f"{row['naive_seconds']:.0f}",
            f"{row['best']:.4f}",
            f"{row['naive_found']:.0f} s",
            f"{reached:.0f} s" if reached else f"not ({row['study_best']:.4f})",
            row["study_trials"],
            *(f"{each:.1f} ×" if reached else "–" for each in ratio),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    ends, bests = (statistics.median(each) for each in zip(*ratios, strict=True))
    lines += [
        "",
        f"Median: {ends:.1f} × sooner than the end of the naive search, {bests:.1f} × than its best.",
        "",
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Run the seeds that are missing, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="a folder with Fashion-MNIST")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=60, help="trials of the naive search")
    parser.add_argument("--naive", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.naive is not None:
        naive(str(arguments.folder), arguments.trials, arguments.naive)
        return
    os.environ.setdefault("KERAS_BACKEND", "torch")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    rows = [json.loads(line) for line in MEASURED.read_text().splitlines()] if MEASURED.exists() else []
    done = {(row["backend"], row["seed"], row["trials"]) for row in rows}
    for seed in range(arguments.seeds):
        if (os.environ["KERAS_BACKEND"], seed, arguments.trials) in done:
            continue
        rows.append(measured(arguments.folder, seed, arguments.trials))
        print(json.dumps(rows[-1]), flush=True)
        with MEASURED.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    PAGE.write_text(page(rows))
    print(page(rows))


if __name__ == "__main__":
    main()
