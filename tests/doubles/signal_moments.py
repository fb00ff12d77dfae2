"""Runs that get a signal at the moment of their n-th step on a file: for every n, one run.

``python tests/doubles/signal_moments.py SIGNAL SCENE URL FOLDER``: prints a JSON list of results.
The modules are imported once, and each run is a fork of this process: hundreds of runs a minute.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import bulk_reset.workflows.run  # noqa: F401  (imported before the forks)
from bulk_reset.cli import main as run_command

ROWS: Final = 8
"""Of them the sandbox has all but the last; one more row is a mistake."""
_CHANGES: Final = {"os.rename", "os.remove", "os.truncate", "shutil.copyfile"}
_CALLS: Final = ("write", "fsync", "ftruncate")
_SHEET, _REPORT, _FAILED = "incidents.csv", "incidents.report.csv", "incidents.failed.csv"


def rows_at(moment: int) -> list[int]:
    """Return the numbers of the incidents that the runs of a moment update."""
    return list(range((moment - 1) * ROWS + 1, moment * ROWS + 1))


class _Steps:
    """Counts a run's steps on the files of its folder; at the n-th, the signal."""

    def __init__(self, number: int, moment: int) -> None:
        self._number, self._left, self._folder = number, moment, str(Path.cwd())
        # Threads sync the report: what one of them is in the middle of is a step of its own.
        self._lock = threading.RLock()
        sys.addaudithook(self._on_event)
        for name in _CALLS:
            setattr(os, name, self._noted(getattr(os, name), name))

    def _on_event(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            is_step = isinstance(args[0], str) and bool(args[2] & (os.O_WRONLY | os.O_RDWR))
        else:
            is_step = event in _CHANGES
        if is_step and str(Path(args[0]).absolute()).startswith(self._folder):
            self._step(f"{event} {Path(args[0]).name}")

    def _noted(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def noted(descriptor: int, *args: Any) -> Any:  # noqa: ANN401  (any of three)
            with self._lock:
                is_torn = name == "write" and self._left == 1 and self._number == signal.SIGKILL
                if is_torn:
                    call(descriptor, *(part[: len(part) // 2] for part in args))
                self._step(name)
            return call(descriptor, *args)

        return noted

    def _step(self, what: str) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                Path("moment").write_text(what)
                os.kill(os.getpid(), self._number)


def run(url: str, number: int = 0, moment: int = 0) -> int:
    """Run the sheet in this folder in a fork; return its exit code, negative for a signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    told = os.open("told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(told, 1)
    os.dup2(told, 2)
    quota = ("--per-second", "5000", "--per-minute", "300000")
    sys.argv[1:] = ["run", _SHEET, "--base-url", url, "--skip-invalid", *quota]
    if moment:
        _Steps(number, moment)
    try:
        run_command()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(int(end.code or 0))
    os._exit(70)


def prepare(moment: int) -> None:
    """Write the sheet of a moment, and a file of failed rows that somebody has mended."""
    with Path(_SHEET).open("w", newline="") as file:
        lines = [[f"69da451e{n:016x}", f"Renamed service {n}"] for n in rows_at(moment)]
        lines[-1][0] = "f" * 24
        csv.writer(file).writerows([["incident_id", "title"], *lines, ["oops", "A title"]])
    Path(_FAILED).write_text("mended\n")


def save_anew(report: Path) -> None:
    """Do to a report what Excel does: half of its lines are gone, too."""
    lines = report.read_bytes().splitlines()
    report.write_bytes(b"\r\n".join([*lines[: len(lines) // 2], b""]))


def at(moment: int, number: int, scene: str, url: str) -> dict[str, Any]:
    """Disturb a run at a moment, and run again."""
    prepare(moment)
    if scene == "saved":
        run(url)
        save_anew(Path(_REPORT))
    code = run(url, number, moment)
    left = sorted(path.name for path in Path().iterdir())
    step = Path("moment").read_text() if "moment" in left else ""
    return {"step": step, "code": code, "left": left, "then": run(url)}


def main() -> None:
    """Go on until a run has ended before its moment came."""
    signal_name, scene, url, folder = sys.argv[1:5]
    found: list[dict[str, Any]] = []
    while not found or found[-1]["step"]:
        moment = len(found) + 1
        place = Path(folder, str(moment))
        place.mkdir()
        os.chdir(place)
        found.append(at(moment, signal.Signals[signal_name], scene, url))
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
