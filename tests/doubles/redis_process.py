"""A redis-server of a test: on a socket file, without a disk, ended by its own process id."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final, Self

import redis
from waiting import wait_until

_START_S: Final = 20.0


class RedisProcess:
    """A server, from ``start`` to ``stop``; also a context manager.

    Attributes:
        url: its address for ``--quota-store``.
    """

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self.client = redis.Redis(unix_socket_path=str(self._socket), decode_responses=True)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = shutil.which("redis-server")
        assert program is not None, "redis-server is required: use make test, which installs it"
        options = ("--port", "0", "--unixsocket", str(self._socket), "--save", "", "--dir")
        self._process = subprocess.Popen(
            [program, *options, str(self._socket.parent)], stdout=subprocess.DEVNULL
        )
        wait_until(self._answers, _START_S)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "redis-server did not start"
        with contextlib.suppress(redis.RedisError):
            return bool(self.client.ping())
        return False

    def suspend(self) -> None:
        """Stop answering, as a server that is unreachable."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it; its memory is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
