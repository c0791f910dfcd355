"""`siamkit best`."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("study", type=click.Path())
@click.option(
    "--artifacts", type=click.Path(), metavar="FOLDER", help="The run folder, instead of the study's own."
)
@click.option(
    "--export", "target", type=click.Path(), metavar="DIR", help="A new folder for the model and its card."
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(["onnx", "saved_model"]),
    multiple=True,
    help="With --export: the encoder in this format too, run and compared.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def best(
    study: str, artifacts: str | None, target: str | None, formats: tuple[str, ...], as_json: bool
) -> None:
    """Show the best configuration of the study in the file STUDY; take its model away."""
    from siamkit.runs.outcome import read_outcome
    from siamkit.study.config.load import load_study
    from siamkit.study.results.export import export_best, told

    if formats and target is None:
        raise click.UsageError("--format goes with --export DIR")
    asked = load_study(study, artifacts=artifacts, data_wanted=False)
    standing = read_outcome(asked.folder)
    about = None if target is None else export_best(asked, target, tuple(dict.fromkeys(formats)))
    if as_json:
        found = told(standing) | ({} if about is None else {"export": {"folder": target, **about}})
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    from siamkit.report.checks import verdict
    from siamkit.study.results.summary import summary

    Console().print(summary(standing.results))
    click.echo(f"trust   {verdict(standing.results.findings)}")
    if about is None:
        click.echo(f"model   {standing.model}")
        return
    click.echo(f"export  {target}")
    for name, written in about["exports"].items():
        click.echo(
            f"{name:<12} {written['file']} through {written['through']}: {written['items']} "
            f"{about['compared_on']}, largest difference {written['max_difference']:.1e}"
        )
