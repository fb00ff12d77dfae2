"""An Airflow 3 DAG that runs a job of bulk-reset at its due times.

Put it into Airflow's folder of DAGs, and keep the cron expression the same as in the job file. The
state folder must be on storage that all workers share. Exit codes 1 and 2 fail at once, because
another attempt has the same result; after any other, Airflow retries, and the run resumes.
"""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

from airflow.exceptions import AirflowException, AirflowFailException
from airflow.sdk import dag, task

JOB = Path("/etc/bulk-reset/jobs/nightly.toml")
STATE = Path("/var/lib/bulk-reset")
FINAL_CODES = (1, 2)


@dag(
    dag_id="bulk_reset_nightly",
    schedule="30 2 * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,  # the job file defines what happens to missed runs
    max_active_runs=1,
)
def bulk_reset_nightly() -> None:
    """Run the job if it is due."""

    @task(retries=5, retry_delay=dt.timedelta(minutes=15))
    def run_job() -> None:
        command = ["bulk-reset", "job", "run", str(JOB), "--if-due", "--resume"]
        code = subprocess.run([*command, "--state-dir", str(STATE)], check=False).returncode  # noqa: S603
        if code in FINAL_CODES:
            raise AirflowFailException(f"exit code {code}: see bulk-reset runs")
        if code:
            raise AirflowException(f"exit code {code}: the run resumes with the next attempt")

    run_job()


bulk_reset_nightly()
