"""`siamkit schema`."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--reality-check", "of_reality", is_flag=True, help="Of a reality check's file instead.")
def schema(of_reality: bool) -> None:
    """Print the JSON Schema of a study file, for editors."""
    from siamkit.study.config.schema import json_schema
    from siamkit.study.reality.schema import reality_schema

    found = reality_schema() if of_reality else json_schema()
    click.echo(json.dumps(found, indent=1, ensure_ascii=False))
