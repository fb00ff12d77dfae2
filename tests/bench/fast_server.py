"""A server that accepts every update as fast as Python allows, to measure clients with.

It has every incident that is asked for, with values that differ from every sheet's; with the
argument ``written``, with those of the sheet. It reads each
request to its end by ``Content-Length``, keeps connections alive, and answers as the API does. It
prints its port and serves until its standard input is closed. For each line on its standard input
it prints a JSON line: ``cpu_s``, the processor time that it has used (to see whether the server
was the bottleneck), and ``requests``, the number of answered requests (to see whether all of them
arrived).

State: ``AcceptingServer.answered`` is changed in the event loop only; the thread that reads
standard input reads it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Final

_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_BODY: Final = b'{"request_id":"01HZX7Q5N6Y2M8K4V3T1R9W0BC","data":{}}'
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    b"Flashcat-Request-Id: 01HZX7Q5N6Y2M8K4V3T1R9W0BC\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


_LIST: Final = b"POST /incident/list-by-ids"


def _as_before(incident_id: str) -> dict[str, str]:
    return {"incident_id": incident_id, "title": "As before", "description": ""}


def _as_written(incident_id: str) -> dict[str, str]:
    from sheets import HEADER, row  # noqa: PLC0415  (imports a writer of workbooks)

    return dict(zip(HEADER, row(int(incident_id[8:], 16)), strict=True))


_VALUES_OF: Final = _as_written if sys.argv[1:] == ["written"] else _as_before


def _incidents(request: bytes) -> bytes:
    ids = json.loads(request.partition(_END_OF_HEAD)[2])["incident_ids"]
    items = [_VALUES_OF(one) for one in ids]
    body = json.dumps({"request_id": "01HZX7Q5N6Y2M8K4V3T1R9W0BC", "data": {"items": items}})
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()


class AcceptingServer(asyncio.Protocol):
    """One connection.

    Attributes:
        answered: requests answered so far, over all connections.
    """

    answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for answers."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        self._received += data
        while (length := _length_of_first(self._received)) is not None:
            request, self._received = self._received[:length], self._received[length:]
            is_read = request.startswith(_LIST)
            self._transport.write(_incidents(request) if is_read else _ANSWER)
            AcceptingServer.answered += 1


def _length_of_first(received: bytes) -> int | None:
    """Return the length of the first request in bytes, None while it is incomplete."""
    head_end = received.find(_END_OF_HEAD)
    if head_end < 0:
        return None
    head = received[:head_end].lower()
    start = head.find(_LENGTH)
    body = 0
    if start >= 0:
        body = int(head[start + len(_LENGTH) :].split(b"\r\n", 1)[0])
    whole = head_end + len(_END_OF_HEAD) + body
    return whole if len(received) >= whole else None


def _print_line(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


def _print_statistics() -> None:
    for _ in sys.stdin:
        _print_line({"cpu_s": time.process_time(), "requests": AcceptingServer.answered})


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(AcceptingServer, "127.0.0.1", 0)
    _print_line(server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, _print_statistics)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
