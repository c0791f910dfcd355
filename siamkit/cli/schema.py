"""`siamkit schema`."""

from __future__ import annotations

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of a study file, for editors."""
    from siamkit.study.definition.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=1, ensure_ascii=False))
