"""The account's quota: permits, pacing, and the ledger that all runs of an account share.

State: the permits of a ``Limiter``; the ledger's file or server, and the lock on this machine. May
be imported by engine and everything above it.

Public surface:
    limiter           ``Limiter``: a permit for each request, under every window of the quota
    permit_share      ``PermitShare``: a run's permits, which it asks a ledger for
    permit_ledger     ``PermitLedger``: divides an account's permits among its runs
    local_store       the ledger in a file of this machine
    redis_store       the ledger on a server of Redis or Valkey, for several machines
    redis_connection  a client of that server from its address
    incident_claims   one run at a time works on an incident
    account_ledger    ``AccountLedger``: the lock of a run that sends alone
"""
