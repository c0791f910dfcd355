"""Commands about the installation: `plugins`, `schema` and `doctor`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from siamkit.cli._terminal import echo, json_option, print_table

if TYPE_CHECKING:
    from siamkit.registry.registry import Registry


@click.command
@json_option
def plugins(as_json: bool) -> None:
    """List all encoders, metrics, losses and datasets with their origin, and the problems of plugins."""
    from siamkit.registry.registry import components

    registry = components()
    listed = _components(registry)
    if as_json:
        click.echo(
            json.dumps({"components": listed, "problems": _problems(registry)}, indent=1, ensure_ascii=False)
        )
        return
    rows = [
        (found["kind"], found["name"], f"{found['distribution']} {found['version']}", found["summary"])
        for found in listed
    ]
    print_table(rows, header=("kind", "name", "from", "what"))
    for problem in registry.problems:
        echo(f"{click.style('problem', fg='red', bold=True)} {problem}")


@click.command
@click.option(
    "--reality-check",
    "of_reality_check",
    is_flag=True,
    help="Print the schema of a reality-check file instead.",
)
def schema(of_reality_check: bool) -> None:
    """Print the JSON Schema of a study file; editors use it to complete and check the file."""
    from siamkit.study.config.schema import json_schema
    from siamkit.study.reality.config import reality_schema

    printed = reality_schema() if of_reality_check else json_schema()
    click.echo(json.dumps(printed, indent=1, ensure_ascii=False))


@click.command
@json_option
def doctor(as_json: bool) -> None:
    """Show the installed backends with versions and devices, the plugins, and problems found."""
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


def _components(registry: Registry) -> list[dict[str, Any]]:
    return [
        {
            "kind": catalog.kind,
            "name": name,
            "qualified": entry.qualified,
            "distribution": entry.origin.distribution,
            "version": entry.origin.version,
            "summary": entry.spec.summary,
            "reference": entry.spec.reference,
            "params": {key: _describe(param) for key, param in entry.spec.params.items()},
        }
        for catalog in registry.catalogs()
        for name, entry in ((catalog.name_of(entry), entry) for entry in catalog.all())
    ]


def _problems(registry: Registry) -> list[dict[str, str]]:
    return [
        {
            "distribution": problem.origin.distribution,
            "version": problem.origin.version,
            "message": problem.message,
        }
        for problem in registry.problems
    ]


def _describe(param: Any) -> dict[str, Any]:
    """Return a parameter as JSON data, without infinite limits, which JSON lacks."""
    limits = (float("inf"), -float("inf"))
    described = {key: value for key, value in vars(param).items() if value not in (None, "", *limits)}
    return {"type": type(param).__name__.lower(), **described}
