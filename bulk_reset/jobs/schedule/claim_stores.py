"""The two stores of claims: the state folder of this machine, and Redis or Valkey.

Both do what ``taken``, ``renewed`` and ``released`` of ``claims`` say; a property test drives
both with the same calls. The local one serves the schedulers of one machine: it uses the
machine's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.errors import RunError
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.schedule.claims import (
    Answer,
    ClaimRecord,
    ClaimStore,
    machine_clock,
    released,
    renewed,
    taken,
)
from bulk_reset.quota.permit_store import StoreUnreachableError
from bulk_reset.quota.redis_connection import open_redis, redis_errors

if TYPE_CHECKING:
    from redis import Redis

LOCAL: Final = "local"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_LOCK_S: Final = 10.0


class ClaimStoreError(RunError):
    """The claims cannot be written now; nothing was started."""


def claim_store(address: str, state: StateFolder) -> ClaimStore:
    """Return the store of this address: ``local``, ``redis://…`` or ``rediss://…``.

    Raises:
        InputError: there is no such store, or it refuses the password.
    """
    if address == LOCAL:
        return LocalClaims(state.jobs)
    store = RedisClaims(open_redis(address, "claims"), address)
    # A store that is down now may respond later.
    with contextlib.suppress(StoreUnreachableError):
        store.check()
    return store


@dataclass(slots=True)
class LocalClaims:
    """Claims in files of the state folder, for the schedulers of one machine.

    Args:
        folder: where they are.
    """

    folder: Path
    clock: Callable[[], float] = machine_clock

    async def take(self, job: str, holder: str, lease_s: float) -> Answer:
        """Claim a job, or learn how long another holds it."""
        return self._change(job, lambda record, now_s: taken(record, now_s, holder, lease_s))

    async def renew(self, job: str, holder: str, epoch: int, lease_s: float) -> Answer:
        """Move the deadline of a claim."""
        return self._change(
            job, lambda record, now_s: renewed(record, now_s, holder, epoch, lease_s)
        )

    async def release(self, job: str, holder: str, epoch: int, handled_at: float) -> Answer:
        """End a claim."""
        return self._change(job, lambda record, _: released(record, holder, epoch, handled_at))

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _change(
        self,
        job: str,
        change: Callable[[ClaimRecord | None, float], tuple[ClaimRecord | None, Answer]],
    ) -> Answer:
        path = self.folder / f"{job}.claim"
        try:
            with FileLock(self.folder / f"{job}.claim.lock", timeout=_LOCK_S, mode=0o600):
                before = _read(path)
                record, answer = change(before, self.clock())
                if record is not None and record != before:
                    content = {"boot": _boot_id(), "claim": record._asdict()}
                    with atomic_file(path) as file:
                        file.write(json.dumps(content).encode())
        except OSError as exc:  # a timeout, too
            text = f"{path}: cannot be written ({exc.strerror or exc}). Use --state-dir DIR."
            raise ClaimStoreError(text) from exc
        return answer


def _read(path: Path) -> ClaimRecord | None:
    """Return the record of a file; None if it is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
        record = ClaimRecord(**content["claim"])
        is_same_boot = content["boot"] == _boot_id()
        # Every holder from before this machine was started has ended.
        deadline_s = float(record.deadline_s) if is_same_boot else 0.0
        return ClaimRecord(
            str(record.holder), int(record.epoch), deadline_s, float(record.handled_at)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local kept = redis.call('HMGET', KEYS[1], 'holder', 'epoch', 'deadline', 'handled')
local call, me, mine, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local is_known = kept[2] ~= false
if not is_known and call ~= 'take' then return {0, '0', '0', '0'} end
local holder = kept[1] or ''
local epoch = tonumber(kept[2] or '0')
local deadline = tonumber(kept[3] or string.format('%.0f', now + lease))
local handled = kept[4] or '0'
local function keep()
  redis.call('HSET', KEYS[1], 'holder', holder, 'epoch', string.format('%.0f', epoch),
    'deadline', string.format('%.0f', deadline), 'handled', handled)
  redis.call('EXPIRE', KEYS[1], 7776000)
end
local function answer(is_ours, wait, at)
  return {is_ours, string.format('%.0f', epoch), string.format('%.0f', wait), at}
end
if call == 'take' then
  if deadline > now and holder ~= me then
    if not is_known then keep() end
    return answer(0, deadline - now, '0')
  end
  if holder ~= me or deadline <= now then epoch = epoch + 1 end
  holder, deadline = me, now + lease
  keep()
  return answer(1, 0, handled)
end
if holder ~= me or epoch ~= mine or (call == 'renew' and deadline <= now) then
  return answer(0, 0, '0')
end
if call == 'renew' then
  deadline = now + lease
else
  holder, deadline = '', 0
  if tonumber(ARGV[5]) > tonumber(handled) then handled = ARGV[5] end
end
keep()
return answer(1, 0, handled)
"""
"""Lua turns a large number into text with 14 digits, hence ``%.0f``: times are microseconds."""


class RedisClaims:
    """Claims in Redis or Valkey, for schedulers on several machines.

    Args:
        client: with ``decode_responses``; called in threads.
        address: the store in messages.
    """

    def __init__(self, client: Redis, address: str) -> None:
        self._client, self._address = client, address
        self._script = client.register_script(_SCRIPT)

    def check(self) -> None:
        """Raise an error if the store cannot be used."""
        with redis_errors(self._address, "claims"):
            self._client.ping()

    async def take(self, job: str, holder: str, lease_s: float) -> Answer:
        """Claim a job, or learn how long another holds it."""
        return await asyncio.to_thread(self._call, job, "take", holder, 0, lease_s)

    async def renew(self, job: str, holder: str, epoch: int, lease_s: float) -> Answer:
        """Move the deadline of a claim."""
        return await asyncio.to_thread(self._call, job, "renew", holder, epoch, lease_s)

    async def release(self, job: str, holder: str, epoch: int, handled_at: float) -> Answer:
        """End a claim."""
        return await asyncio.to_thread(self._call, job, "release", holder, epoch, 0, handled_at)

    async def close(self) -> None:
        """Close the connection."""
        await asyncio.to_thread(self._client.close)

    def _call(self, job: str, call: str, holder: str, epoch: int, *more: float) -> Answer:
        """Call the script; ``more`` is the lease, and the time that a release settles."""
        lease_s, handled_at = (*more, 0.0)[:2]
        arguments: list[Any] = [call, holder, epoch, f"{lease_s * 1e6:.0f}", repr(handled_at)]
        with redis_errors(self._address, "claims"):
            answer: Any = self._script(keys=[f"bulk-reset:claim:{{{job}}}"], args=arguments)
        is_ours, now_epoch, wait_us, at = answer
        return Answer(bool(is_ours), int(now_epoch), float(wait_us) / 1e6, float(at))
