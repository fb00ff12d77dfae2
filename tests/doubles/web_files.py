"""A server of files on loopback, for sheets at an address."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and content."""


@dataclass
class WebFiles:
    """What is served, and what was asked for.

    Attributes:
        answers: path without the query -> answer; others are HTTP 404.
        asked: (path with its query, Authorization header) of each request.
    """

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def put(self, path: str, content: bytes, status: int = 200, **headers: str) -> str:
        """Serve a file; return its address."""
        self.answers[path] = (status, headers, content)
        return self.url + path


@contextmanager
def web_files(tls: ssl.SSLContext | None = None) -> Iterator[WebFiles]:
    """Serve until the block ends."""
    files = WebFiles()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            files.asked.append((self.path, self.headers.get("Authorization", "")))
            missing: Answer = (404, {}, b"")
            status, headers, content = files.answers.get(self.path.partition("?")[0], missing)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:  # noqa: ANN401  (the library's signature)
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:  # noqa: ANN401  (the library's signature)
            """A client that refuses the certificate is no error of a test."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        files.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield files
        finally:
            server.shutdown()
            thread.join()
