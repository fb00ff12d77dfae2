"""A workbook whose rows leave the memory as they come; XlsxWriter writes it.

Its texts are texts, whatever they look like: no formula, no link and no markup is made of them.
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


class StreamedBook:
    """A workbook on its way; ``discard`` it in the end, come what may.

    Attributes:
        book: to add worksheets to.
        formats: by the names of the styles; one is ``text``.
    """

    def __init__(self, title: str, styles: Mapping[str, dict[str, object]]) -> None:
        # XlsxWriter leaves its files of rows behind where no workbook is made of them.
        self._scratch = tempfile.TemporaryDirectory(prefix="bulk-reset-")
        # Some megabytes for the longest sheets. On a full disk, a file would be written to again
        # when the workbook is thrown away.
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
        """Write a text as it is, whatever it looks like."""
        if text.startswith("<r>") and text.endswith("</r>"):
            # XlsxWriter takes that for markup of its own, but not where it comes in pieces.
            pieces = (text[:1], self.formats["text"], text[1:])
            sheet.write_rich_string(row, column, *pieces, style)
        else:
            sheet.write_string(row, column, text, style)

    def packed(self) -> memoryview:
        """Close the workbook; return its bytes."""
        self.book.close()
        return self._packed.getbuffer()

    def discard(self) -> None:
        """Leave no temporary file."""
        for sheet in self.book.worksheets():
            # XlsxWriter closes them only where the workbook is written.
            with suppress(OSError):
                sheet.row_data_fh.close()
        self._scratch.cleanup()


@contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is written into an InputError that names it."""
    try:
        yield
    except (OSError, XlsxWriterException) as exc:
        # XlsxWriter's own errors are told while another is handled, which has the reason.
        reason = exc if isinstance(exc, OSError) else exc.__context__
        raise InputError(
            f"{path}: cannot be written ({getattr(reason, 'strerror', None) or exc}). "
            "Choose another place, or make room, for temporary files too."
        ) from exc
