"""Fixtures that tests of several packages use; the doubles are in ``tests/doubles``."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fork_server import Forked
from programs import KEY, Begin, SandboxProcess, clean_environment, run_sandbox


def pytest_configure() -> None:
    """Let the processes that tests start receive signals, also where the tests run in background.

    Under ``nohup`` or ``&`` these two signals are ignored, and a process inherits that. A handler
    is not inherited: the test session still ignores them, its processes do what they do anywhere.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


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
    """Run the command in a folder of its own, to its end."""

    def run(
        *arguments: str | Path, key: str | None = KEY, stdin: str | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        if key is not None:
            env["FLASHDUTY_APP_KEY"] = key
        process = Forked([*map(str, arguments)], tmp_path, clean_environment(**env), stdin)
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.wait(), out, err)

    return run


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Start runs that continue beside the test; all have ended when the test has."""
    started: list[Forked] = []

    def start(*arguments: str, key: str = KEY) -> Forked:
        started.append(Forked(arguments, tmp_path, clean_environment(FLASHDUTY_APP_KEY=key)))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=30)
