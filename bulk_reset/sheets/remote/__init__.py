"""Sheets at an address: https://, s3:// and Google Sheets, copied before they are read.

A copy is read instead of the address itself, because a sheet is read several times, and every time
must have the same rows. Part of ``sheets``.

Public surface:
    address     ``RemoteAddress``: what may be read, and how it is shown without secrets
    download    the file of an address, within limits of size and time
"""
