"""The permit ledger in Redis or Valkey: for runs on many machines.

A call is one script, so it is atomic. The clock is the server's. All keys of an account have the
same hash tag, so that they are on one node of a cluster.
"""

from __future__ import annotations

from dataclasses import fields
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from bulk_reset.quota.permit_ledger import (
    Lease,
    LedgerState,
    Meta,
    PermitAnswer,
    PermitRequest,
)
from bulk_reset.quota.redis_connection import open_redis, redis_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import redis

_PARTS: Final = ("meta", "leases", "cooling")
_META: Final = ("epoch", "sequence", "last", "offset", "closed", "epochs", "rejected")
"""As the script names the attributes of ``Meta``, in their order."""
_LEASE: Final = tuple(one.name for one in fields(Lease) if one.name not in {"limits", "label"})
"""The numbers of a lease, in the script's order."""

_CLAIM: Final = """
local released = tonumber(ARGV[2])
for i = 1, released do
  if redis.call('GET', KEYS[i]) == ARGV[1] then redis.call('DEL', KEYS[i]) end
end
for i = released + 1, #KEYS do
  local holder = redis.call('GET', KEYS[i])
  if holder and holder ~= ARGV[1] then return 0 end
end
for i = released + 1, #KEYS do redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[3]) end
return 1
"""


class RedisStore:
    """The ledger of one account on a server.

    Args:
        account: the account's hash.
        client: made from the address when None.
        clock: microseconds; the server's own clock when None.
    """

    is_remote = True
    can_be_new = False

    def __init__(
        self,
        url: str,
        account: str,
        *,
        client: redis.Redis | None = None,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.url, self._clock = url, clock
        self._client: Any = open_redis(url) if client is None else client
        script = resources.files("bulk_reset.quota").joinpath("exchange.lua").read_text("utf-8")
        self._script = self._client.register_script(script)
        self._claim = self._client.register_script(_CLAIM)
        self._prefix = f"bulk-reset:{{{account}}}"
        self.keys: Final = [f"{self._prefix}:{part}" for part in _PARTS]

    def exchange(self, request: PermitRequest) -> PermitAnswer:
        """Serve one call.

        Raises:
            StoreUnreachableError: no answer; the call may or may not be done.
            InputError: the server refuses the login.
        """
        clock = "" if self._clock is None else str(self._clock())
        with redis_errors(self.url):
            found = self._script(keys=self.keys, args=_arguments(request, clock))
        epoch, sequence, generation, granted, wait_us, cause, used, *rest = found
        return PermitAnswer(
            int(epoch),
            int(sequence),
            int(generation),
            int(granted),
            int(wait_us),
            cause,
            tuple(map(int, filter(None, used.split(",")))),
            *map(int, rest),
        )

    def state(self) -> LedgerState:
        """Return what is stored, and change nothing; raises as ``exchange``."""
        meta_key, leases_key, cooling_key = self.keys
        with redis_errors(self.url):
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hgetall(meta_key).hgetall(leases_key)
            pipeline.zrange(cooling_key, 0, -1).time()
            meta, leases, cooling, (seconds, micros) = pipeline.execute()
        clock_us = seconds * 1_000_000 + micros if self._clock is None else self._clock()
        numbers = [int(meta.get(name, 0)) for name in _META]
        pairs = (one.split(":") for one in cooling)
        return LedgerState(
            Meta(*numbers),
            {holder: _lease(text) for holder, text in leases.items()},
            tuple((int(at), int(count)) for at, count in pairs),
            clock_us,
        )

    def claim(
        self, holder: str, wanted: Sequence[str], released: Sequence[str], claim_us: int
    ) -> bool:
        """Release claims, then claim all that is wanted, or nothing where another run has one."""
        keys = [f"{self._prefix}:claim:{one}" for one in (*released, *wanted)]
        arguments: list[str | int] = [holder, len(released), claim_us // 1_000]
        with redis_errors(self.url):
            return bool(self._claim(keys=keys, args=arguments))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _lease(text: str) -> Lease:
    """Return a lease as the script stores it."""
    fixed, limits, label = text.split(";", 2)
    values = dict(zip(_LEASE, map(int, fixed.split(",")), strict=True))
    return Lease(**values, limits=tuple(map(int, limits.split(","))), label=label)


def _arguments(request: PermitRequest, clock: str) -> list[str | int]:
    return [
        clock,
        request.holder,
        request.call,
        request.epoch,
        request.seen,
        request.generation,
        request.granted,
        request.answered,
        request.want,
        request.batch,
        request.weight,
        request.reserve,
        request.lease_us,
        request.timeout_us,
        request.slot_us,
        int(request.is_exclusive),
        int(request.can_be_new),
        request.waited_us,
        request.rejected,
        request.doubted,
        request.label,
        ",".join(map(str, request.limits)),
        ",".join(map(str, request.windows_us)),
        ",".join(map(str, request.ages_us)),
    ]
