"""Run once for every n, and send a signal at the n-th operation on a file.

``python tests/doubles/signal_steps.py SIGNAL SCENE URL FOLDER``: prints a JSON list of results.
The modules are imported once and each run is a fork of this process, so hundreds of runs take a
minute.
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
"""The sandbox has all of them but the last; one more row is invalid."""
_CHANGES: Final = {"os.rename", "os.remove", "os.truncate", "shutil.copyfile"}
_CALLS: Final = ("write", "fsync", "ftruncate")
_SHEET, _REPORT, _FAILED = "incidents.csv", "incidents.report.csv", "incidents.failed.csv"


def rows_at(step: int) -> list[int]:
    """Return the numbers of the incidents that the runs of a step update."""
    return list(range((step - 1) * ROWS + 1, step * ROWS + 1))


class _Steps:
    """Counts a run's operations on the files of its folder, and sends the signal at the n-th."""

    def __init__(self, number: int, step: int) -> None:
        self._number, self._left, self._folder = number, step, str(Path.cwd())
        # Threads sync the report, at the same time as the main thread writes.
        self._lock = threading.RLock()
        sys.addaudithook(self._on_event)
        for name in _CALLS:
            setattr(os, name, self._counted(getattr(os, name), name))

    def _on_event(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            is_step = isinstance(args[0], str) and bool(args[2] & (os.O_WRONLY | os.O_RDWR))
        else:
            is_step = event in _CHANGES
        if is_step and str(Path(args[0]).absolute()).startswith(self._folder):
            self._step(f"{event} {Path(args[0]).name}")

    def _counted(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def counted(descriptor: int, *args: Any) -> Any:  # noqa: ANN401  (any of three)
            with self._lock:
                is_torn = name == "write" and self._left == 1 and self._number == signal.SIGKILL
                if is_torn:
                    call(descriptor, *(part[: len(part) // 2] for part in args))
                self._step(name)
            return call(descriptor, *args)

        return counted

    def _step(self, what: str) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                Path("step").write_text(what)
                os.kill(os.getpid(), self._number)


def run(url: str, number: int = 0, step: int = 0) -> int:
    """Run the sheet in this folder in a fork; return its exit code, negative for a signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    quota = ("--per-second", "5000", "--per-minute", "300000")
    sys.argv[1:] = ["run", _SHEET, "--base-url", url, "--skip-invalid", *quota]
    if step:
        _Steps(number, step)
    try:
        run_command()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(int(end.code or 0))
    os._exit(70)


def prepare(step: int) -> None:
    """Write the sheet of a step, and a file of failed rows that the user has fixed."""
    with Path(_SHEET).open("w", newline="") as file:
        lines = [[f"69da451e{n:016x}", f"Renamed service {n}"] for n in rows_at(step)]
        lines[-1][0] = "f" * 24
        csv.writer(file).writerows([["incident_id", "title"], *lines, ["oops", "A title"]])
    Path(_FAILED).write_text("fixed\n")


def save_as_excel(report: Path) -> None:
    """Save a report as Excel does, with half of its lines removed."""
    lines = report.read_bytes().splitlines()
    report.write_bytes(b"\r\n".join([*lines[: len(lines) // 2], b""]))


def at(step: int, number: int, scene: str, url: str) -> dict[str, Any]:
    """Send the signal to a run at a step, and run again."""
    prepare(step)
    if scene == "saved":
        run(url)
        save_as_excel(Path(_REPORT))
    code = run(url, number, step)
    left = sorted(path.name for path in Path().iterdir())
    done = Path("step").read_text() if "step" in left else ""
    return {"step": done, "code": code, "left": left, "then": run(url)}


def main() -> None:
    """Continue until a run ends before its n-th step."""
    signal_name, scene, url, folder = sys.argv[1:5]
    found: list[dict[str, Any]] = []
    while not found or found[-1]["step"]:
        step = len(found) + 1
        place = Path(folder, str(step))
        place.mkdir()
        os.chdir(place)
        found.append(at(step, signal.Signals[signal_name], scene, url))
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
