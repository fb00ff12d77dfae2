"""Writes a workbook row by row with constant memory, by XlsxWriter.

Texts are written as texts: they never become formulas, links or markup.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import xlsxwriter
from xlsxwriter.exceptions import XlsxWriterException
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from bulk_reset.core.errors import InputError
from bulk_reset.core.safe_text import without_invalid
from bulk_reset.core.temporary_folder import temporary_folder


class StreamedBook:
    """A workbook that is being written. Always call ``discard`` at the end.

    Attributes:
        book: the XlsxWriter workbook.
        formats: name of a style -> format; must contain ``text``.
    """

    def __init__(self, title: str, styles: Mapping[str, dict[str, object]]) -> None:
        # XlsxWriter does not delete its temporary files if the workbook is not closed.
        self._scratch = tempfile.TemporaryDirectory(prefix="bulk-reset-", dir=temporary_folder())
        # In memory: a few megabytes for the longest sheets. With a file on a full disk, XlsxWriter
        # would write to it again when the workbook is deleted.
        self._packed = io.BytesIO()
        self.book = xlsxwriter.Workbook(
            self._packed,
            {
                "constant_memory": True,
                "tmpdir": self._scratch.name,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        self.book.use_zip64()
        self.book.set_properties({"title": title, "comments": "Made by bulk-reset"})
        self.formats: dict[str, Format] = {
            name: self.book.add_format(style) for name, style in styles.items()
        }

    def write_text(self, sheet: Worksheet, row: int, column: int, text: str, style: Format) -> None:
        """Write a text unchanged, even if it looks like a formula or markup.

        Characters that no file can contain are replaced.
        """
        text = without_invalid(text)
        if text.startswith("<r>") and text.endswith("</r>"):
            # XlsxWriter reads such a text as its own markup, unless it is written in pieces.
            pieces = (text[:1], self.formats["text"], text[1:])
            sheet.write_rich_string(row, column, *pieces, style)
        else:
            sheet.write_string(row, column, text, style)

    def packed(self) -> memoryview:
        """Close the workbook; return its bytes."""
        self.book.close()
        return self._packed.getbuffer()

    def discard(self) -> None:
        """Delete the temporary files."""
        for sheet in self.book.worksheets():
            # XlsxWriter closes them only when the workbook is written.
            with suppress(OSError):
                sheet.row_data_fh.close()
        self._scratch.cleanup()


@contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Convert errors of writing a file to an InputError that names the file."""
    try:
        yield
    except (OSError, XlsxWriterException) as exc:
        # XlsxWriter raises its own errors while handling the OSError with the reason.
        reason = exc if isinstance(exc, OSError) else exc.__context__
        raise InputError(
            f"{path}: cannot be written ({getattr(reason, 'strerror', None) or exc}). "
            "Use another folder, or free disk space (also for temporary files)."
        ) from exc
