"""The digest of a saved plan: what is printed, compared by people and approved.

The last line of a plan is ``sha256 HEX``, over all bytes before it. Here the digest is computed
from the file, so a plan that was modified never has the digest of the one that was approved.
"""

from __future__ import annotations

from pathlib import Path

from bulk_reset.core.errors import InputError
from bulk_reset.core.input_file import open_input
from bulk_reset.core.option_names import option
from bulk_reset.core.saved_plan import checked_hash, is_saved_plan


def plan_digest(path: Path) -> str:
    """Return the digest of a plan, in hexadecimal.

    Raises:
        InputError: it cannot be read, is not a plan, is incomplete or was modified.
    """
    try:
        with open_input(path) as file:
            if path.is_file() and not is_saved_plan(path):
                raise InputError(
                    f"{path}: not a saved plan. Make one by a plan with "
                    f"{option('out', 'FILE.plan')}."
                )
            return checked_hash(file, path)[0]
    except FileNotFoundError as exc:
        raise InputError(f"{path}: file not found. Check the name of the plan.") from exc
    except OSError as exc:
        raise InputError(
            f"{path}: cannot be read ({exc.strerror or exc}). Make the file readable for this user."
        ) from exc
