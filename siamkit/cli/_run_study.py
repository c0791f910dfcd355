"""Commands that train: `tune`, `reality-check`, `worker` and `retrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from siamkit.cli._options import (
    artifacts_option,
    backend_option,
    force_option,
    progress_option,
    run_options,
    study_argument,
)


@click.command(short_help="Run a study, or continue it.")
@run_options
@click.pass_context
def tune(ctx: click.Context, /, **options: Any) -> None:
    """Run the study in the file STUDY, or continue it where it stopped.

    The results, the best model and a report are written to the run folder. Ctrl-C stops the study; the same
    command continues it.
    """
    from rich.console import Console

    from siamkit.io.paths import display_path
    from siamkit.report.render.console import render_console
    from siamkit.study import tune as run
    from siamkit.study.results.summary import summary

    results = run(**options)
    files = {"report": display_path(results.report_path), "model": display_path(results.model_path)}
    Console(highlight=False).print("", render_console(summary(results, files)))
    if results.interrupted:
        ctx.exit(130)
    if results.winner is None:
        ctx.exit(1)


@click.command("reality-check", short_help="Compare losses under one budget.")
@run_options
@click.pass_context
def reality_check(ctx: click.Context, /, **options: Any) -> None:
    """Compare the losses in the reality-check file STUDY, or continue where the comparison stopped.

    Each loss gets the same number of trials. Its best configuration is then trained with several new seeds
    and evaluated once on the test data. Every difference is reported with its interval and significance.
    """
    from rich.console import Console

    from siamkit.io.paths import display_path
    from siamkit.report.render.console import FittedTable
    from siamkit.study import reality_check as run

    result = run(options.pop("study"), **options)
    Console().print("", FittedTable(result.table(), result.measure), "")
    if result.interrupted:
        click.echo("stopped; run the same command again to continue")
        ctx.exit(130)
    for sentence in (result.verdict(), "", *result.verdicts(), *result.notes, ""):
        click.echo(sentence)
    click.echo(f"page    {display_path(result.folder / 'reality-check.md')}")
    if all(loss.repeats is None for loss in result.losses):
        ctx.exit(1)


@click.command(short_help="Join a running study as an additional worker.")
@run_options
@click.pass_context
def worker(ctx: click.Context, /, **options: Any) -> None:
    """Join the study in the file STUDY, which 'siamkit tune' runs elsewhere, as an additional worker.

    This machine must be able to reach the storage and the run folder of the study. The worker exits when the
    budget is spent.
    """
    from siamkit.study import join

    budget_is_spent = join(**options)
    if not budget_is_spent:
        ctx.exit(130)


@click.command(short_help="Train one trial of a study again and save its model.")
@study_argument
@click.option("--trial", type=click.IntRange(min=0), required=True, metavar="N", help="Number of the trial.")
@click.option("--epochs", type=click.IntRange(min=1), help="Number of epochs [default: that of the study].")
@click.option(
    "--seed", type=click.IntRange(min=0, max=2**32 - 1), help="Random seed [default: that of the trial]."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE",
    help="Model file to write, ending in .keras [default: the study's name, -N and .keras].",
)
@force_option
@backend_option("KERAS_BACKEND, or the one that the study ran on")
@artifacts_option
@progress_option
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
    """Train trial N of the study in the file STUDY again, and save its model.

    The study itself does not change. The same epochs and seed give the same model.
    """
    from siamkit.errors import StudyError
    from siamkit.io.paths import display_path
    from siamkit.study.config.load import load_study
    from siamkit.study.monitoring.progress import make_progress
    from siamkit.study.results.retrain import retrain_trial

    resolved = load_study(study, artifacts=artifacts)
    path = Path(output or f"{resolved.config.name}-{trial}.keras")
    if path.exists() and not force:
        raise StudyError(f"{str(path)!r} already exists; choose another file with --output, or use --force")
    with make_progress(progress) as reporter:
        retrained = retrain_trial(
            resolved, trial, path, epochs=epochs, seed=seed, backend=backend, progress=reporter
        )
    for name in ("map_at_r", "recall_at_1", "roc_auc", "eer", "spearman"):
        if name in retrained.measures:
            before = retrained.before.get(name)
            in_study = "" if before is None else f"   in the study {before:.4f}"
            click.echo(f"{name:<12}{retrained.measures[name]:.4f}{in_study}")
    click.echo(f"model   {display_path(retrained.path)}")
