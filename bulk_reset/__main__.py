"""The entry point of ``bulk-reset`` and of ``python -m bulk_reset``."""

from __future__ import annotations

import gc
import os
import sys
import warnings

_INTERRUPTED = 130


def main() -> None:
    """Run the command; Ctrl-C prints no traceback, also while modules are imported."""
    # Warnings of libraries are for programmers; with PYTHONWARNINGS=error they would be errors.
    warnings.simplefilter("ignore")
    # Nothing is garbage while modules are imported.
    gc.disable()
    # numpy starts a thread for each core otherwise; nothing here computes with matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from bulk_reset.cli import main as run_command  # noqa: PLC0415

        run_command()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    finally:
        # Python would end by the signal instead of the exit code, if it came while a library ran
        # code from a text (for example to create a data class). Running any text clears that.
        exec("")  # noqa: S102


if __name__ == "__main__":
    main()
