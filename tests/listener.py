"""A real HTTP server that keeps what Apprise's json:// posts to it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Listener:
    """Notices in the order of their arrival, and the address that takes them."""

    def __init__(self, port: int) -> None:
        self.url = f"json://user:secret@127.0.0.1:{port}/hook"
        self.notices: list[dict[str, Any]] = []

    @property
    def titles(self) -> list[str]:
        return [notice["title"] for notice in self.notices]


@contextmanager
def listening(status: int = 200) -> Iterator[Listener]:
    """Listen on a free port; every post is answered with `status`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            listener.notices.append(json.loads(self.rfile.read(length)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener = Listener(server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield listener
    finally:
        server.shutdown()
        server.server_close()
