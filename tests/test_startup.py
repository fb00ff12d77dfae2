"""Starting is quick: nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from programs import ROOT, run_python

HEAVY = (
    "asyncio",
    "pandas",
    "numpy",
    "aiohttp",
    "aiolimiter",
    "stamina",
    "yaml",
    "xlsxwriter",
    "openpyxl",
    "jinja2",
    "tzlocal",
    "cronsim",
    "apscheduler",
    "filelock",
    "platformdirs",
    "structlog",
    "prometheus_client",
    "rich",
    "tomllib",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["check", "--help"],
        ["sandbox", "--help"],
        ["pull", "--help"],
        ["plan", "--help"],
        ["undo", "--help"],
        ["job", "--help"],
        ["job", "run", "--help"],
        ["schedule", "--help"],
        ["run", "--help-all"],
        ["help", "run"],
        ["docs"],
        ["config"],
        ["completion", "bash"],
        ["runs", "--help"],
        ["job", "run"],
        ["runs", "--last", "many"],
        ["run", "--no-such-option"],
        ["run", "sheet.csv", "--workers", "many"],
    ],
)
def test_help_and_usage_errors_import_nothing_heavy(arguments: list[str]) -> None:
    """A help text does not wait for pandas, nor for rich."""
    done = run_command(arguments, HEAVY)
    assert done.stdout.splitlines()[-1] == "IMPORTED []", done.stdout + done.stderr


def run_command(arguments: list[str], names: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command; its last line of output has those of the modules that it imported."""
    return run_python(
        "-c",
        "import sys, atexit\n"
        f"sys.argv = ['bulk-reset', *{arguments!r}]\n"
        f"atexit.register(lambda: print('IMPORTED', [m for m in {names!r} if m in sys.modules]))\n"
        "from bulk_reset.cli import main\n"
        "main()\n",
    )


def test_a_command_imports_no_other_command_and_converts_only_what_it_must(tmp_path: Path) -> None:
    """Paths, texts and defaults are as they were typed, so pydantic is not imported for them."""
    sheet = tmp_path / "in.csv"
    sheet.write_text("incident_id,title\n69da451ef77b1b51f40e83ee,Disk full\n", encoding="utf-8")
    others = ("pydantic", "bulk_reset.cli.run", "bulk_reset.cli.web", "bulk_reset.cli.job")
    done = run_command(["check", str(sheet), "--rules", "no-such-file"], others)
    assert done.stdout == "IMPORTED []\n", done.stdout + done.stderr
    assert "no-such-file" in done.stderr


def test_a_check_imports_nothing_that_sends(tmp_path: Path) -> None:
    """Nor pandas: a small sheet is checked in little more than the time of a start."""
    sheet = tmp_path / "in.csv"
    sheet.write_text("incident_id,title\n69da451ef77b1b51f40e83ee,Disk full\n", encoding="utf-8")
    program = (
        "import sys, bulk_reset.workflows.check as checking\n"
        f"rows = checking.check({str(sheet)!r}).rows\n"
        "heavy = ('aiohttp', 'stamina', 'pandas', 'ssl', 'yarl')\n"
        "print(rows, [m for m in heavy if m in sys.modules])\n"
    )
    done = run_python("-c", program)
    assert (done.stdout, done.stderr) == ("1 []\n", "")


def test_a_run_that_sends_nothing_imports_no_client(tmp_path: Path) -> None:
    """Its modules are imported with the first request; nor are plans and pydantic imported."""
    sheet = tmp_path / "in.csv"
    sheet.write_text("incident_id,title\n69da451ef77b1b51f40e83ee,Disk full\n", encoding="utf-8")
    command = ["run", str(sheet), "--dry-run", "--quiet", "--limit", "3", "--patience", "60"]
    done = run_command(command, ("aiohttp", "pandas", "pydantic", "xlsxwriter"))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "IMPORTED []"), done.stderr


def test_the_first_page_does_not_wait_for_pandas() -> None:
    """The server listens and answers before the modules of its other pages are imported."""
    program = (
        "import sys, bulk_reset.web.server\n"
        "print([m for m in ('pandas', 'numpy', 'openpyxl', 'pydantic') if m in sys.modules])\n"
    )
    done = run_python("-c", program)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_usage_error_exits_with_2() -> None:
    """A usage error sends nothing, and has an exit code of its own."""
    done = run_python("-m", "bulk_reset", "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Missing argument 'SHEET'" in done.stderr


def test_whatever_is_imported_is_declared() -> None:
    """The package alone installs everything that it needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = [
        *project["dependencies"],
        *(
            text
            for name in ("fast", "shared", "dask", "remote", "parquet")
            for text in extras[name]
        ),
    ]
    declared = {re.split(r"[^A-Za-z0-9_.-]", text)[0].lower().replace("_", "-") for text in needed}
    owners = packages_distributions()
    undeclared = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "bulk_reset").rglob("*.py")
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name not in sys.stdlib_module_names and name != "bulk_reset"
        if not {owner.lower().replace("_", "-") for owner in owners[name]} & declared
    }
    assert undeclared == set()


def imported(tree: ast.AST) -> set[str]:
    """Return the packages that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found
