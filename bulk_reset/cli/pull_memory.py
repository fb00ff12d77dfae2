"""``NAME.pull.json``: by which filters and rules ``--from-pull`` made a sheet.

The sheet of that name is reused by the same command, so that it resumes. Other filters or rules
would be ignored, so they are refused.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Final, NamedTuple

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.errors import InputError

_FILTERS: Final = "from_pull"
_RULES: Final = "set"


class PullMemory(NamedTuple):
    """What a sheet was made by.

    Attributes:
        filters: the options of ``--from-pull``.
        rules: those of ``--set``.
    """

    filters: str
    rules: tuple[str, ...]

    def write(self, sheet: Path) -> None:
        """Write it beside the sheet, with the sheet's mode; raises InputError."""
        refuse_other_file(sheet)
        content = json.dumps({_FILTERS: self.filters, _RULES: self.rules}, indent=1)
        with atomic_file(_path(sheet), like=sheet) as file:
            file.write(f"{content}\n".encode())

    def refuse_other(self, sheet: Path) -> None:
        """Refuse an existing sheet that was made by other filters or rules.

        Of a sheet that ``--from-pull`` did not make, the filters are not known, and no rules were
        applied to it.

        Raises:
            InputError: it was; nothing was read or sent.
        """
        found = _read(sheet) or PullMemory(self.filters, ())
        if found == self:
            return
        name = "--set" if found.filters == self.filters else "--from-pull"
        rules = " ".join(f"--set {shlex.quote(rule)}" for rule in found.rules)
        made_by = f"with {shlex.quote(found.filters)} {rules}".rstrip() if found.rules else ""
        made_by = made_by or ("without --set" if self.rules else f"with {found.filters!r}")
        raise InputError(
            f"{name}: {sheet} exists and was made {made_by}, so this would be ignored. Use another "
            f"name for the sheet, or move {sheet} away to pull again."
        )


def forget_pull(sheet: Path) -> None:
    """Delete the file of a sheet that was replaced by another pull."""
    if _read(sheet) is not None:
        _path(sheet).unlink()


def refuse_other_file(sheet: Path) -> None:
    """Check that the file of that name, if it exists, is one of these; raises InputError."""
    _read(sheet)


def _path(sheet: Path) -> Path:
    return sheet.with_name(f"{sheet.stem}.pull.json")


def _read(sheet: Path) -> PullMemory | None:
    path = _path(sheet)
    try:
        found = json.loads(path.read_bytes())
        return PullMemory(str(found[_FILTERS]), tuple(map(str, found[_RULES])))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as exc:
        raise InputError(
            f"{path}: not a file of --from-pull, or it was edited. Move it away."
        ) from exc
