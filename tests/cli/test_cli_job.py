"""``bulk-reset job``: check, list, run and install, as they are typed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
import shlex
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import KEY, Begin, SandboxProcess, read_csv, seed_id, settled, write_sheet
from terminal import seen_on_a_terminal

from bulk_reset.jobs.job_runs.run_record import JobState, RunRecord
from bulk_reset.jobs.job_runs.state_folder import StateFolder

Command = Callable[..., subprocess.CompletedProcess[str]]
StartSandbox = Callable[..., SandboxProcess]
REHEARSAL = '[api]\nsandbox_state = "rehearsal.json"\n'
SHEET = '[source]\nsheet = "in.csv"\n'
SCHEDULE = '[schedule]\ncron = "* * * * *"\ntime_zone = "UTC"\n'
NO_PAGE = "[report]\nhtml = false\n"
QUICK = ("--per-second", "5000", "--per-minute", "300000", "--latency", "0.05")


def write_job(folder: Path, text: str, name: str = "nightly") -> Path:
    """Write a job file."""
    file = folder / f"{name}.toml"
    file.write_text(text)
    return file


def runs_of(folder: Path) -> list[RunRecord]:
    """Return the runs that were kept."""
    return StateFolder(folder / "state").records()


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that a command printed, on standard error."""
    assert done.stdout == ""
    [line] = errors_of(done)
    return line


def errors_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the errors, without the reference to the manual and the next command."""
    others = ("More: bulk-reset docs ", "To list the runs: ")
    return [line for line in done.stderr.splitlines() if not line.startswith(others)]


# --- check -----------------------------------------------------------------------------------


def test_check_explains_what_a_job_will_do(command: Command, tmp_path: Path) -> None:
    """Source, edits, limits, notifications, due times; nothing is run, and no file is written."""
    write_job(
        tmp_path,
        'description = "Every night"\n[source.pull]\nsince = "1d"\nseverity = ["Critical"]\n'
        f'[set]\ntitle = "[x] {{{{ title }}}}"\n{REHEARSAL}[limits]\nmax_rows = 20\n'
        '[schedule]\ncron = "30 2 * * 1-5"\ntime_zone = "Europe/Berlin"\ndeadline = "06:00"\n',
    )
    done = command("job", "check", "nightly.toml")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "nightly: Every night"
    assert "Source incidents since 1d, severity Critical" in lines
    assert "Update title = [x] {{ title }}" in lines
    assert "Sending up to 20 rows" in lines
    assert "Due At 02:30 on Monday through Friday, Europe/Berlin" in lines
    nexts = lines[lines.index("Next") + 1 :]
    assert len(nexts) == 5
    assert all(
        re.fullmatch(r"\w+ \d{4}-\d\d-\d\d 02:30 CES?T \(0[01]:30 UTC\), .+", x) for x in nexts
    )
    assert "note: requests go to the built-in sandbox, not to the API" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["nightly.toml"]


def test_check_lists_every_error_of_every_file(command: Command, tmp_path: Path) -> None:
    """One line each, in the format of editors; valid files are explained all the same."""
    write_job(tmp_path, f"{SHEET}[run]\ncanary = 0\nverify = 1\n", "a")
    write_job(tmp_path, f"{SHEET}{REHEARSAL}", "b")
    done = command("job", "check", "a.toml", "b.toml", "c.toml")
    assert done.returncode == 2
    red = [line for line in done.stderr.splitlines() if "note:" not in line]
    assert red == [
        "a.toml:4: run.canary: 0: too small. Use 1 or more.",
        "a.toml:5: run.verify: 1: not true or false. Use one of them, without quotes.",
        "c.toml: cannot be read (No such file or directory). Use a job file.",
    ]
    assert done.stdout.splitlines()[0] == "b"


def test_check_as_json_is_one_object(command: Command, tmp_path: Path) -> None:
    """Each error has its line and key, for scripts that check job files."""
    write_job(tmp_path, f"{SHEET}[run]\ncanary = 0\n", "a")
    write_job(tmp_path, f"{SHEET}{REHEARSAL}{SCHEDULE}", "b")
    done = command("job", "check", "a.toml", "b.toml", "--json")
    results = json.loads(done.stdout)
    assert (done.returncode, results["exit_code"]) == (2, 2)
    assert results["jobs"][0] == {
        "file": "a.toml",
        "errors": [{"line": 4, "key": "run.canary", "problem": "0: too small. Use 1 or more."}],
    }
    good = results["jobs"][1]
    assert (good["job"], good["errors"], len(good["next"])) == ("b", [], 5)


def test_check_finds_what_will_make_a_run_fail(command: Command, tmp_path: Path) -> None:
    """The file is valid, but there is no key, no sheet, no program and no schedule."""
    write_job(tmp_path, f'{SHEET}[notify]\ncommand = ["no-such-program"]\n')
    done = command("job", "check", "nightly.toml", key=None)
    assert done.returncode == 0
    notes = [line for line in done.stderr.splitlines() if line.startswith("  note: ")]
    assert len(notes) == 4
    for part in (
        "a run as this user has no app key now",
        "in.csv does not exist now",
        "no program no-such",
        "[schedule]",
    ):
        assert part in done.stderr


def test_check_prints_no_key_of_a_job_file(command: Command, tmp_path: Path) -> None:
    """Not even one that does not belong in the file."""
    key = "k3y-0f-n0-0ne-0123456789"
    write_job(tmp_path, f'api = "{key}"\n[source]\nsheet = "in.csv"\nif_none = "{key}"\n', "a")
    write_job(tmp_path, f'{SHEET}[api]\napp_key = "{key}"\n', "b")
    for more in ([], ["--json"], ["--verbose"]):
        done = command("job", "check", "a.toml", "b.toml", *more, key=key)
        assert done.returncode == 2
        assert key not in done.stdout + done.stderr
    assert "b.toml:4: api.app_key: an app key must not be in a job file" in done.stderr


# --- list ------------------------------------------------------------------------------------


def test_list_shows_when_jobs_are_due_and_how_they_ended(command: Command, tmp_path: Path) -> None:
    """An invalid file is listed with the others, and does not stop the list."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    write_sheet(jobs / "in.csv", 1)
    write_job(jobs, f"{SHEET}{REHEARSAL}{NO_PAGE}{SCHEDULE}", "good")
    write_job(jobs, f"{SHEET}{REHEARSAL}", "never-run")
    write_job(jobs, f"{SHEET}[run]\ncanary = 0\n", "broken")
    assert command("job", "run", "jobs/good.toml", "--state-dir", "state").returncode == 0
    done = command("job", "list", "jobs", "--state-dir", "state")
    assert done.returncode == 2
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "Every minute" in rows["good"]
    assert "exit code 0" in rows["good"]
    assert "not scheduled" in rows["never-run"]
    assert rows["broken"].split() == ["broken", "invalid"]
    assert "jobs/broken.toml:4: run.canary" in done.stderr
    results = json.loads(command("job", "list", "jobs", "--state-dir", "state", "--json").stdout)
    assert [one["job"] for one in results["jobs"]] == ["broken", "good", "never-run"]
    assert results["jobs"][1]["last"]["words"] == "1 of 1 row done"
    assert one_line(command("job", "list", "gone")).startswith("error: gone: no such folder.")


# --- run -------------------------------------------------------------------------------------


def test_run_prints_its_result_and_its_folder(command: Command, tmp_path: Path) -> None:
    """Results on standard output, events as JSON lines on standard error and in the folder."""
    write_sheet(tmp_path / "in.csv", 2)
    write_job(tmp_path, f"{SHEET}{REHEARSAL}")
    done = command("job", "run", "nightly.toml", "--state-dir", "state")
    assert done.returncode == 0, done.stderr
    [record] = runs_of(tmp_path)
    folder = tmp_path / "state" / "runs" / record.id
    assert done.stdout == (
        f"nightly: 2 of 2 rows done\nRun: state/runs/{record.id}\n"
        f"Next: bulk-reset runs show {record.id} --state-dir state\n"
    )
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {one["run"] for one in events} == {record.id}
    assert (events[-1]["event"], events[-1]["exit_code"]) == ("job_ended", 0)
    assert (folder / "log.jsonl").read_text() == done.stderr
    assert record.page
    assert "<html" in (folder / record.page).read_text()
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [
            "in.audit.jsonl",
            "in.before.csv",
            "in.csv",
            "in.report.csv",
            "job.toml",
            "log.jsonl",
            "run.json",
            record.page,
        ]
    )


@pytest.mark.parametrize("more", [["--quiet"], ["--json"], ["--json", "--quiet"]])
def test_run_prints_what_its_output_options_ask_for(
    more: list[str], command: Command, tmp_path: Path
) -> None:
    """Nothing for cron, or the record as one object."""
    write_sheet(tmp_path / "in.csv", 1)
    write_job(tmp_path, f"{SHEET}{REHEARSAL}{NO_PAGE}")
    done = command("job", "run", "nightly.toml", "--state-dir", "state", *more)
    [record] = runs_of(tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout or "null") == (
        dataclasses.asdict(record) if "--json" in more else None
    )
    assert (done.stderr == "") is ("--quiet" in more)


@pytest.mark.parametrize(
    ("limits", "sheet", "code"),
    [("max_rows = 1", "in.csv", 2), ("max_failures = 0", "in.csv", 3), ("", "gone.csv", 2)],
)
def test_run_has_the_exit_code_of_the_run(
    limits: str, sheet: str, code: int, command: Command, tmp_path: Path
) -> None:
    """Cron and Kubernetes see the result in the exit code."""
    (tmp_path / "in.csv").write_text(
        "incident_id,title\n" + "".join(f"{n:024x},Of no incident\n" for n in range(1, 4))
    )
    settled(tmp_path / "in.csv")
    text = f'[source]\nsheet = "{sheet}"\n{REHEARSAL}{NO_PAGE}[limits]\n{limits}\n'
    write_job(tmp_path, text)
    done = command("job", "run", "nightly.toml", "--state-dir", "state")
    [record] = runs_of(tmp_path)
    assert (done.returncode, record.exit_code) == (code, code)
    assert f"nightly: {record.words}" in done.stdout


@pytest.mark.slow
def test_a_killed_run_resumes_and_sends_no_row_twice(
    begin: Begin, command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """After kill -9, only in-flight requests can be sent again."""
    sandbox = start_sandbox("--seed-incidents", "200", *QUICK)
    write_sheet(tmp_path / "in.csv", 200)
    api = f'[api]\nbase_url = "{sandbox.url}"\n'
    write_job(tmp_path, f"{SHEET}{api}{NO_PAGE}")
    process = begin("job", "run", "nightly.toml", "--state-dir", "state", "--quiet")
    while sandbox.get("/_stats")["applied"] < 40:
        assert process.poll() is None
    process.kill()
    process.wait()
    [record] = runs_of(tmp_path)
    assert (record.state, record.exit_code, record.is_open) == ("running", None, True)
    applied = sandbox.get("/_stats")["applied"]
    report = tmp_path / "state" / "runs" / record.id / record.report
    results = report.read_bytes().count(b"\n") - 1
    write_sheet(tmp_path / "in.csv", 1, title="Another sheet")
    fast = "per_second = 5000\nper_minute = 300000\n"
    write_job(tmp_path, f"{SHEET}{api}{fast}{NO_PAGE}")
    done = command("job", "run", "nightly.toml", "--state-dir", "state", "--run", record.id)
    assert done.returncode == 0, done.stderr
    [ended] = runs_of(tmp_path)
    assert (ended.id, ended.exit_code, ended.words) == (record.id, 0, "200 of 200 rows done")
    assert ended.started_at == record.started_at
    assert Counter(line["status"] for line in read_csv(report)) == {"updated": 200}
    incidents = sandbox.get("/_incidents").values()
    assert {one["title"] for one in incidents} == {f"Renamed service {n}" for n in range(1, 201)}
    assert sum(one["applied"] for one in incidents) - 200 <= applied - results
    again = command("job", "run", "nightly.toml", "--state-dir", "state", "--run", record.id)
    assert one_line(again).startswith(f"error: --run {record.id}: is done.")


@pytest.mark.parametrize("more", [[], ["--if-due"]])
def test_sigterm_ends_a_job_run_gracefully(
    more: list[str], begin: Begin, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """In-flight requests finish, the rest stays pending, exit code 143; also with --if-due."""
    sandbox = start_sandbox("--seed-incidents", "400", *QUICK)
    write_sheet(tmp_path / "in.csv", 400)
    file = write_job(tmp_path, f'{SHEET}[api]\nbase_url = "{sandbox.url}"\n{NO_PAGE}{SCHEDULE}')
    if more:
        job_state = JobState(str(file), "* * * * * UTC", time.time() - 60)
        StateFolder(tmp_path / "state").save_job_state("nightly", job_state)
    process = begin("job", "run", "nightly.toml", "--state-dir", "state", *more)
    while sandbox.get("/_stats")["applied"] < 40:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, "internal error" in out + err) == (143, False)
    record = runs_of(tmp_path)[-1]
    assert (record.state, record.exit_code, record.is_open) == ("ended", 143, True)
    assert record.words == "stopped: SIGTERM"
    assert record.counts["updated"] == sandbox.get("/_stats")["applied"] < 400
    assert sum(record.counts.values()) == record.rows == 400


def test_a_job_runs_once_at_a_time(
    begin: Begin, command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """The second one fails with one line and exit code 4, and leaves no record."""
    sandbox = start_sandbox("--seed-incidents", "400", *QUICK)
    write_sheet(tmp_path / "in.csv", 400)
    write_job(tmp_path, f'{SHEET}[api]\nbase_url = "{sandbox.url}"\n{NO_PAGE}')
    process = begin("job", "run", "nightly.toml", "--state-dir", "state", "--quiet")
    while sandbox.get("/_stats")["applied"] < 10:
        assert process.poll() is None
    second = command("job", "run", "nightly.toml", "--state-dir", "state")
    assert second.returncode == 4
    assert one_line(second) == "error: nightly: already running. Wait until that run has ended."
    assert len(runs_of(tmp_path)) == 1
    assert process.poll() is None


def test_the_key_is_in_no_file_and_no_output_of_a_job_run(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """Neither of a run that works nor of one that fails; a notification does not have it either."""
    sandbox = start_sandbox("--seed-incidents", "3", *QUICK)
    write_sheet(tmp_path / "in.csv", 3)
    notify = (
        '[notify]\nwhen = "always"\ncommand = ["sh", "-c", "env > sent.txt; cat >> sent.txt"]\n'
    )
    write_job(tmp_path, f'{SHEET}[api]\nbase_url = "{sandbox.url}"\n{notify}')
    seen = ""
    for key, code in ((KEY, 0), ("a-wrong-k3y-0123456789", 3)):
        write_sheet(tmp_path / "in.csv", 3, title=f"With code {code}")
        for more in (["--json"], ["--verbose"]):
            done = command("job", "run", "nightly.toml", "--state-dir", "state", *more, key=key)
            assert done.returncode == code, done.stderr
            seen += done.stdout + done.stderr
        seen += (tmp_path / "sent.txt").read_text()
    seen += "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "BULK_RESET_RUN=" in seen
    assert KEY not in seen
    assert "a-wrong-k3y" not in seen


def test_if_due_counts_from_when_a_job_is_first_seen(command: Command, tmp_path: Path) -> None:
    """From then on it runs what is due, once."""
    write_sheet(tmp_path / "in.csv", 1)
    file = write_job(
        tmp_path,
        f"{SHEET}{REHEARSAL}{NO_PAGE}" + SCHEDULE.replace('"* * * * *"', '"0 0 * * *"'),
    )
    state = StateFolder(tmp_path / "state")
    ask = ("job", "run", "nightly.toml", "--state-dir", "state", "--if-due", "--quiet")
    first = command(*ask)
    assert (first.returncode, first.stdout, first.stderr, runs_of(tmp_path)) == (0, "", "", [])
    job_state = state.job_state("nightly")
    assert job_state is not None
    midnight = time.time() // 86_400 * 86_400
    state.save_job_state("nightly", dataclasses.replace(job_state, handled_at=midnight - 1))
    file.write_text(file.read_text().replace("UTC", "UTC") + 'catch_up_within = "1d"\n')
    for _ in range(2):
        done = command(*ask)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        [record] = runs_of(tmp_path)
        assert (record.due_at, record.is_scheduled, record.exit_code) == (midnight, True, 0)


@pytest.mark.parametrize(
    ("stop", "codes"),
    [("outage", [0, 0]), ("failures", [3, 3])],
)
def test_a_caller_that_retries_gets_the_result_of_the_last_run(
    stop: str, codes: list[int], command: Command, tmp_path: Path
) -> None:
    """An interrupted run resumes at once; one that failed is not run again, and says so."""
    write_sheet(tmp_path / "in.csv", 1)
    once_a_year = SCHEDULE.replace('"* * * * *"', '"0 0 1 1 *"')
    file = write_job(tmp_path, f"{SHEET}{REHEARSAL}{NO_PAGE}{once_a_year}")
    state, now_at = StateFolder(tmp_path / "state"), time.time()
    record = RunRecord("run-1", "nightly", str(file), now_at, is_scheduled=True)
    state.begin(record, file.read_bytes())
    ended = {"state": "ended", "ended_at": now_at, "exit_code": 3, "stop": stop}
    state.write(dataclasses.replace(record, **ended))
    state.save_job_state("nightly", JobState(str(file), "0 0 1 1 * UTC", now_at, "run-1"))
    ask = ("job", "run", "nightly.toml", "--state-dir", "state", "--if-due", "--quiet")
    # Without --resume, the pause of again_after is kept, and nothing is due.
    assert command(*ask).returncode == 0
    assert [command(*ask, "--resume").returncode for _ in codes] == codes
    with state.locked("nightly"):
        assert command(*ask, "--resume").returncode == 4


@pytest.mark.slow
def test_of_ten_checks_at_once_one_runs_the_job_and_all_exit_0(
    begin: Begin, tmp_path: Path
) -> None:
    """Machines start late checks together; a check during a run has nothing to do."""
    write_sheet(tmp_path / "in.csv", 1)
    file = write_job(tmp_path, f"{SHEET}{REHEARSAL}{NO_PAGE}{SCHEDULE}")
    state = StateFolder(tmp_path / "state")
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    once_a_year = f"0 0 {yesterday.day} {yesterday.month} *"
    text = file.read_text().replace("* * * * *", once_a_year) + 'catch_up_within = "2d"\n'
    file.write_text(text)
    job_state = JobState(str(file), f"{once_a_year} UTC", time.time() - 2 * 86_400)
    state.save_job_state("nightly", job_state)
    ask = ("job", "run", "nightly.toml", "--state-dir", "state", "--if-due", "--quiet")
    processes = [begin(*ask) for _ in range(10)]
    ended = [(process.communicate(timeout=60), process.returncode) for process in processes]
    assert ended == [(("", ""), 0)] * 10
    [record] = runs_of(tmp_path)
    assert (record.exit_code, record.words) == (0, "1 of 1 row done")


def test_a_check_notifies_an_invalid_job_file_once(command: Command, tmp_path: Path) -> None:
    """The check fails each minute, the notification is sent once."""
    notify = '[notify]\ncommand = ["sh", "-c", "echo \\"$BULK_RESET_TEXT\\" >> told.txt"]\n'
    write_job(tmp_path, f"{SHEET}x = 1\n{notify}{SCHEDULE}")
    ask = ("job", "run", "nightly.toml", "--state-dir", "state", "--if-due")
    assert [command(*ask).returncode for _ in range(2)] == [2, 2]
    [line] = (tmp_path / "told.txt").read_text().splitlines()
    assert "nightly.toml:3: source.x: no such key." in line


def test_why_a_sheet_was_refused_is_shown(command: Command, tmp_path: Path) -> None:
    """By the run itself, quietly too, and by runs show."""
    (tmp_path / "in.csv").write_text("incident_id,title\nno-id,Disk full\n")
    settled(tmp_path / "in.csv")
    write_job(tmp_path, f"{SHEET}{REHEARSAL}{NO_PAGE}")
    why = "row 2, incident_id: 'no-id': 5 characters; an ID has 24. Copy the whole ID."
    run = ("job", "run", "nightly.toml", "--state-dir", "state")
    assert why in command(*run).stdout.splitlines()
    quiet = command(*run, "--quiet")
    assert quiet.stderr.splitlines()[1:] == [why]
    shown = command("runs", "show", runs_of(tmp_path)[-1].id, "--state-dir", "state")
    assert f"Invalid   {why}" in shown.stdout.splitlines()


@pytest.mark.parametrize("more", [[], ["-v"]])
def test_a_terminal_shows_the_result_and_no_events(more: list[str], tmp_path: Path) -> None:
    """Events are for -v, for programs and for the log of the run."""
    write_sheet(tmp_path / "in.csv", 1)
    write_job(tmp_path, f"{SHEET}{REHEARSAL}{NO_PAGE}")
    run = ["job", "run", "nightly.toml", "--state-dir", "state", *more]
    code, seen = seen_on_a_terminal(run, tmp_path)
    assert code == 0
    assert "nightly: 1 of 1 row done" in seen
    assert ("run_ended" in seen) is bool(more)


# --- install ---------------------------------------------------------------------------------


def test_install_prints_units_or_writes_them(command: Command, tmp_path: Path) -> None:
    """Nothing is installed; the next command is printed."""
    write_job(tmp_path, f"{SHEET}{REHEARSAL}{SCHEDULE}")
    printed = command("job", "install", "nightly.toml", "--systemd", "--state-dir", "state")
    assert printed.returncode == 0
    assert re.findall("^# (.+)$", printed.stdout, re.MULTILINE)[0] == (
        "/etc/systemd/system/bulk-reset-nightly.service"
    )
    assert printed.stderr == (
        "Next: install the units, as root: bulk-reset job install nightly.toml --systemd "
        "--state-dir state --to /etc/systemd/system\n"
    )
    (tmp_path / "units").mkdir()
    units = tmp_path / "units" / "bulk-reset-nightly"
    written = command("job", "install", "nightly.toml", "--systemd", "--to", "units")
    assert written.stdout == (
        "Unit: units/bulk-reset-nightly.service\n"
        "Unit: units/bulk-reset-nightly.timer\n"
        f"Next: as root: cp {units}.service {units}.timer /etc/systemd/system/ && systemctl "
        "daemon-reload && systemctl enable --now bulk-reset-nightly.timer\n"
    )
    timer = (tmp_path / "units" / "bulk-reset-nightly.timer").read_text()
    assert "OnCalendar=*-*-* *:*:00 UTC\n" in timer
    gone = command("job", "install", "nightly.toml", "--systemd", "--to", "gone")
    assert (gone.returncode, one_line(gone)) == (
        2,
        "error: --to gone: no such folder. Create it: mkdir -p gone",
    )


def test_the_line_of_a_crontab_runs_the_job(command: Command, tmp_path: Path) -> None:
    """With full paths, from any folder, and without output."""
    write_sheet(tmp_path / "in.csv", 1)
    write_job(tmp_path, f'{SHEET}{REHEARSAL}{NO_PAGE}{SCHEDULE}catch_up = "skip"\n')
    done = command("job", "install", "nightly.toml", "--cron", "--state-dir", "state")
    *_, line = done.stdout.splitlines()
    *when, text = line.split(" ", 5)
    assert when == ["*"] * 5
    words = shlex.split(text.replace(r"\%", "%"))
    run = command(*words[words.index("job") :])
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    # It is due every minute: a check during which a minute ends runs it for both.
    records = runs_of(tmp_path)
    assert {one.words for one in records} == {"1 of 1 row done"}
    assert len({one.due_at for one in records}) == len(records)


# --- Errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "gone.toml"], "gone.toml: cannot be read (No such file or directory)."),
        (["run", "in.csv"], "in.csv:1: not TOML: "),
        (["run", "nightly.toml", "--run", "gone"], "gone: no such run in "),
        (["run", "nightly.toml", "--run", "../runs"], "../runs: no such run in "),
        (["run", "nightly.toml", "--run", "other"], "is a run of other, not of nightly."),
        (["run", "nightly.toml", "--run", "missed"], "--run missed: was missed."),
        (
            ["run", "nightly.toml", "--run", "x", "--if-due"],
            "--if-due: cannot be combined with --run. Remove one of them.",
        ),
        (["run", "nightly.toml", "--if-due"], "nightly.toml:1: schedule: this table is missing"),
        (["run", "nightly.toml", "--state-dir", "in.csv"], "in.csv: cannot be written"),
        (["install", "nightly.toml"], "--systemd, --cron, --kubernetes: use exactly one of them."),
        (
            ["install", "nightly.toml", "--cron", "--systemd"],
            "--systemd, --cron, --kubernetes: use exactly one of them.",
        ),
        (
            ["install", "nightly.toml", "--cron", "--to", "x"],
            "--to: requires --systemd. Remove --to, or use --systemd.",
        ),
        (["install", "nightly.toml", "--cron"], "no [schedule], so there is nothing to"),
        (["run", "nightly.toml", "--resume"], "--resume: requires --if-due."),
        (["list", "in.csv"], "in.csv: no such folder."),
    ],
)
def test_an_error_is_one_line_and_nothing_is_run(
    arguments: list[str], expected: str, command: Command, tmp_path: Path
) -> None:
    """Exit code 2, what is wrong, and how to fix it."""
    write_sheet(tmp_path / "in.csv", 1)
    write_job(tmp_path, f"{SHEET}{REHEARSAL}{NO_PAGE}")
    state = StateFolder(tmp_path / "state")
    for record in (
        RunRecord("other", "other", "x", 1.0),
        RunRecord("missed", "nightly", "x", 1.0, "missed", missed=1),
    ):
        state.begin(record, b"")
    if arguments[0] == "run" and "--state-dir" not in arguments:
        arguments = [*arguments, "--state-dir", "state"]
    done = command("job", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in errors_of(done) if not line.startswith("{")] or [
        json.loads(done.stderr.splitlines()[0])["why"]
    ]
    assert len(lines) == 1, lines
    assert expected in lines[0]
    assert not (tmp_path / "rehearsal.json").exists()
    assert len(runs_of(tmp_path)) == 2


def values(sandbox: SandboxProcess) -> dict[str, Any]:
    """Return the titles that a sandbox has."""
    return {one: results["title"] for one, results in sandbox.get("/_incidents").items()}


def test_runs_of_two_jobs_of_one_account_do_not_mix(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """Each run has its own folder and its own report, also within one second."""
    sandbox = start_sandbox("--seed-incidents", "4", *QUICK)
    for name, title in (("a", "From a"), ("b", "From b")):
        folder = tmp_path / name
        folder.mkdir()
        write_sheet(folder / "in.csv", 2, title=title)
        write_job(folder, f'{SHEET}[api]\nbase_url = "{sandbox.url}"\n{NO_PAGE}', name)
        assert command("job", "run", f"{name}/{name}.toml", "--state-dir", "state").returncode == 0
    assert {one.job: one.counts for one in runs_of(tmp_path)} == {
        "a": {"updated": 2},
        "b": {"updated": 2},
    }
    assert values(sandbox)[seed_id(1)] == "From b 1"
