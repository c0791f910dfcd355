"""`siamkit retrain`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from siamkit.backend.select import BACKENDS


@click.command()
@click.argument("study", type=click.Path())
@click.option("--trial", type=click.IntRange(min=0), required=True, metavar="N", help="The trial's number.")
@click.option("--epochs", type=click.IntRange(min=1), metavar="M", help="Instead of the study's.")
@click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), metavar="S", help="Instead of its own.")
@click.option(
    "-o", "--output", type=click.Path(), metavar="FILE", help="By default STUDY's name and N, .keras."
)
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.option("--backend", type=click.Choice(BACKENDS), help="Instead of the one that the study ran on.")
@click.option(
    "--artifacts", type=click.Path(), metavar="FOLDER", help="The run folder, instead of the study's own."
)
@click.option(
    "--progress",
    type=click.Choice(["auto", "live", "plain", "none"]),
    default="auto",
    help="How to tell what goes on.",
    show_default=True,
)
def retrain(
    study: str,
    trial: int,
    epochs: int | None,
    seed: int | None,
    output: str | None,
    force: bool,
    backend: str | None,
    artifacts: str | None,
    progress: str,
) -> None:
    """Train trial N of the study in the file STUDY afresh, and save the model."""
    from siamkit.errors import StudyError
    from siamkit.study.config.load import load_study
    from siamkit.study.monitoring.progress import make_progress
    from siamkit.study.results.retrain import retrain_trial

    asked = load_study(study, artifacts=artifacts)
    path = Path(output or f"{asked.config.name}-{trial}.keras")
    if path.exists() and not force:
        raise StudyError(f"{str(path)!r} is there already; name another file with -o, or --force")
    with make_progress(progress) as watcher:
        made = retrain_trial(asked, trial, path, epochs=epochs, seed=seed, backend=backend, progress=watcher)
    shown = ("map_at_r", "recall_at_1", "roc_auc", "eer", "spearman")
    for name in (each for each in shown if each in made.measures):
        before = made.before.get(name)
        in_study = "" if before is None else f"   in the study {before:.4f}"
        click.echo(f"{name:<12}{made.measures[name]:.4f}{in_study}")
    click.echo(f"model   {os.path.relpath(made.path)}")
