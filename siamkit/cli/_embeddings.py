"""Commands about embeddings: `embed`, `compare` and `evaluate`."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import click

from siamkit.cli._terminal import Option, backend_option, force_option, json_option, plugin_option
from siamkit.evaluation.measures import GROUPS

_labels_option = click.option(
    "--labels",
    type=click.Path(),
    metavar="FILE",
    help="Labels for files of embeddings that contain none: a .npy file with one label per row, in the "
    "same order, or a table (.csv, .tsv, .parquet, .jsonl) with a column label, whose rows are matched by a "
    "column id, if any.",
)
_drop_missing_option = click.option(
    "--drop-missing", is_flag=True, help="Leave out items whose label is missing, and print how many."
)
_baseline_option = click.option(
    "--baseline",
    "baselines",
    multiple=True,
    metavar="NAME",
    help="Embedding without training to compare with, such as raw, pca, hog or tfidf; repeatable; none for "
    "none [default: all that fit, if the items can be read].",
)
_source_option = click.option(
    "--source",
    metavar="NAME",
    help="Registered dataset to read DATA with; it loads all of DATA into memory [default: by file type].",
)
_BACKEND_DEFAULT = (
    "the environment variable KERAS_BACKEND, else Keras's configuration, else the first installed"
)


@click.command
@click.argument("model", type=click.Path())
@click.argument("data", type=click.Path())
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    required=True,
    metavar="FILE",
    help="File to write, ending in .parquet.",
)
@click.option(
    "--side",
    type=click.IntRange(0, 1),
    default=0,
    show_default=True,
    help="Side of the pairs to embed: 0 left, 1 right. In a model with two encoders, also the encoder.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True, help="Batch size.")
@_source_option
@click.option(
    "--columns",
    metavar="NAMES",
    help="Table columns with the items, separated by commas, or array of an .npz file "
    "[default: those with the names that the model was trained on].",
)
@click.option(
    "--label",
    metavar="NAME",
    help="Column or array with the labels [default: label in a table, y in an .npz file, if any].",
)
@click.option(
    "--id",
    "id_",
    metavar="NAME",
    help="Column or array with the ids of the items [default: id, if any, else row numbers].",
)
@click.option("--skip-unreadable", is_flag=True, help="Leave out images that cannot be read, and count them.")
@force_option
@backend_option(_BACKEND_DEFAULT)
@plugin_option
def embed(
    model: str,
    data: str,
    output: str,
    side: int,
    batch_size: int,
    source: str | None,
    columns: str | None,
    label: str | None,
    id_: str | None,
    skip_unreadable: bool,
    force: bool,
    backend: str | None,
    plugins: tuple[str, ...],
) -> None:
    """Embed the items of DATA with MODEL, and write embeddings, ids and labels to a Parquet file.

    MODEL is a .keras file. DATA is a table (.csv, .tsv, .parquet, .jsonl), a .npy or .npz file, a folder of
    images, or the name of a registered dataset. Only a few batches are in memory at a time.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from siamkit.backend import select
    from siamkit.inference.embed import embed_file
    from siamkit.registry.registry import components

    for module in plugins:
        components().load_module(module)
    select.activate(select.choose_backend(backend)[0])
    select.keep_compiled()
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("embedding"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    start = time.monotonic()
    notes: list[str] = []
    with bar:
        task = bar.add_task("", total=None, rate="")

        def on_rows(done: int, total: int | None) -> None:
            nonlocal start
            if not done:  # the backend and the model are loaded by now
                start = time.monotonic()
            rate = f"{done / max(time.monotonic() - start, 1e-9):,.0f}/s"
            bar.update(task, completed=done, total=total, rate=rate)

        count = embed_file(
            model,
            data,
            output,
            side=side,
            batch_size=batch_size,
            source=source,
            columns=_names(columns),
            label=label,
            id=id_,
            replace=force,
            skip_unreadable=skip_unreadable,
            on_rows=on_rows,
            on_note=notes.append,
        )
    seconds = time.monotonic() - start
    for note in notes:
        click.echo(note, err=True)
    click.echo(f"{count:,} embeddings in {seconds:.1f} s ({count / seconds:,.0f}/s) in {output}")


def _names(columns: str | None) -> tuple[str, ...]:
    """Return the names in a text that separates them by commas."""
    return tuple(name.strip() for name in (columns or "").split(",") if name.strip())


@click.command
@click.argument("inputs", nargs=-1, required=True, type=click.Path(), metavar="INPUT...")
@click.option(
    "--data",
    type=click.Path(),
    metavar="DATA",
    help="Labelled items or pairs for models to embed; needed if an INPUT is a .keras file. --html "
    "shows them.",
)
@_labels_option
@_drop_missing_option
@click.option(
    "--metric",
    metavar="NAME",
    help="Metric for files of embeddings [default: cosine]; models and trials use their own.",
)
@click.option(
    "--measure",
    "measures",
    multiple=True,
    metavar="NAME",
    help="Measure to compare; repeatable [default: map_at_r and recall_at_1; for pairs roc_auc and "
    "eer, for pairs "
    "with scores spearman and pearson]. The documentation of siamkit.compare lists all.",
)
@click.option(
    "--over",
    type=click.Choice(["auto", "queries", "classes", "items", "pairs"]),
    default="auto",
    show_default=True,
    help="What to resample for the confidence intervals. auto: classes if there are at least 20, else "
    "queries; for "
    "pairs, items if one is in several pairs, else pairs.",
)
@_baseline_option
@click.option("--html", "page", type=click.Path(), metavar="FILE", help="Also write a web page.")
@json_option
@backend_option(_BACKEND_DEFAULT)
def compare(
    inputs: tuple[str, ...],
    data: str | None,
    labels: str | None,
    drop_missing: bool,
    metric: str | None,
    measures: tuple[str, ...],
    over: str,
    baselines: tuple[str, ...],
    page: str | None,
    as_json: bool,
    backend: str | None,
) -> None:
    """Compare two or more INPUTs on the same items or pairs.

    An INPUT is a model (.keras, with --data), a file of embeddings (.npy, .npz, .parquet), or a trial of a
    study (study.yaml#14, study.yaml#best). Every difference is reported with its confidence interval
    and p-value.
    """
    from rich.console import Console

    from siamkit.backend import select
    from siamkit.comparison import compare as run
    from siamkit.io.files import to_jsonable, write_text
    from siamkit.io.paths import check_writable
    from siamkit.report.render.text import render_console

    if page is not None:
        check_writable(Path(page))
    if backend is not None:  # else it is chosen when something needs a backend
        select.activate(select.choose_backend(backend)[0])
    select.keep_compiled()
    comparison = run(
        *inputs,
        data=data,
        labels=labels,
        drop_missing=drop_missing,
        metric=metric,
        measures=measures,
        over=over,  # type: ignore[arg-type]
        baselines=None if baselines == ("none",) else baselines,
    )
    if page is not None:
        from siamkit.report.render.html import render_html

        write_text(Path(page), render_html(comparison.document()))
    if as_json:
        described = dataclasses.asdict(dataclasses.replace(comparison, thumbnails={}))
        del described["thumbnails"]
        described["disagreements"] = [
            {"a": a, "b": b, "queries": [dataclasses.asdict(query) for query in queries]}
            for (a, b), queries in comparison.disagreements.items()
        ]
        described["verdicts"] = comparison.verdicts()
        click.echo(json.dumps(to_jsonable(described), indent=1, default=str))
        return
    Console().print(render_console(comparison.document()))
    if page is not None:
        click.echo(f"page  {page}")


@click.command
@click.argument("model", type=click.Path())
@click.argument("data", type=click.Path(), required=False)
@_labels_option
@_drop_missing_option
@click.option("--metric", metavar="NAME", help="Metric for a file of embeddings [default: cosine].")
@click.option(
    "--group",
    "groups",
    cls=Option,
    unused_with=["--sizes"],
    multiple=True,
    metavar="NAME",
    help=f"Group of measures to compute: {', '.join(GROUPS)}; repeatable [default: all].",
)
@click.option(
    "--threshold",
    cls=Option,
    unused_with=["--sizes"],
    metavar="VALUE",
    help="Threshold at which pairs are accepted: a number, or how to choose it from these pairs: f1, "
    "accuracy, balanced_accuracy, far=0.001, precision=0.95, recall=0.95, cost=10:1 (a false accept costs "
    "10, a false reject 1) [default: balanced_accuracy].",
)
@_source_option
@click.option(
    "--columns",
    metavar="NAMES",
    help="Columns of DATA with the items, separated by commas, or array of an .npz file [default: those that "
    "the model was trained on, else left and right, or a and b, of pairs].",
)
@click.option(
    "--label",
    cls=Option,
    unused_with=["--labels"],
    metavar="NAME",
    help="Column or array in DATA with the labels [default: label, target or y].",
)
@click.option(
    "--sizes",
    is_flag=True,
    help="Instead, report how quality changes as embeddings shrink: truncation, PCA, float16, int8, binary.",
)
@click.option(
    "--html",
    "page",
    cls=Option,
    needs="--sizes",
    type=click.Path(),
    metavar="FILE",
    help="With --sizes: also write a web page.",
)
@_baseline_option
@json_option
@backend_option(_BACKEND_DEFAULT)
def evaluate(
    model: str,
    data: str | None,
    labels: str | None,
    drop_missing: bool,
    metric: str | None,
    groups: tuple[str, ...],
    threshold: str | None,
    source: str | None,
    columns: str | None,
    label: str | None,
    sizes: bool,
    page: str | None,
    baselines: tuple[str, ...],
    as_json: bool,
    backend: str | None,
) -> None:
    """Evaluate MODEL on the labelled items or pairs of DATA.

    MODEL is a .keras file, a file of embeddings (.npy, .npz, .parquet) or a trial of a study (study.yaml#14,
    study.yaml#best, the winner); only a .keras file takes DATA. The measures cover retrieval, verification,
    clustering, few-shot classification and the geometry of the embeddings, and the same of the best
    embedding without training of the same items (with --json only if --baseline names some). Error rates are
    listed at the threshold that is given or chosen from these pairs, and at the model's own, if it has one.
    """
    from rich.console import Console

    from siamkit.backend import select
    from siamkit.comparison.inputs import labeled, read_embeddings
    from siamkit.comparison.single import (
        best_untrained,
        curve_document,
        curve_of,
        evaluate_set,
        measures_document,
    )
    from siamkit.evaluation.measures import as_threshold
    from siamkit.io.files import to_jsonable, write_text
    from siamkit.io.paths import check_writable
    from siamkit.report.render.text import render_console

    asked = None if threshold is None else as_threshold(threshold)
    if page is not None:
        check_writable(Path(page))
    if backend is not None:  # else it is chosen when something needs a backend
        select.activate(select.choose_backend(backend)[0])
    select.keep_compiled()
    embedded, _ = labeled(
        read_embeddings(model, data, source=source, columns=_names(columns), label=label),
        labels,
        drop_missing=drop_missing,
    )
    if metric is not None:
        embedded = embedded.compared_by(metric)
    if sizes:
        curve = curve_of(embedded)
        if page is not None:
            from siamkit.report.render.html import render_html

            write_text(Path(page), render_html(curve_document(embedded.name, curve, embedded.notes)))
        if as_json:
            click.echo(json.dumps(to_jsonable([dataclasses.asdict(point) for point in curve]), indent=1))
        else:
            Console().print(render_console(curve_document(embedded.name, curve, embedded.notes)))
        return
    measures = evaluate_set(embedded, groups or GROUPS, asked)  # type: ignore[arg-type]
    untrained, notes = None, list(embedded.notes)
    if baselines != ("none",) and (baselines or not as_json):
        untrained, more_notes = best_untrained(embedded, groups or GROUPS, baselines)  # type: ignore[arg-type]
        notes += more_notes
    embedded = dataclasses.replace(embedded, notes=tuple(notes))
    if as_json:
        for note in embedded.notes:
            click.echo(note, err=True)
        baseline = {} if untrained is None else {"baseline": dataclasses.asdict(untrained)}
        click.echo(json.dumps(to_jsonable({**measures, **baseline}), indent=1))
        return
    Console().print(render_console(measures_document(embedded, measures, asked, untrained)))
