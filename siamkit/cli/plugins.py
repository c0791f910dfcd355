"""`siamkit plugins`."""

from __future__ import annotations

import json
from typing import Any

import click

from siamkit.registry.registry import Registry, components


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def plugins(as_json: bool) -> None:
    """List all components: kind, name, origin, summary; and problems."""
    registry = components()
    if as_json:
        click.echo(
            json.dumps(
                {"components": list_components(registry), "problems": list_problems(registry)},
                indent=1,
                ensure_ascii=False,
            )
        )
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("kind", "name", "from", "what"):
        table.add_column(column, no_wrap=column != "what")
    for each in list_components(registry):
        table.add_row(
            each["kind"],
            escape(each["name"]),
            escape(f"{each['distribution']} {each['version']}"),
            escape(each["summary"]),
        )
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # one line each, for grep and less
    console.print(table)
    for problem in registry.problems:
        console.print(f"[bold red]problem[/] {escape(str(problem))}", soft_wrap=True)


def list_components(registry: Registry) -> list[dict[str, Any]]:
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


def list_problems(registry: Registry) -> list[dict[str, str]]:
    return [
        {
            "distribution": problem.origin.distribution,
            "version": problem.origin.version,
            "message": problem.message,
        }
        for problem in registry.problems
    ]


def _describe(param: Any) -> dict[str, Any]:
    """A parameter for machines; infinite limits, which JSON lacks, are left out."""
    shown = {
        key: value
        for key, value in vars(param).items()
        if value not in (None, "", float("inf"), -float("inf"))
    }
    return {"type": type(param).__name__.lower(), **shown}
