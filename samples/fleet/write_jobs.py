"""Write a job file for each account of a table: python samples/fleet/write_jobs.py TABLE DIR.

The table has a column for each $NAME of template.toml. A job is named after its account; a name
with other letters than a-z gets a number: account-3. Files that are the same are not written, so
a running schedule reads again only what has changed.
"""

from __future__ import annotations

import csv
import re
import string
import sys
from pathlib import Path

TEMPLATE = Path(__file__).with_name("template.toml")


def write_jobs(table: Path, folder: Path) -> list[Path]:
    """Write the job files; return their paths."""
    template = string.Template(TEMPLATE.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with table.open(encoding="utf-8-sig", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=1):
            is_name = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", row["account"])
            name = row["account"] if is_name else f"account-{number}"
            values = {key: _in_quotes(value) for key, value in row.items()}
            text = template.substitute(values, name=name)
            file = folder / f"{name}.toml"
            if not file.exists() or file.read_text(encoding="utf-8") != text:
                file.write_text(text, encoding="utf-8")
            files.append(file)
    return files


def _in_quotes(value: str) -> str:
    """Return a value as it is written between the quotes of TOML."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


if __name__ == "__main__":
    if len(sys.argv) != len(["script", "TABLE", "DIR"]):
        sys.exit("Usage: python samples/fleet/write_jobs.py TABLE DIR")
    print(f"{len(write_jobs(Path(sys.argv[1]), Path(sys.argv[2])))} job files written")
