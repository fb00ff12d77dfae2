"""The account's permits as a store has them: opened for a run, or read for ``bulk-reset account``.

State: none; a store is opened and closed by its caller.
"""

from __future__ import annotations

import contextlib

from bulk_reset.api.credentials import Credentials
from bulk_reset.engine.options import Options, QuotaOptions
from bulk_reset.quota.account_ledger import account_hash, permits_path
from bulk_reset.quota.account_use import AccountUse, unused, use_of
from bulk_reset.quota.local_store import LocalStore
from bulk_reset.quota.permit_store import Store
from bulk_reset.quota.redis_connection import shown_url
from bulk_reset.quota.redis_store import RedisStore


def open_store(credentials: Credentials, quota_store: str | None, account: str) -> Store:
    """Return the store of an account's permits; raises InputError where it cannot be used."""
    if quota_store is None:
        return LocalStore(permits_path(credentials, account))
    return RedisStore(quota_store, account_hash(credentials, account))


def read_account(credentials: Credentials, options: Options) -> AccountUse:
    """Return who uses an account now; nothing is changed, and no file is made.

    Raises:
        InputError: the store cannot be used.
        StoreUnreachableError: it does not answer.
    """
    windows = QuotaOptions(per_second=options.per_second, per_minute=options.per_minute).windows()
    is_local = options.quota_store is None
    if is_local and not permits_path(credentials, options.account).exists():
        return unused(windows)
    store = open_store(credentials, options.quota_store, options.account)
    with contextlib.closing(store):
        return use_of(store.state(), windows)


def shown_store(options: QuotaOptions) -> str:
    """Return where permits are kept, for people: an address without its login, or this machine."""
    return "this machine" if options.quota_store is None else shown_url(options.quota_store)
