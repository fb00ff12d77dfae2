"""Which files were made by this program: only those are replaced."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.errors import InputError

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook

GENERATOR: Final = b'<meta name="generator" content="bulk-reset'
"""How a page made by this program is recognised."""
_HEAD_BYTES: Final = 1 << 10
_PART_BYTES: Final = 1 << 20
MARK: Final = "bulk-reset"
"""The property by which an answer workbook is recognised."""
_CUSTOM_PROPERTIES, _PROPERTIES = "docProps/custom.xml", "docProps/core.xml"
_PLACES_OF_TEXTS: Final = ("xl/sharedStrings.xml", "xl/worksheets/")


def refuse_other(path: Path, is_own: Callable[[Path], bool], what: str) -> None:
    """Refuse to replace a file of that name that was not made by this program.

    Args:
        what: needs the name, for the error.

    Raises:
        InputError: it was not; it is unchanged.
    """
    if not path.is_file():
        return
    with contextlib.suppress(OSError):
        if is_own(path):
            return
    raise InputError(
        f"{path}: already exists and was not made by bulk-reset. Move or rename it; the {what} "
        "needs that name."
    )


@contextlib.contextmanager
def own_file(
    path: Path, is_own: Callable[[Path], bool], what: str, like: Path | None = None
) -> Iterator[BinaryIO]:
    """Open a file for atomic writing; one that was not made by this program is not replaced.

    Args:
        what: needs the name, for the error.
        like: a file; the new one gets no more permissions.

    Raises:
        InputError: there is another file, a folder or a device of that name, or it cannot be
            written.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: not a regular file. Choose another name for the {what}.")
    refuse_other(path, is_own, what)
    with atomic_file(path, like) as file:
        yield file


def is_page(path: Path) -> bool:
    """Return whether a file is a page of this program."""
    with path.open("rb") as file:
        return GENERATOR in file.read(_HEAD_BYTES)


def is_plan_workbook(path: Path) -> bool:
    """Return whether a file is a plan as a workbook."""
    properties = _part(path, _PROPERTIES)
    return b"Made by bulk-reset" in properties and b">Plan<" in properties


def is_answer(path: Path) -> bool:
    """Return whether a file is an answer workbook, also one of an earlier version."""
    if f'name="{MARK}"'.encode() in _part(path, _CUSTOM_PROPERTIES):
        return True
    headers = [f">{MARK} {name}<".encode() for name in ("status", "old", "new", "error", "link")]
    texts = [_part(path, name) for name in _names(path) if name.startswith(_PLACES_OF_TEXTS)]
    return any(all(header in text for header in headers) for text in texts)


def mark_answer(book: Workbook) -> None:
    """Mark a workbook as an answer, for ``is_answer``."""
    from openpyxl.packaging.custom import StringProperty  # noqa: PLC0415  (rarely needed)

    # Missing in openpyxl's types.
    properties: Any = book.custom_doc_props  # type: ignore[attr-defined]
    if MARK not in properties.names:
        properties.append(StringProperty(name=MARK, value="answer"))


def _names(path: Path) -> list[str]:
    with contextlib.suppress(zipfile.BadZipFile, ValueError), zipfile.ZipFile(path) as archive:
        return archive.namelist()
    return []


def _part(path: Path, name: str) -> bytes:
    """Return the start of a part of a workbook; nothing where there is none."""
    with (
        contextlib.suppress(zipfile.BadZipFile, KeyError, ValueError, NotImplementedError),
        zipfile.ZipFile(path) as archive,
        archive.open(name) as part,
    ):
        return part.read(_PART_BYTES)
    return b""
