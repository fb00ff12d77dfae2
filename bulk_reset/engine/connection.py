"""Whom to ask and with which key: the account held for a while, or a sandbox in its place.

All that one command does goes to one place: a rehearsal's sandbox lives as long as the command,
in a thread of its own, and keeps its incidents in a file where that is wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from bulk_reset.api.base_url import check_base_url
from bulk_reset.api.credentials import DEFAULT_BASE_URL, AppKey, Credentials, find_credentials
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import CredentialsError, InputError, LockedError, RunError
from bulk_reset.engine.options import Options
from bulk_reset.quota.account_ledger import AccountLedger, wait_for_account
from bulk_reset.quota.limiter import Limiter

T = TypeVar("T")
SANDBOX: Final = "sandbox"
_LONGEST_WINDOW_S: Final = 61.0
_SEEDED: Final = 300
_SEED_STEP_S: Final = 2 * 3600
"""What a rehearsal's new file begins with: the incidents of the last 25 days."""


@dataclass(slots=True)
class SandboxLedger:
    """The ledger of a rehearsal, whose quota nobody else uses and nobody uses afterwards."""

    _answered_at: list[float] = field(default_factory=list)

    def start(self) -> None:
        """A request is about to start."""

    def answer(self) -> None:
        """A request was answered, or given up."""
        self._answered_at.append(time.monotonic())

    def ages_s(self) -> list[float]:
        """Return how long ago the requests of the last minute were answered."""
        now = time.monotonic()
        self._answered_at = [at for at in self._answered_at if now - at <= _LONGEST_WINDOW_S]
        return [now - at for at in self._answered_at]


@dataclass(frozen=True, slots=True)
class Connection:
    """Somebody to send to.

    Attributes:
        scope: what stands for the API in digests: its address, or that it is a rehearsal.
        ledger: of the quota; None until the account is held.
    """

    credentials: Credentials
    scope: str
    ledger: AccountLedger | SandboxLedger | None = None

    def quota(self, options: Options) -> Limiter:
        """Return the quota as what was sent in the last minute has left it."""
        quota = Limiter(options.windows(), ledger=self.ledger)
        if self.ledger is not None:
            quota.remember(self.ledger.ages_s())
        return quota


def find_account(options: Options) -> Credentials:
    """Return whom to send to and with which key.

    Raises:
        InputError: no key, or an address that cannot be used.
    """
    try:
        found = find_credentials(app_key_file=options.app_key_file, base_url=options.base_url)
    except CredentialsError:
        if not (options.is_rehearsal or options.dry_run):
            raise
        found = Credentials(AppKey("-"), options.base_url or DEFAULT_BASE_URL, "no key is needed")
    where = "--base-url" if options.base_url else f"{found.source}: base_url"
    return replace(found, base_url=check_base_url(found.base_url, where))


@contextlib.contextmanager
def connect(options: Options, callbacks: Callbacks) -> Iterator[Connection]:
    """Find whom to send to until the block ends; the account is not held yet.

    Raises:
        InputError: no key, an address that cannot be used, or a sandbox's file that is none.
    """
    credentials = find_account(options)
    if not options.is_rehearsal or options.dry_run:
        if credentials.warning:
            callbacks.on_notice(credentials.warning)
        yield Connection(credentials, SANDBOX if options.is_rehearsal else credentials.base_url)
        return
    with _sandbox(options) as own:
        yield Connection(own, SANDBOX, SandboxLedger())


@contextlib.contextmanager
def hold_account(
    connection: Connection, options: Options, label: str, callbacks: Callbacks
) -> Iterator[Connection]:
    """Hold the account until the block ends; wait for another run that has it.

    Args:
        label: for whoever waits to read.

    Raises:
        LockedError: another run has it, and is not waited for, or not any longer.
    """
    if options.is_rehearsal:
        yield connection
        return
    with AccountLedger(connection.credentials, options.account) as account:
        for wait_s in wait_for_account(
            account, label, waits=options.waits, notify=callbacks.on_notice
        ):
            if options.deadline_at is not None and time.time() >= options.deadline_at:
                raise LockedError("the account is in use, and the deadline has come. Run it later.")
            time.sleep(wait_s)
        yield replace(connection, ledger=account)


# --- A sandbox beside ------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def sandbox_here(options: Options) -> AsyncIterator[Credentials]:
    """Have a sandbox in this event loop until the block ends."""
    from bulk_reset.sandbox import Sandbox, SandboxConfig  # noqa: PLC0415  (rarely needed)

    config = SandboxConfig(
        per_second=options.per_second,
        per_minute=options.per_minute,
        accepts_any_id=options.sandbox_state is None,
        state=options.sandbox_state,
        seed_incidents=_SEEDED if options.sandbox_state else 0,
        first_start_at=int(time.time()) - _SEEDED * _SEED_STEP_S,
        seed_step_s=_SEED_STEP_S,
    )
    async with Sandbox(config).serve() as base_url:
        yield Credentials(AppKey(config.app_key), base_url, SANDBOX)


@contextlib.contextmanager
def _sandbox(options: Options) -> Iterator[Credentials]:
    """Have a sandbox in a thread beside until the block ends."""
    is_ready = threading.Event()
    found: list[Credentials | BaseException] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with sandbox_here(options) as credentials:
            ended = asyncio.Event()
            loops.append((asyncio.get_running_loop(), ended))
            found.append(credentials)
            is_ready.set()
            await ended.wait()

    def main() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001  (raised where it is waited for)
            found.append(error)
            is_ready.set()

    thread = threading.Thread(target=main, name="sandbox", daemon=True)
    thread.start()
    is_ready.wait()
    try:
        if isinstance(found[0], ValueError):
            raise InputError(f"--sandbox-state {found[0]}")
        if isinstance(found[0], BaseException):
            raise found[0]
        yield found[0]
    finally:
        for loop, ended in loops:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(ended.set)
        thread.join()
    if isinstance(found[-1], BaseException):
        raise RunError(f"--sandbox-state {found[-1]} What was rehearsed is not kept.")


# --- Loops -----------------------------------------------------------------------------------


def in_new_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end, from inside a notebook's running loop too."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run_loop(main)
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(run_loop, main).result()


def run_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end in a loop of its own, the fastest there is."""
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as loop_factory  # noqa: PLC0415  (not before)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        try:
            return runner.run(main())
        except BaseExceptionGroup as group:
            raise first_cause(group) from None


def first_cause(error: BaseException) -> BaseException:
    """Return the error that made a group of tasks end."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
