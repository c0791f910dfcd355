"""optuna-dashboard for a study: read-only, and for this machine only."""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from siamkit.errors import StudyError
from siamkit.study.monitoring.locate import StudyLocation, open_to_read, storage_to_read

HOST = "127.0.0.1"
PORTS_TRIED = 20

Application = Callable[..., Iterable[bytes]]


class Server(ThreadingMixIn, WSGIServer):
    """A server that answers several requests at once; none of them keeps the program from ending."""

    daemon_threads = True
    # Otherwise, on some systems, two servers could listen on one port.
    allow_reuse_address = True


class QuietHandler(WSGIRequestHandler):
    """A request handler that logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def make_dashboard(where: StudyLocation, port: int) -> Server:
    """Return a server that shows a study at `http://127.0.0.1:<port>`; call its `serve_forever`.

    Args:
        where: the study.
        port: the first port to try; the next free one is used. 0 for any port.

    Raises:
        StudyError: the package is not installed, the study was never started, or no port is free.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise StudyError("the dashboard needs optuna-dashboard; pip install 'siamkit[dashboard]'")
    open_to_read(where)  # raises if the study cannot be read
    import optuna_dashboard

    app = optuna_dashboard.wsgi(storage_to_read(where))
    for number in range(port, min(port + PORTS_TRIED, 65536)):
        try:
            server = make_server(HOST, number, app, server_class=Server, handler_class=QuietHandler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise StudyError(f"cannot listen on port {number}: {error.strerror}") from None
        server.set_app(read_only(app, server.server_port))
        return server
    raise StudyError(f"the ports {port} to {port + PORTS_TRIED - 1} are taken; choose another with --port")


def address(server: Server) -> str:
    """Return the URL of a dashboard."""
    return f"http://{HOST}:{server.server_port}"


def read_only(app: Application, port: int) -> Application:
    """Refuse requests that would change the study, and requests for another host name.

    The dashboard can delete and rename studies and end trials; only `tune` may do that. Also, a web page
    could resolve its own name to this machine, to read from it in the user's browser (DNS rebinding).
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
