"""The account's quota: permits, pacing, and the ledger that all runs of an account share.

State: the permits of a ``Limiter``; the ledger's file and lock on this machine. May be imported
by engine and everything above it.

Public surface:
    limiter           ``Limiter``: a permit for each request, under every window of the quota
    account_ledger    ``AccountLedger``: what was sent in the last minute, and who sends now
"""
