"""Sheets at an address: copied into the current folder before a command reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bulk_reset.core.errors import InputError

if TYPE_CHECKING:
    from bulk_reset.cli.console import Output


def local_sheet(
    sheet: str,
    read_for: str,
    output: Output,
    *,
    report: Path | None = None,
    from_pull: str | None = None,
) -> str:
    """Return the name of a sheet's file; that of the copy, if the sheet is at an address.

    Args:
        read_for: the command.
        report: the copy is beside it.
        from_pull: given where the command writes the sheet itself first.

    Raises:
        InputError: the sheet cannot be copied.
    """
    if "://" not in sheet:
        return sheet
    if from_pull is not None:
        raise InputError("--from-pull: writes the sheet, which is an address. Use a file name.")
    from bulk_reset.workflows.remote_sheet import fetch  # noqa: PLC0415  (imports aiohttp)

    return str(fetch(sheet, report.parent if report else Path(), read_for, output.once()))
