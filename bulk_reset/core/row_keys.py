"""Ids and digests as numbers, for arrays: 24 hexadecimal digits each."""

from __future__ import annotations

from binascii import hexlify, unhexlify
from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

NUMBER: Final = np.dtype([("high", ">u8"), ("low", ">u4")])
"""24 hexadecimal digits (a digest or an incident's id) as two numbers."""
Numbers = npt.NDArray[np.void]


def keys_of(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return a number for each id or digest; collisions are rare but possible.

    Raises:
        ValueError: one of them is not 24 hexadecimal digits.
    """
    return key_of_numbers(numbers_of(texts))


def place_of(text: str, ordered: npt.NDArray[np.uint64]) -> int | None:
    """Return where the key of an id or digest is in sorted keys; None if it is not there."""
    key = keys_of([text])[0]
    place = int(np.searchsorted(ordered, key))
    return place if place < len(ordered) and ordered[place] == key else None


def numbers_of(texts: Iterable[str]) -> Numbers:
    """Read ids or digests as pairs of numbers; raises ValueError as ``keys_of``."""
    return np.frombuffer(bytes.fromhex("".join(texts)), NUMBER)


def numbers_at(text: npt.NDArray[np.uint8], starts: npt.NDArray[np.intp]) -> Numbers:
    """Read the 24 hexadecimal digits, in lower case, at each of these places of a text.

    Raises:
        ValueError: a place has other characters.
    """
    digits = pieces_at(text, starts, 2 * NUMBER.itemsize).tobytes()
    numbers = unhexlify(digits)
    if hexlify(numbers) != digits:
        raise ValueError("digits in upper case")
    return np.frombuffer(numbers, NUMBER)


def pieces_at(
    text: npt.NDArray[np.uint8], starts: npt.NDArray[np.intp], length: int
) -> npt.NDArray[np.bytes_]:
    """Return a piece of this length from each of these places of a text."""
    every = np.ndarray(max(0, len(text) - length + 1), f"S{length}", text, strides=(1,))
    pieces: npt.NDArray[np.bytes_] = every[starts]
    return pieces


def key_of_numbers(numbers: Numbers) -> npt.NDArray[np.uint64]:
    """Return one number for each pair; see ``keys_of``."""
    mixed = numbers["low"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return numbers["high"].astype(np.uint64) ^ mixed
