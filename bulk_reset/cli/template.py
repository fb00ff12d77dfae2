"""``bulk-reset template``: write an empty workbook to fill in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bulk_reset.cli import next_steps
from bulk_reset.cli.connection_options import AccessTokenFileOption, AppKeyFileOption, BaseUrlOption
from bulk_reset.cli.console import Output
from bulk_reset.core.actions import ACTION_FIELD, PROGRESS_AFTER


def template(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The workbook to write.")] = Path(
        "incidents.xlsx"
    ),
    *,
    field: Annotated[
        list[str], typer.Option(metavar="NAME", help="Add a custom field; repeatable.")
    ] = [],  # noqa: B006  (typer copies it)
    action: Annotated[
        bool,
        typer.Option("--action", help="Add the column action: ack, resolve, reopen."),
    ] = False,
    base_url: BaseUrlOption = None,
    access_token_file: AccessTokenFileOption = None,
    app_key_file: AppKeyFileOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write an empty Excel workbook to fill in, with drop-downs and length checks.

    The options of custom fields are read from the account, if there is a key.

    Examples:
        bulk-reset template
        bulk-reset template --field region --field urgent
        bulk-reset template postmortems.xlsx --force
    """
    # Imported here, so that the other commands and --help do not wait for XlsxWriter.
    from bulk_reset.sheets.template import write_template  # noqa: PLC0415

    output = Output()
    with output.errors():
        further = _choices(field, output, base_url, access_token_file, app_key_file)
        if action:
            further = {ACTION_FIELD: tuple(PROGRESS_AFTER), **further}
        write_template(path, overwrite=force, further=further)
    output.line(f"Wrote {path}. Fill in the first sheet; the second sheet has instructions.")
    output.line(f"Next: {next_steps.other_command('check', path, keeps=())}")


def _choices(
    names: list[str],
    output: Output,
    base_url: str | None,
    access_token_file: Path | None,
    app_key_file: Path | None,
) -> dict[str, tuple[str, ...]]:
    """Return column -> the options of its drop-down, of the custom fields that are wanted.

    Raises:
        InputError: a name is empty.
    """
    if not names:
        return {}
    from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
    from bulk_reset.core.custom_fields import CUSTOM_PREFIX, custom_column  # noqa: PLC0415
    from bulk_reset.core.errors import InputError  # noqa: PLC0415
    from bulk_reset.engine.options import Options  # noqa: PLC0415
    from bulk_reset.workflows.custom_fields import choices_for_template  # noqa: PLC0415

    columns = [custom_column(CUSTOM_PREFIX + one.removeprefix(CUSTOM_PREFIX)) for one in names]
    if None in columns:
        raise InputError("--field: is empty. Use the name of a custom field.")
    options = Options(
        base_url=base_url, access_token_file=access_token_file, app_key_file=app_key_file
    )
    found = list(dict.fromkeys(filter(None, columns)))
    return choices_for_template(found, options, Callbacks(on_notice=output.once()))
