"""Fixtures that tests of several packages use; the doubles are in ``tests/doubles``."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiohttp import web_app
from fork_server import Forked
from hypothesis import HealthCheck, settings
from programs import KEY, Begin, SandboxProcess, clean_environment, run_sandbox

# The same examples each time, and no deadline: a busy machine is not an error. Tests that share a
# folder between their examples empty it themselves.
settings.register_profile(
    "tests",
    settings.get_profile("ci"),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("tests")


def pytest_configure() -> None:
    """Give processes that tests start the default signals, also under ``nohup`` and ``&``.

    There, these two signals are ignored, and child processes inherit that. A handler is not
    inherited: with it, the test session still ignores the signals, and its processes do not.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_xdist_auto_num_workers() -> int:
    """Use two workers a core: many tests wait for a quota or a process, not for the processor."""
    return 2 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4


def pytest_collection_finish() -> None:
    """Spare the garbage collection the thousands of tests that each of its passes would visit."""
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown() -> None:
    """Let go of the servers of the test: aiohttp has a cache of handlers that keeps a thousand."""
    web_app._cached_build_middleware.cache_clear()  # noqa: SLF001


@pytest.fixture
def start_sandbox() -> Iterator[Callable[..., SandboxProcess]]:
    """Start sandboxes, each on a free port; all of them are stopped after the test."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(run_sandbox(*options))


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as a user without a home folder, as in a container with an arbitrary user id."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in the folder of the test and wait for its end."""

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
    """Start commands that run during the test; all of them are killed after it."""
    started: list[Forked] = []

    def start(*arguments: str, key: str = KEY) -> Forked:
        started.append(Forked(arguments, tmp_path, clean_environment(FLASHDUTY_APP_KEY=key)))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=30)
