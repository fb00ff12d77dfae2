"""The API: one method for each call, and the app key.

State: the connections of a ``Client``; the app keys used so far, so that they can be redacted.
May be imported by quota and everything above it. The only user of aiohttp's client for the API.

Public surface:
    client         ``open_client`` -> ``Client``: requests in, answers or RequestError out
    http_sender    ``HttpSender``: bytes in, bytes out; by aiohttp's session or past it
    deadlines      ``Deadlines``: when a request takes too long
    answers        ``read_answer``: what an answer means; which codes are permanent, retried, fatal
    log_entries    entries of a timeline and of the provider's audit log
    base_url       ``check_base_url``: the API's address, validated
    credentials    ``find_credentials``: where the key is found; ``redact``
"""
