"""Fixtures that tests of several packages use; the doubles are in ``tests/doubles``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from programs import KEY, Begin, SandboxProcess, clean_environment, run_sandbox


@pytest.fixture
def start_sandbox() -> Iterator[Callable[..., SandboxProcess]]:
    """Start sandboxes, each on a free port; all are stopped at the end."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(run_sandbox(*options))


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a user without a home, as in a container that gives any number for one."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in a folder of its own."""

    def run(
        *arguments: str | Path, key: str | None = KEY, stdin: str | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        if key is not None:
            env["FLASHDUTY_APP_KEY"] = key
        return subprocess.run(
            [sys.executable, "-m", "bulk_reset", *map(str, arguments)],
            cwd=tmp_path,
            env=clean_environment(**env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Start runs that go on beside the test; none outlives it."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, key: str = KEY) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "bulk_reset", *arguments],
            cwd=tmp_path,
            env=clean_environment(FLASHDUTY_APP_KEY=key),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)
