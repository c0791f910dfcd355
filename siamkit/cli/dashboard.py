"""`siamkit dashboard`."""

from __future__ import annotations

import click


@click.command()
@click.argument("study", type=click.Path())
@click.option("--artifacts", metavar="FOLDER", help="The run folder or URL, instead of the study's own.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Or, if it is taken, the next that is free; 0 for any.",
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def dashboard(study: str, artifacts: str | None, port: int, no_browser: bool) -> None:
    """Show the study in the file STUDY in optuna-dashboard, on this machine only, until Ctrl-C."""
    import webbrowser

    from siamkit.study.monitoring.dashboard import address, make_dashboard
    from siamkit.study.monitoring.locate import find_study

    with make_dashboard(find_study(study, artifacts), port) as server:
        click.echo(f"{address(server)}   (Ctrl-C ends it)")
        try:
            if not no_browser:
                webbrowser.open(address(server))
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo()
