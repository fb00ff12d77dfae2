"""The account's quota: permits, pacing, and the ledger that all runs of an account share.

State: the permits of a ``Limiter``; the ledger's file or server, and the lock on this machine. May
be imported by engine and everything above it.

Public surface:
    limiter           ``Limiter``: a permit for each request, under every window of the quota
    windows           ``Window``: so many requests in so many seconds
    window_permits    ``WindowPermits``: the permits of one window
    permit_share      ``PermitShare``: a run's permits, which it asks a ledger for
    permit_ledger     ``PermitLedger``: divides an account's permits among its runs
    permit_store      ``Store``: what keeps the ledger's state
    account_use       ``AccountUse``: the runs of an account now, and their share
    local_store       the ledger in a file of this machine
    redis_store       the ledger on a server of Redis or Valkey, for several machines
    redis_connection  a client of that server from its address
    incident_claims   one run at a time works on an incident
    account_ledger    ``AccountLedger``: the lock of a run that sends alone
"""
