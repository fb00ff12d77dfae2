"""The samples for fleets, Airflow and Prefect do what they say."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from bulk_reset.jobs.job_files.job_file import read_job

SAMPLES = Path(__file__).parents[1] / "samples"


def module(path: Path) -> types.ModuleType:
    """Import a file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_a_fleet_of_200_accounts_is_valid_job_files(tmp_path: Path) -> None:
    """Also with Chinese names and quotes; what is the same is not written again."""
    table = tmp_path / "accounts.csv"
    names = ["华东", 'quote "x"', *(f"north-{n}" for n in range(198))]
    quoted = [name.replace('"', '""') for name in names]
    lines = ["account,cron,share", *(f'"{name}",30 2 * * *,0.5' for name in quoted)]
    table.write_text("\n".join(lines), encoding="utf-8-sig")
    write_jobs = module(SAMPLES / "fleet" / "write_jobs.py").write_jobs
    files = write_jobs(table, tmp_path / "jobs")
    assert [read_job(file).api.account for file in files] == names
    stamps = [file.stat().st_mtime_ns for file in files]
    assert write_jobs(table, tmp_path / "jobs") == files
    assert [file.stat().st_mtime_ns for file in files] == stamps


# --- Airflow and Prefect, with doubles of what the samples import ----------------------------


class AirflowException(Exception):  # noqa: N818  (Airflow's name)
    """A failed attempt, which Airflow retries."""


class AirflowFailException(AirflowException):
    """A failed attempt, which Airflow does not retry."""


def decorator(*given: Any, **options: Any) -> Any:  # noqa: ANN401
    """Return a decorator that keeps the function, with its options."""
    del given

    def keep(function: Any) -> Any:  # noqa: ANN401
        function.options = options
        return function

    return keep


@pytest.fixture
def exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a file with the exit code of the program that the samples start."""
    program = tmp_path / "bin" / "bulk-reset"
    program.parent.mkdir()
    code = tmp_path / "code"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\nexit $(cat {code})\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    for name, parts in {
        "airflow": {},
        "airflow.exceptions": {
            "AirflowException": AirflowException,
            "AirflowFailException": AirflowFailException,
        },
        "airflow.sdk": {"dag": decorator, "task": decorator},
        "prefect": {"flow": decorator, "task": decorator},
    }.items():
        double = types.ModuleType(name)
        double.__dict__.update(parts)
        monkeypatch.setitem(sys.modules, name, double)
    return code


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, None),
        *((one, AirflowFailException) for one in (1, 2)),
        *((one, AirflowException) for one in (3, 4, 70, 143)),
    ],
)
def test_airflow_retries_what_may_end_differently(
    code: int, expected: type[Exception] | None, exit_code: Path, tmp_path: Path
) -> None:
    """The task runs when the DAG is called with the double."""
    exit_code.write_text("0")
    sample = module(SAMPLES / "airflow_dag.py")
    exit_code.write_text(str(code))
    error: BaseException | None = None
    try:
        sample.bulk_reset_nightly()
    except AirflowException as raised:
        error = raised
    assert (type(error) if error else None) == expected
    assert (tmp_path / "arguments").read_text().split() == [
        *("job", "run", "/etc/bulk-reset/jobs/nightly.toml", "--if-due", "--resume"),
        *("--state-dir", "/var/lib/bulk-reset"),
    ]


@pytest.mark.parametrize(
    ("code", "is_retried"), [(1, False), (2, False), (3, True), (4, True), (143, True)]
)
def test_prefect_retries_what_may_end_differently(
    code: int, is_retried: bool, exit_code: Path
) -> None:
    """By the condition of the task."""
    exit_code.write_text(str(code))
    sample = module(SAMPLES / "prefect_flow.py")
    with pytest.raises(sample.JobError, match=f"exit code {code}") as raised:
        sample.nightly()
    state = types.SimpleNamespace(result=lambda **_: raised.value)
    assert sample.run_job.options["retry_condition_fn"](None, None, state) is is_retried
