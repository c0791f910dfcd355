"""`siamkit evaluate`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from siamkit.backend.select import BACKENDS


@click.command()
@click.argument("model", type=click.Path())
@click.argument("data", type=click.Path(), required=False)
@click.option("--labels", type=click.Path(), metavar="FILE", help="A .npy file, for embeddings without.")
@click.option("--metric", metavar="NAME", help="Of a file of embeddings; cosine unless given.")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Only these figures; several times.")
@click.option("--source", metavar="NAME", help="The dataset that reads DATA, into memory.")
@click.option("--label", metavar="NAME", help="The column or array of labels in DATA.")
@click.option("--sizes", is_flag=True, help="What is left of them when they are made smaller, instead.")
@click.option("--html", "page", type=click.Path(), metavar="FILE", help="With --sizes: a page with a curve.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--backend", type=click.Choice(BACKENDS), help="Instead of KERAS_BACKEND, where needed.")
def evaluate(
    model: str,
    data: str | None,
    labels: str | None,
    metric: str | None,
    groups: tuple[str, ...],
    source: str | None,
    label: str | None,
    sizes: bool,
    page: str | None,
    as_json: bool,
    backend: str | None,
) -> None:
    """Judge MODEL on the labelled items, or pairs, of DATA.

    MODEL may be a file of embeddings, .npy, .npz, .parquet, or a trial of a study: study.yaml#14, #best.
    Retrieval, verification at the model's own threshold, clusters, few-shot, geometry.
    """
    from rich.console import Console

    from siamkit.backend import select
    from siamkit.comparison.inputs import contender, labelled
    from siamkit.evaluation import GROUPS, examine
    from siamkit.evaluation.plain_metrics import lightest_metric
    from siamkit.io.files import to_jsonable, write_text
    from siamkit.io.paths import check_writable

    if page is not None and not sizes:
        raise click.UsageError("--html goes with --sizes")
    if page is not None:
        check_writable(Path(page))
    if backend is not None:  # else chosen where something needs one
        select.activate(select.choose_backend(backend)[0])
    asked: dict[str, Any] = {"source": source, "label": label} if data is not None else {}
    found, truth = labelled(contender(model, data, **asked), labels)
    compared = lightest_metric(metric or found.metric)
    if sizes:
        from siamkit.comparison._retrained import curve_of
        from siamkit.comparison._tables import size_table

        curve = curve_of(found, truth, compared)
        if page is not None:
            from siamkit.comparison._report import made_smaller
            from siamkit.report.render.html import render

            write_text(Path(page), render(made_smaller(found.name, curve)))
        if as_json:
            click.echo(json.dumps(to_jsonable([dataclasses.asdict(each) for each in curve]), indent=1))
        else:
            Console().print(size_table(curve))
        return
    judged = examine(
        found.embeddings,
        truth,
        compared,
        groups=groups or GROUPS,  # type: ignore[arg-type]
        threshold=found.threshold,
    ).measures
    if "parameters" in found.about:
        judged["parameters"] = found.about["parameters"]
    if as_json:
        click.echo(json.dumps(to_jsonable(judged), indent=1))
        return
    from siamkit.evaluation._table import table

    Console().print(table(found.name, judged))
