"""JSON by orjson if it is installed (``bulk-reset[fast]``), else by the standard library.

Both write the same bytes and read the same values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

try:
    import orjson
except ImportError:
    _encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    _decode = json.JSONDecoder().raw_decode

    def dumps(value: Mapping[str, Any]) -> bytes:
        """Encode an object of texts and small numbers in UTF-8, without spaces."""
        return _encode(value).encode()

    def loads(content: bytes) -> Any:  # noqa: ANN401  (JSON)
        """Decode; raises ValueError or RecursionError if it is not JSON."""
        # ``json.loads`` finds out the encoding. Without a NUL behind the brace, it is UTF-8.
        if content.startswith(b"{") and not content.startswith(b"{\0"):
            return loads_object(content.decode("utf-8", "surrogatepass"))
        return json.loads(content)

    def loads_object(text: str) -> Any:  # noqa: ANN401  (JSON)
        """Decode a text, nearly always an object of texts; raises as ``loads``."""
        # ``json.loads`` searches for white space at both ends, which takes as long as the rest.
        if text.startswith("{"):
            value, end = _decode(text)
            if end == len(text):
                return value
        return json.loads(text)
else:

    def dumps(value: Mapping[str, Any]) -> bytes:
        """Encode an object of texts and small numbers in UTF-8, without spaces."""
        return orjson.dumps(value)

    def loads(content: bytes) -> Any:  # noqa: ANN401  (JSON)
        """Decode; raises ValueError or RecursionError if it is not JSON."""
        try:
            return orjson.loads(content)
        except ValueError:
            # orjson is stricter: json accepts half of a surrogate pair.
            return json.loads(content)

    def loads_object(text: str) -> Any:  # noqa: ANN401  (JSON)
        """Decode a text, nearly always an object of texts; raises as ``loads``."""
        try:
            value = orjson.loads(text)
        except ValueError:
            return json.loads(text)
        # Of other values, orjson rounds large numbers.
        has_texts = type(value) is dict and set(map(type, value.values())) == {str}
        return value if has_texts else json.loads(text)
