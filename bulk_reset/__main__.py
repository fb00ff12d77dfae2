"""``bulk-reset``, and ``python -m bulk_reset``: where the process begins."""

from __future__ import annotations

import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command; Ctrl-C is no reason for a traceback, while modules are imported either."""
    try:
        from bulk_reset.cli import main as run_command  # noqa: PLC0415

        run_command()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
