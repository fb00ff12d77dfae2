"""The programs of this folder start from a command line, not only within the tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import run_python

HERE = Path(__file__).parent
FILES = (path for folder in (HERE, HERE / "bench") for path in folder.glob("[!_]*.py"))
SCRIPTS = sorted(
    str(path.relative_to(HERE))
    for path in FILES
    if not path.name.startswith("test_") and '__name__ == "__main__"' in path.read_text("utf-8")
)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_script_finds_all_that_it_imports(script: str, tmp_path: Path) -> None:
    """Python adds only the script's own folder to its search path."""
    # As ``python SCRIPT`` does, without the call of ``main``.
    program = "import runpy, sys; sys.path[0] = sys.argv[1]; runpy.run_path(sys.argv[2])"
    path = HERE / script
    done = run_python("-c", program, path.parent, path, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
