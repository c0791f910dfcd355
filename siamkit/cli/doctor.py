"""`siamkit doctor`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Show backends with their versions and devices, plugins, and problems."""
    from siamkit.backend.diagnosis import diagnose

    diagnosis = diagnose()
    if as_json:
        click.echo(json.dumps(asdict(diagnosis), indent=1, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"[bold]siamkit[/] {diagnosis.siamkit}   keras {diagnosis.keras}   Python {sys.version.split()[0]}"
    )
    console.print("\n[bold]backends[/]")
    for backend in diagnosis.backends:
        mark = "→" if backend.name == diagnosis.chosen else " "
        if backend.error:
            console.print(f" {mark} {backend.name:<11}{escape(backend.error)}")
        else:
            console.print(f" {mark} {backend.name:<11}{backend.version:<12}{', '.join(backend.devices)}")
    console.print(f"   {escape(diagnosis.why)}")
    console.print("\n[bold]plugins[/]")
    for plugin in diagnosis.plugins:
        console.print(f"   {escape(plugin)}")
    console.print("\n[bold]problems[/]")
    for problem in diagnosis.problems or ("none",):
        console.print(f"   {escape(problem)}")
