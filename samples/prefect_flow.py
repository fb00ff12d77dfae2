"""A Prefect flow that runs a job of bulk-reset at its due times: python samples/prefect_flow.py.

Keep the cron expression the same as in the job file. Exit codes 1 and 2 fail at once, because
another attempt has the same result; after any other, Prefect retries, and the run resumes.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from prefect import flow, task

JOB = Path("/etc/bulk-reset/jobs/nightly.toml")
STATE = Path("/var/lib/bulk-reset")
FINAL_CODES = (1, 2)


class JobError(Exception):
    """The job did not end with exit code 0."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"exit code {code}: see bulk-reset runs")


def is_retried(_task: Any, _run: Any, state: Any) -> bool:  # noqa: ANN401  (Prefect's own types)
    """Return whether another attempt may have another result."""
    error = state.result(raise_on_failure=False)
    return not (isinstance(error, JobError) and error.code in FINAL_CODES)


@task(retries=5, retry_delay_seconds=900, retry_condition_fn=is_retried)
def run_job(job: Path, state: Path) -> None:
    """Run the job if it is due; resume an interrupted run."""
    command = ["bulk-reset", "job", "run", str(job), "--if-due", "--resume"]
    code = subprocess.run([*command, "--state-dir", str(state)], check=False).returncode  # noqa: S603
    if code:
        raise JobError(code)


@flow(name="bulk-reset nightly")
def nightly(job: Path = JOB, state: Path = STATE) -> None:
    """Run the job of the night."""
    run_job(job, state)


if __name__ == "__main__":
    nightly.serve(name="bulk-reset nightly", cron="30 2 * * *")
