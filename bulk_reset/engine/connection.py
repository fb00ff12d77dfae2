"""The connection: the account, locked while it is used, or a sandbox in its place.

A command uses one connection. The sandbox of a rehearsal lives as long as the command, in a
thread of its own, and keeps its incidents in a file if ``sandbox_state`` names one.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from bulk_reset.api.base_url import check_base_url
from bulk_reset.api.credentials import (
    DEFAULT_BASE_URL,
    AppKey,
    Credentials,
    find_credentials,
    redact,
)
from bulk_reset.api.proxy import proxy_of
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.defaults import Priority
from bulk_reset.core.errors import CredentialsError, InputError, LockedError, RunError
from bulk_reset.core.option_names import option_name
from bulk_reset.engine.account import open_store
from bulk_reset.engine.options import ConnectionOptions, Options, QuotaOptions
from bulk_reset.quota.account_ledger import AccountLedger, wait_for_account
from bulk_reset.quota.limiter import Limiter
from bulk_reset.quota.permit_share import PermitShare, wait_for_others

SANDBOX: Final = "sandbox"
_LONGEST_WINDOW_S: Final = 61.0
_SEEDED: Final = 300
_SEED_STEP_S: Final = 2 * 3600
"""A new file of a rehearsal has incidents of the last 25 days."""


@dataclass(slots=True)
class SandboxLedger:
    """The ledger of a rehearsal, whose quota no other process uses."""

    _answered_at: list[float] = field(default_factory=list)

    def start(self) -> None:
        """Note that a request is about to start."""

    def answer(self) -> None:
        """Note that a request was answered or cancelled."""
        self._answered_at.append(time.monotonic())

    def ages_s(self) -> list[float]:
        """Return how long ago the requests of the last minute were answered."""
        now = time.monotonic()
        self._answered_at = [at for at in self._answered_at if now - at <= _LONGEST_WINDOW_S]
        return [now - at for at in self._answered_at]


@dataclass(frozen=True, slots=True)
class Connection:
    """Where requests are sent, and with which key.

    Attributes:
        scope: the API's name in digests: its address, or ``sandbox``.
        ledger: of the quota; None until the account is locked.
        permits: the run's share of the account's permits; None until then, and in a rehearsal.
    """

    credentials: Credentials
    scope: str
    ledger: AccountLedger | SandboxLedger | None = None
    permits: PermitShare | None = None

    def limiter(self, options: QuotaOptions, expected: int | None = None) -> Limiter:
        """Return a limiter that counts the requests of the last minute as used.

        Args:
            expected: how many requests will be made; few if that is not known.
        """
        if self.permits is not None:
            self.permits.expected = expected or options.windows()[0].limit
        limiter = Limiter(options.windows(), ledger=self.ledger, share=self.permits)
        if self.ledger is not None:
            limiter.remember(self.ledger.ages_s())
        return limiter


def find_account(options: ConnectionOptions) -> Credentials:
    """Return the API's address and the key.

    Raises:
        InputError: no key, or an address that cannot be used.
    """
    try:
        found = find_credentials(
            access_token_file=options.access_token_file,
            app_key_file=options.app_key_file,
            base_url=options.base_url,
        )
    except CredentialsError:
        if not (options.is_rehearsal or options.dry_run):
            raise
        found = Credentials(AppKey("-"), options.base_url or DEFAULT_BASE_URL, "no key is needed")
    where = option_name("base_url") if options.base_url else f"{found.source}: base_url"
    return replace(found, base_url=check_base_url(found.base_url, where))


def scope_of(options: ConnectionOptions) -> str:
    """Return the API's name in digests and audits; raises as ``find_account``."""
    return SANDBOX if options.is_rehearsal else find_account(options).base_url


@contextlib.contextmanager
def connect(options: Options, callbacks: Callbacks) -> Iterator[Connection]:
    """Find the account, or start the sandbox, until the block ends; nothing is locked yet.

    Raises:
        InputError: no key, an address or a proxy that cannot be used, or not a file of a sandbox.
    """
    credentials = find_account(options)
    if not options.is_rehearsal or options.dry_run:
        if not options.dry_run:
            proxy_of(credentials.base_url)  # raises before anything is read
        if credentials.warning:
            callbacks.on_notice(credentials.warning)
        yield Connection(credentials, SANDBOX if options.is_rehearsal else credentials.base_url)
        return
    with _sandbox(options) as credentials:
        yield Connection(credentials, SANDBOX, SandboxLedger())


@contextlib.contextmanager
def lock_account(
    connection: Connection, options: Options, label: str, callbacks: Callbacks
) -> Iterator[Connection]:
    """Lock the account until the block ends; wait for another run that uses it.

    Args:
        label: what is running, shown by other runs that wait.

    Raises:
        LockedError: another run uses it, and waiting is off or the deadline was reached.
    """
    if options.is_rehearsal:
        yield connection
        return
    with contextlib.ExitStack() as stack:
        account = None
        if is_alone(options):
            account = stack.enter_context(AccountLedger(connection.credentials, options.account))
            for wait_s in wait_for_account(
                account, label, waits=options.waits, notify=callbacks.on_notice
            ):
                _sleep(wait_s, options)
        permits = stack.enter_context(
            contextlib.closing(open_permits(connection.credentials, options, label))
        )
        for wait_s in wait_for_others(permits, waits=options.waits, notify=callbacks.on_notice):
            _sleep(wait_s, options)
        yield replace(connection, ledger=account, permits=permits)


def is_alone(options: ConnectionOptions) -> bool:
    """Return whether a run sends only while no other run of the account is active."""
    return options.exclusive or not options.waits


def open_permits(credentials: Credentials, options: Options, label: str) -> PermitShare:
    """Return a run's share of the permits; close it to return them.

    Raises:
        InputError: the store cannot be used.
    """
    return PermitShare(
        open_store(credentials, options.quota_store, options.account),
        options.windows(),
        priority=Priority(options.priority),
        timeout_s=options.timeout_s,
        is_exclusive=is_alone(options),
        label=redact(label)[:200],
    )


def _sleep(wait_s: float, options: Options) -> None:
    if options.deadline_at is not None and time.time() >= options.deadline_at:
        raise LockedError(
            "the account is used by another run, and the deadline was reached. Run again later."
        )
    time.sleep(wait_s)


# --- The sandbox of a rehearsal --------------------------------------------------------------


@contextlib.asynccontextmanager
async def sandbox_here(options: Options) -> AsyncIterator[Credentials]:
    """Run a sandbox in this event loop until the block ends."""
    from bulk_reset.sandbox import Sandbox, SandboxConfig, fields_beside  # noqa: PLC0415  (rare)

    config = SandboxConfig(
        per_second=options.per_second,
        per_minute=options.per_minute,
        accepts_any_id=options.sandbox_state is None,
        state=options.sandbox_state,
        seed_incidents=_SEEDED if options.sandbox_state else 0,
        first_start_at=int(time.time()) - _SEEDED * _SEED_STEP_S,
        seed_step_s=_SEED_STEP_S,
        fields=fields_beside(options.sandbox_state),
    )
    async with Sandbox(config).serve() as base_url:
        yield Credentials(AppKey(config.app_key), base_url, SANDBOX)


@contextlib.contextmanager
def _sandbox(options: Options) -> Iterator[Credentials]:
    """Run a sandbox in a thread until the block ends."""
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
            raise InputError(f"{option_name('sandbox_state')} {found[0]}")
        if isinstance(found[0], BaseException):
            raise found[0]
        yield found[0]
    finally:
        for loop, ended in loops:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(ended.set)
        thread.join()
    if isinstance(found[-1], BaseException):
        raise RunError(f"{option_name('sandbox_state')} {found[-1]} The changes were not saved.")
