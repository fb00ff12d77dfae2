"""``stream``: send changes from a program as it makes them; get each outcome at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Final

from bulk_reset.api.client import open_client
from bulk_reset.api.credentials import Credentials
from bulk_reset.core.argument_types import or_default, require
from bulk_reset.core.change import Change
from bulk_reset.core.errors import InputError, StoppedError
from bulk_reset.core.fields import FIELDS
from bulk_reset.core.outcome import Outcome, Stop
from bulk_reset.engine.circuit_breaker import CircuitBreaker
from bulk_reset.engine.connection import find_account, is_alone, open_permits, sandbox_here
from bulk_reset.engine.event_loop import first_cause
from bulk_reset.engine.options import Options
from bulk_reset.engine.worker_pool import WorkerPool
from bulk_reset.quota.account_ledger import AccountLedger, wait_for_account
from bulk_reset.quota.limiter import Limiter
from bulk_reset.quota.permit_share import wait_for_others
from bulk_reset.sheets.cell_texts import text_chunk
from bulk_reset.sheets.columns import Columns
from bulk_reset.sheets.sheet_check import DecidedChunk, SheetCheck
from bulk_reset.sheets.validation import check_chunk

_log = logging.getLogger(__name__)
_BATCH_ROWS: Final = 500
_COLUMNS: Final = Columns({name: place for place, name in enumerate(FIELDS)}, FIELDS)
Row = Mapping[str, object]
"""``incident_id`` and one or more of the fields to set."""


async def stream(
    changes: Iterable[Row] | AsyncIterable[Row], options: Options | None = None
) -> AsyncIterator[Outcome]:
    """Send changes within the quota, by the same rules as a run of a sheet.

    Changes of one incident are sent in the order given, one at a time. No report is written.
    ``max_failures`` is a number here, because the number of rows is not known.

    Args:
        changes: read as needed, up to 500 ahead (an async iterable: one ahead).

    Yields: one outcome a change, in the order in which they finish; ``row_number`` counts from 1.

    Raises:
        InputError: the options, the key or a change's fields are invalid; nothing else is sent.
        LockedError: another run uses the account, and ``options.waits`` is false.
        StoppedError: it ended early (credentials, outage, too many failures); changes that
            have no outcome are pending.
    """
    options = or_default("options", options, Options)
    kinds, others = (Iterable, AsyncIterable), (str, bytes, Mapping)
    require("changes", changes, kinds, "an iterable of dicts", but_not=others)
    _refuse_sheet_options(options)
    outcomes: asyncio.Queue[Outcome | None] = asyncio.Queue()
    credentials = find_account(options)
    if credentials.warning:
        _log.warning(credentials.warning)
    async with (
        contextlib.AsyncExitStack() as stack,
        _address(options, credentials) as address,
        open_client(address, connections=options.workers, timeout_s=options.timeout_s) as client,
    ):
        limiter = Limiter(options.windows())
        if not options.is_rehearsal:
            account = None
            if is_alone(options):
                account = stack.enter_context(AccountLedger(credentials, options.account))
                for wait_s in wait_for_account(
                    account, "a stream", waits=options.waits, notify=_log.warning
                ):
                    await asyncio.sleep(wait_s)
            permits = stack.enter_context(
                contextlib.closing(open_permits(credentials, options, "a stream"))
            )
            for wait_s in wait_for_others(permits, waits=options.waits, notify=_log.warning):
                await asyncio.sleep(wait_s)
            limiter = Limiter(options.windows(), ledger=account, share=permits)
            if account is not None:
                limiter.remember(account.ages_s())
        pool = WorkerPool(
            client,
            limiter,
            outcomes.put_nowait,
            policy=options.policy(),
            breaker=CircuitBreaker(options.patience_s),
            workers=options.workers,
            max_failures=options.failure_limit(0),
            is_in_order=lambda _: True,
        )
        sending = asyncio.create_task(_send_all(pool, changes, outcomes, credentials.base_url))
        try:
            while (outcome := await outcomes.get()) is not None:
                yield outcome
                outcomes.task_done()
            stop = await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    if stop is not None:
        raise StoppedError(f"stopped: {stop.message}. Changes without an outcome are pending.")


@contextlib.asynccontextmanager
async def _address(options: Options, credentials: Credentials) -> AsyncIterator[Credentials]:
    if options.is_rehearsal:
        async with sandbox_here(options) as sandbox:
            yield sandbox
    else:
        yield credentials


def _refuse_sheet_options(options: Options) -> None:
    """Refuse options that a stream would ignore."""
    for_sheets = {
        "limit": options.limit,
        "report": options.report,
        "dry_run": options.dry_run,
        "retry_failed": options.retry_failed,
        "canary": options.canary,
        "verify": options.verify,
        "require_approval": options.require_approval,
        "approved_by": options.approved_by,
    }
    given = [name for name, value in for_sheets.items() if value]
    if given:
        raise InputError(f"stream: {', '.join(given)}: for sheets only. Remove it.")
    if str(options.max_failures).endswith("%"):
        raise InputError("stream: max_failures: the number of rows is not known. Use a number.")


async def _send_all(
    pool: WorkerPool,
    changes: Iterable[Row] | AsyncIterable[Row],
    outcomes: asyncio.Queue[Outcome | None],
    scope: str,
) -> Stop | None:
    try:
        return await pool.run(_checked_batches(changes, outcomes, scope))
    except BaseExceptionGroup as group:
        raise first_cause(group) from None
    finally:
        outcomes.put_nowait(None)


async def _checked_batches(
    changes: Iterable[Row] | AsyncIterable[Row],
    outcomes: asyncio.Queue[Outcome | None],
    scope: str,
) -> AsyncIterator[list[Change]]:
    first = 1
    async for rows in _batches(changes):
        # The program that takes the outcomes sets the pace: nothing piles up here.
        await outcomes.join()
        numbers = list(range(first, first + len(rows)))
        first += len(rows)
        cells = [_cells(row, number) for number, row in zip(numbers, rows, strict=True)]
        checked = check_chunk(text_chunk(numbers, cells, len(FIELDS)), _COLUMNS)
        to_send = []
        for item in DecidedChunk(checked, SheetCheck(), scope).items():
            if isinstance(item, Change):
                to_send.append(item)
            else:
                outcomes.put_nowait(item)
        yield to_send


def _cells(row: Row, number: int) -> list[object]:
    if not isinstance(row, Mapping):
        raise InputError(
            f"change {number}: {row!r:.60} is not a mapping of field to value. Use a dict."
        )
    unknown = row.keys() - set(FIELDS)
    if unknown:
        raise InputError(
            f"change {number}: no such field: {', '.join(sorted(unknown))}. "
            f"The fields are {', '.join(FIELDS)}."
        )
    return [row.get(name, "") for name in FIELDS]


async def _batches(
    changes: Iterable[Row] | AsyncIterable[Row],
) -> AsyncIterator[list[Row]]:
    if isinstance(changes, AsyncIterable):
        async for row in changes:
            yield [row]
        return
    batch: list[Row] = []
    for row in changes:
        batch.append(row)
        if len(batch) == _BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
