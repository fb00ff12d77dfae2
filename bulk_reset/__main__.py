"""``python -m bulk_reset``: the same as the command ``bulk-reset``."""

from bulk_reset.cli import main

if __name__ == "__main__":
    main()
