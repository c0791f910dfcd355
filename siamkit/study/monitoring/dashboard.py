"""optuna-dashboard over a study's storage: on this machine only, and only to look at."""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from siamkit.errors import StudyError
from siamkit.study.monitoring.locate import StudyLocation, open_to_read

HOST = "127.0.0.1"
TRIED = 20  # ports from the one asked for

Application = Callable[..., Iterable[bytes]]


class Server(ThreadingMixIn, WSGIServer):
    """Answers several requests at once; those under way don't keep the program from ending."""

    daemon_threads = True
    # On some systems two servers could else listen on one port.
    allow_reuse_address = True


class Quiet(WSGIRequestHandler):
    """Says nothing of each request."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def make_dashboard(where: StudyLocation, port: int) -> Server:
    """A server that shows a study at `http://127.0.0.1:<port>`; its `serve_forever` serves.

    Args:
        where: the study.
        port: the first to try; one that is taken gives way to the next that is free. 0 for any.

    Raises:
        StudyError: the package is not installed, the study was never begun, or no port is free.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise StudyError("the dashboard wants optuna-dashboard; pip install 'siamkit[dashboard]'")
    study = open_to_read(where)
    import optuna_dashboard

    app = optuna_dashboard.wsgi(study._storage)
    for number in range(port, min(port + TRIED, 65536)):
        try:
            server = make_server(HOST, number, app, server_class=Server, handler_class=Quiet)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise StudyError(f"port {number} cannot be listened on: {error.strerror}") from None
        server.set_app(only_to_look(app, server.server_port))
        return server
    raise StudyError(f"the ports {port} to {port + TRIED - 1} are taken; choose another with --port")


def address(server: Server) -> str:
    """Where a dashboard is."""
    return f"http://{HOST}:{server.server_port}"


def only_to_look(app: Application, port: int) -> Application:
    """Refuses what would change the study, and what a page of another site asks by a name of its own.

    The dashboard can delete and rename studies, and ends trials: all that is for `tune` alone. And a web page
    could have its own name lead to this machine, so as to read what is here in the user's browser.
    """
    names = {f"{name}:{port}" for name in (HOST, "localhost")}

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        refused = None
        if environ.get("HTTP_HOST") not in names:
            refused = "403 Forbidden", "this dashboard is for the machine it runs on"
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD", "OPTIONS"):
            refused = "405 Method Not Allowed", "this dashboard only shows; siamkit tune changes the study"
        if refused is None:
            return app(environ, start_response)
        start_response(refused[0], [("Content-Type", "text/plain; charset=utf-8")])
        return [refused[1].encode()]

    return answer
