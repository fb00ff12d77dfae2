"""A notification by HTTP: a POST to a webhook, or a ping of a monitoring service.

The address may be a secret in itself (chat services issue such addresses), so only its host is
ever shown. Chat services report errors in an answer with HTTP 200, so its body is read.

Source of the answers: the documentation of custom bots of Feishu (``code``), DingTalk and WeCom
(``errcode``); 0 is success.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from bulk_reset.core.errors import InputError
from bulk_reset.jobs.notify.notify_limit import POLL_S, NotifyLimit

if TYPE_CHECKING:
    import aiohttp

_ATTEMPT_S: Final = 20
_PING_S: Final = 5
_ATTEMPTS: Final = 3
_MOST_BYTES: Final = 1 << 16
_SUCCESS: Final = frozenset({0, 200})
Sleep = Callable[[float], Awaitable[object]]


def post(
    address: str, body: bytes, headers: Mapping[str, str], sleep: Sleep, limit: NotifyLimit
) -> str:
    """POST a JSON text, with retries for a short outage; return what failed, or nothing."""
    from bulk_reset.engine.event_loop import in_new_loop  # noqa: PLC0415  (imports aiohttp)

    sent = {"Content-Type": "application/json", **headers}
    return in_new_loop(lambda: _within(limit, address, _post(address, body, sent, sleep)))


def ping(address: str, limit: NotifyLimit) -> str:
    """GET an address once; return what failed, or nothing."""
    from bulk_reset.engine.event_loop import in_new_loop  # noqa: PLC0415  (imports aiohttp)

    return in_new_loop(lambda: _within(limit, address, _ping(address)))


def host_of(address: str) -> str:
    """Return the part of an address that is not secret."""
    return urlsplit(address).hostname or "webhook"


async def _within(limit: NotifyLimit, address: str, work: Any) -> str:  # noqa: ANN401  (a coroutine)
    sending: asyncio.Task[str] = asyncio.create_task(work)
    while not sending.done():
        await asyncio.wait({sending}, timeout=POLL_S)
        if limit.is_over() and not sending.done():
            sending.cancel()
            await asyncio.wait({sending})
            return f"{host_of(address)}: stopped by a signal"
    return sending.result()


async def _post(address: str, body: bytes, headers: Mapping[str, str], sleep: Sleep) -> str:
    problem = ""
    async with _session(_ATTEMPT_S) as session:
        for attempt in range(_ATTEMPTS):
            problem, is_final = await _attempt(session, "POST", address, headers, body)
            if is_final:
                return problem
            if attempt + 1 < _ATTEMPTS:
                await sleep(2.0**attempt)
    return problem


async def _ping(address: str) -> str:
    async with _session(_PING_S) as session:
        problem, _ = await _attempt(session, "GET", address, {}, b"")
    return problem


def _session(timeout_s: float) -> aiohttp.ClientSession:
    import aiohttp  # noqa: PLC0415  (rarely needed)

    # Without trust_env: it would also send passwords of ~/.netrc.
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s))


async def _attempt(
    session: aiohttp.ClientSession,
    method: str,
    address: str,
    headers: Mapping[str, str],
    body: bytes,
) -> tuple[str, bool]:
    """Return what failed, or nothing; and whether another attempt is useless."""
    import aiohttp  # noqa: PLC0415  (rarely needed)

    from bulk_reset.api.proxy import proxy_arguments  # noqa: PLC0415  (imports yarl)

    host = host_of(address)
    try:
        proxy = proxy_arguments(address)
    except InputError as error:
        return f"{host}: {error}", True
    try:
        # A redirect would send the content to another host.
        async with session.request(
            method,
            address,
            data=body or None,
            headers=headers,
            allow_redirects=False,
            **proxy,
        ) as answer:
            if answer.ok and answer.status < 300:  # noqa: PLR2004
                code = _refusal(await answer.content.read(_MOST_BYTES))
                return f"{host}: rejected with code {code}" if code else "", True
            is_final = answer.status < 500 and answer.status != 429  # noqa: PLR2004
            return f"{host}: HTTP {answer.status}", is_final
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
        return f"{host}: {type(exc).__name__}", False


def _refusal(answer: bytes) -> int:
    """Return the error code in a chat service's answer; 0 if it accepted the message."""
    try:
        content = json.loads(answer)
    except (ValueError, RecursionError):
        return 0
    if not isinstance(content, dict):
        return 0
    codes = [content.get(name) for name in ("errcode", "code", "StatusCode")]
    return next((one for one in codes if type(one) is int and one not in _SUCCESS), 0)
