"""The service: one call a method, and the key.

State: the connections of a ``Client``; the keys seen so far, so that they can be redacted. May
be imported by quota and everything above it. The only user of aiohttp's client for the API.

Public surface:
    client         ``open_client`` -> ``Client``: requests in, answers or RequestError out
    credentials    ``find_credentials``: where the key comes from; ``redact``
"""
