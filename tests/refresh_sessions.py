"""Write what commands print now into the README and the manual.

    python tests/refresh_sessions.py                      all documents
    python tests/refresh_sessions.py README.md            these files, or all pages of a folder
    python tests/refresh_sessions.py --check              change nothing; exit 1 if one is old

Commands and programs stay as they are, their outputs are replaced. An output that differs in
times and rates only is kept. A command that does not exist or crashes is an error, and its
session is kept. Exit code: 0 done, 1 a document is old (``--check``) or a session failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "doubles"))

from documents import documents, refresh


def main() -> int:
    """Refresh the documents that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(description="Write what commands print now into documents.")
    parser.add_argument("paths", nargs="*", type=Path, help="files or folders; all documents")
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if one is old")
    parser.add_argument("--workers", type=int, default=2, help="documents at a time (default: 2)")
    options = parser.parse_args()
    paths = [page for path in options.paths for page in _pages(path)] or documents()
    failed = False
    with (
        tempfile.TemporaryDirectory(prefix="sessions-") as root,
        ThreadPoolExecutor(options.workers) as pool,
    ):
        results = pool.map(
            lambda path: refresh(path, lambda: Path(tempfile.mkdtemp(dir=root))), paths
        )
        for path, (text, problems) in zip(paths, results, strict=True):
            is_old = text != path.read_text(encoding="utf-8")
            if is_old and not options.check:
                path.write_text(text, encoding="utf-8")
            failed |= bool(problems) or (is_old and options.check)
            state = ("is old" if options.check else "refreshed") if is_old else "up to date"
            sys.stdout.write("\n".join([f"{path}: {state}", *problems, ""]))
            sys.stdout.flush()
    return int(failed)


def _pages(path: Path) -> list[Path]:
    return sorted(path.glob("*.md")) if path.is_dir() else [path]


if __name__ == "__main__":
    sys.exit(main())
