"""Pulling: every incident of any time, once, or an error that says which are missing."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from programs import FAST, SandboxProcess, read_csv, seed_id, statuses, values

from bulk_reset.api.client import Page
from bulk_reset.core.errors import InputError
from bulk_reset.engine.incident_reader import IncidentReader
from bulk_reset.workflows.id_file import read_id_file
from bulk_reset.workflows.incident_query import MAX_WINDOW_S, Query, parse_time, query_of
from bulk_reset.workflows.pull import Pulling

Command = Callable[..., subprocess.CompletedProcess[str]]
StartSandbox = Callable[..., SandboxProcess]
QUICK = ("--per-second", "5000", "--per-minute", "300000", "--latency", "0")
HOUR = "3600"
DAY_S = 86_400


@pytest.mark.parametrize("days", [0, 1, 30, 31, 32, 62, 63, 365])
def test_windows_cover_every_second_without_their_ends(days: int) -> None:
    """Each is up to 31 days, as the API requires, and no second is only at the end of one."""
    query = Query(1_000_000, 1_000_000 + days * DAY_S)
    windows = list(query.windows())
    assert (windows[0][0], windows[-1][1]) == (query.since_at - 1, query.until_at + 1)
    assert all(0 < end - start <= MAX_WINDOW_S for start, end in windows)
    assert all(end == start + 1 for (_, end), (start, _) in pairwise(windows))
    assert len(windows) <= days // 31 + 1


@pytest.mark.parametrize(
    "has_ends", [(True, True), (True, False), (False, True), (False, False)], ids=str
)
def test_incidents_on_the_second_between_two_windows_are_pulled_once(
    has_ends: tuple[bool, bool],
) -> None:
    """Whether the API counts the ends of a window to it or not; none outside the period is."""
    since = 1_000_000
    until = since + 40 * DAY_S
    query = Query(since, until)
    [(_, end), _] = query.windows()
    times = [since - 1, since, since + 1, end - 2, end - 1, end, end + 1, until, until + 1]
    there = [{"incident_id": seed_id(n), "start_time": at} for n, at in enumerate(times)]

    class Reader:
        async def page(self, body: dict[str, Any]) -> Page:
            first, last = body["start_time"], body["end_time"]
            first, last = first + (not has_ends[0]), last - (not has_ends[1])
            found = tuple(one for one in there if first <= one["start_time"] <= last)
            return Page(found, "", has_next=False, total=len(found))

    async def pulled() -> list[int]:
        pulling = Pulling(cast(IncidentReader, Reader()), lambda _read, _total: None)
        return [incident["start_time"] async for incident in pulling.of_query(query)]

    assert sorted(asyncio.run(pulled())) == times[1:-1]


@pytest.mark.parametrize(
    ("text", "is_end", "moment"),
    [
        ("2026-11-01", False, 1_793_487_600),
        ("2026-11-01", True, 1_793_573_999),
        ("2026-11-01 14:30", False, 1_793_539_800),
        ("2026-11-01T14:30:05", True, 1_793_539_805),
        ("2026-11-01T14:30:00Z", False, 1_793_543_400),
        ("2026-10-25", True, 1_792_969_199),
        ("20261025", True, 1_792_969_199),
    ],
)
def test_dates_are_those_of_the_user(
    text: str, is_end: bool, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the time zone of the machine, with daylight saving; a last day counts to its end."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert parse_time(text, "--since", is_end=is_end) == moment


def test_an_unknown_time_zone_is_named(command: Command) -> None:
    """The error names the variable and shows valid values."""
    done = command("pull", "x.csv", "--since", "1d", "--sandbox", TZ="Nowhere/City")
    shown = "TZ=Nowhere/City: unknown time zone"
    assert (done.returncode, shown in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("zone", ["Europe", "/etc/passwd", "..", "/dev/null", "x" * 5_000])
def test_what_is_no_time_zone_is_named(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of zones, another file or too long a name is an error of the variable."""
    monkeypatch.setenv("TZ", zone)
    with pytest.raises(InputError) as caught:
        parse_time("30d", "--since")
    fix = "Use for example TZ=Europe/Berlin or TZ=UTC."
    assert str(caught.value) == f"TZ={zone}: unknown time zone. {fix}"


def test_times_are_shown_in_the_zone_of_the_environment(command: Command, tmp_path: Path) -> None:
    """Also where the variable has a name of the old kind."""
    state = ("--sandbox-state", "state.json", *FAST)
    command("pull", "x.csv", "--since", "2d", "--until", "now", *state, TZ="EST5EDT")
    command("pull", "y.csv", "--since", "2d", "--until", "now", *state, TZ="UTC")
    ours, theirs = (
        {row["Incident ID"]: row for row in read_csv(tmp_path / name)}
        for name in ("x.csv", "y.csv")
    )
    one = next(iter(ours.keys() & theirs.keys()))
    here = dt.datetime.fromisoformat(ours[one]["Started (EST5EDT)"])
    there = dt.datetime.fromisoformat(theirs[one]["Started (UTC)"])
    assert here.replace(tzinfo=ZoneInfo("EST5EDT")) == there.replace(tzinfo=dt.UTC)


def test_times_ago_are_counted_from_now() -> None:
    """30d is 30 days of 24 hours."""
    now = parse_time("now", "--until")
    shown = {"90s": 90, "5m": 300, "2h": 7200, "30d": 30 * DAY_S, "1w": 7 * DAY_S}
    for text, seconds in shown.items():
        assert 0 <= parse_time(text, "--since") - (now - seconds) <= 5


@pytest.mark.parametrize("text", ["", "yesterdayish", "30", "d", "2026-13-01", "2026-02-30", "-3d"])
def test_an_invalid_time_is_refused(text: str) -> None:
    """The error shows valid times."""
    with pytest.raises(InputError, match=r"invalid time\. Use for example 30d"):
        parse_time(text, "--since")


def test_a_query_with_an_invalid_value_is_refused() -> None:
    """Words of the API are accepted in any case; an unknown word is an error that lists them."""
    query = query_of("2d", "1d", severities=("critical", "OK"), progress=("closed",))
    assert (query.severities, query.progress) == (("Critical", "Ok"), ("Closed",))
    for since, until, filters, text in (
        ("1d", "2d", {}, "since 1d: after until 2d"),
        ("99999d", "now", {}, "since 99999d: before 1970"),
        (
            "1d",
            "now",
            {"severities": ("P1",)},
            "severities P1: unknown. Use one of Critical",
        ),
        ("1d", "now", {"progress": ("open",)}, "progress open: unknown. Use one of Triggered"),
    ):
        with pytest.raises(InputError, match=text):
            query_of(since, until, **filters)


def test_ids_come_from_any_list_of_them(tmp_path: Path) -> None:
    """Ids and links, one a line, a header or not, each once."""
    path = tmp_path / "ids.txt"
    link = f"https://console.example/incident/detail/{seed_id(3)}?tab=1"
    path.write_text(f"incident_id,title\n{seed_id(1).upper()},x\n\n{link}\n{seed_id(1)}\n")
    assert read_id_file(path) == [seed_id(1), seed_id(3)]
    path.write_text(f"{seed_id(1)}\nno id\n")
    with pytest.raises(InputError, match="line 2: 'no' is not an incident id"):
        read_id_file(path)
    path.write_text("only a header\n")
    with pytest.raises(InputError, match="no incident ids"):
        read_id_file(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_id_file(tmp_path / "missing.txt")


_A, _B, _C = (seed_id(number) for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (f"{_A} {_B}\n{_C}\n", [_A, _B, _C]),
        (f"{_A},{_B};{_C}", [_A, _B, _C]),
        (f'{_A}\t"{_B}"\n', [_A, _B]),
        (f"ids\n{_A}, {_B}\n", [_A, _B]),
        (f"Incident ID\n{_A}\n", [_A]),
        (f"id,title 2\n{_A},Disk 5 full\n", [_A]),
        (f"title,id\nDisk full,{_A}\n", [_A]),
        (f"{_A}\r\n\r\n{_B}\r\n", [_A, _B]),
    ],
)
def test_every_id_of_a_file_is_taken(text: str, ids: list[str], tmp_path: Path) -> None:
    """However many are on a line."""
    path = tmp_path / "ids.txt"
    path.write_text(text)
    assert read_id_file(path) == ids


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{_A[:-1]}\n{_B}\n", f"line 1: '{_A[:-1]}' is not an incident id"),
        (f"{_A}0\n{_B}\n", f"line 1: '{_A}0' is not an incident id"),
        (f"{_A[:-1]}g\n{_B}\n", f"line 1: '{_A[:-1]}g' is not an incident id"),
        (f"INC-1\n{_B}\n", "line 1: 'INC-1' is not an incident id"),
        (f"https://console.example/\n{_B}\n", "line 1: 'https://console.example/' is not"),
        (f"{_A} Disk\n", "line 1: 'Disk' is not an incident id"),
        (f"{_A},{_B[:-1]}\n", f"line 1: '{_B[:-1]}' is not an incident id"),
        (f"id,parent\n{_A},{_B}\n", "line 2: 2 incident ids. Keep only the column of ids."),
        (f"id,parent\n{_A},{_B[:-1]}\n", f"line 2: '{_B[:-1]}' is not an incident id"),
        (f"id,title\n{_A},Disk\nfull\n", "line 3: 'full' is not an incident id"),
        (f"https://x.example/{_A}/{_B}\n", f"line 1: 'https://x.example/{_A[:22]}' is not"),
    ],
)
def test_no_id_of_a_file_is_left_out(text: str, problem: str, tmp_path: Path) -> None:
    """What is not an id is an error that names it, in the first line, too."""
    path = tmp_path / "ids.txt"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_id_file(path)
    assert problem in str(caught.value)


@pytest.mark.slow
def test_ten_thousand_incidents_over_months_are_pulled_once_each(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """More than page numbers reach, over several periods: 10,500 in 107 requests."""
    sandbox = start_sandbox("--seed-incidents", "10500", "--seed-step", "600", *QUICK)
    done = command("pull", "all.csv", "--since", "80d", "--base-url", sandbox.url, "--json", *FAST)
    shown = json.loads(done.stdout)
    assert (shown["incidents"], shown["windows"]) == (10_500, 3)
    assert sandbox.get("/_stats")["requests"] == shown["pages"] <= 108
    found = [line["Incident ID"] for line in read_csv(tmp_path / "all.csv")]
    assert found == [seed_id(n) for n in range(1, 10_501)]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        (("--severity", "warning"), [2, 5, 8, 11, 14, 17, 20]),
        (("--severity", "Info", "--progress", "Closed"), [9, 18]),
        (("--query", "host-0001"), list(range(10, 20))),
        (("--channel", "database channel"), list(range(10, 19))),
        (("--channel", "2551105804133"), [19, 20]),
        (("--channel", "Network Channel", "--channel", "2551105804132"), list(range(10, 21))),
        (("--team", "2477033058133"), [19, 20]),
        (("--num", "000004", "--num", "00000A"), [4, 10]),
        (("--since", "890m", "--until", "590m"), [7, 8, 9, 10, 11]),
    ],
)
def test_filters_select_incidents(
    filters: tuple[str, ...],
    numbers: list[int],
    command: Command,
    start_sandbox: StartSandbox,
    tmp_path: Path,
) -> None:
    """Filters are those of the API; channels also by name."""
    sandbox = start_sandbox("--seed-incidents", "20", "--seed-step", HOUR, *QUICK)
    since = () if "--since" in filters else ("--since", "2d")
    done = command("pull", "some.csv", *since, *filters, "--base-url", sandbox.url, *FAST)
    assert done.returncode == 0, done.stderr
    found = [line["Incident ID"] for line in read_csv(tmp_path / "some.csv")]
    assert found == [seed_id(n) for n in numbers]


def test_ids_that_do_not_exist_are_named(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """The others are in the sheet; exit code 1 shows that some are missing."""
    sandbox = start_sandbox("--seed-incidents", "150", *QUICK)
    (tmp_path / "ids.txt").write_text("\n".join(seed_id(n) for n in range(151, 0, -1)))
    done = command("pull", "some.csv", "--ids", "ids.txt", "--base-url", sandbox.url, *FAST)
    assert (done.returncode, f"no such incident: {seed_id(151)}" in done.stdout) == (1, True)
    found = [line["Incident ID"] for line in read_csv(tmp_path / "some.csv")]
    assert found == [seed_id(n) for n in range(150, 0, -1)]
    assert sandbox.get("/_stats")["requests"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--since: is missing. Use for example --since 30d, or --ids FILE."),
        (
            ("--since", "1d", "--ids", "x.txt"),
            "--ids: cannot be combined with other filters. Remove them.",
        ),
        (("--since", "soon"), "--since soon: invalid time"),
        (("--since", "1d", "--set", "titel=x"), "no field that can be set"),
    ],
)
def test_a_pull_with_an_invalid_option_reads_nothing(
    arguments: tuple[str, ...], message: str, command: Command, tmp_path: Path
) -> None:
    """One line, exit code 2, no sheet."""
    done = command("pull", "x.csv", *arguments, "--sandbox")
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ("bogus", "--from-pull 'bogus': Got unexpected extra argument"),
        ("--since 30d --query ''", "--query: is empty. Set a value, or leave the option out."),
        ("--nope", "No such option: --nope"),
        ("--since", "requires an argument"),
        ("--since 'x", "not options of pull"),
        ("--since soon", "--since soon: invalid time"),
    ],
)
def test_invalid_filters_are_an_error_of_one_line(
    filters: str, message: str, command: Command, tmp_path: Path
) -> None:
    """--from-pull takes the options of pull."""
    done = command("plan", "x.csv", "--from-pull", filters, "--sandbox")
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert done.stderr.splitlines()[1:] == ["More: bulk-reset docs options"]
    assert list(tmp_path.iterdir()) == []


def item(number: int) -> dict[str, Any]:
    return {"incident_id": seed_id(number), "title": f"Title {number}", "start_time": number}


PAGES: list[tuple[str, list[dict[str, Any]]]] = [
    ("gives no cursor to them", [{"items": [item(1)], "has_next_page": True, "total": 2}]),
    (
        "gives no cursor to them",
        [{"items": [item(1)], "has_next_page": True, "total": 9, "search_after_ctx": "same"}] * 2,
    ),
    (
        "gives no cursor to them",
        [{"items": [], "has_next_page": True, "total": 9, "search_after_ctx": "a"}],
    ),
    (
        "reports 3 incidents but listed 1",
        [{"items": [item(1)], "has_next_page": False, "total": 3}],
    ),
    (
        "reports 3 incidents but listed 2",  # one moved up a page, so it was listed twice
        [
            {
                "items": [item(1), item(2)],
                "has_next_page": True,
                "total": 3,
                "search_after_ctx": "a",
            },
            {"items": [item(2)], "has_next_page": False, "total": 3},
        ],
    ),
]


@pytest.mark.parametrize(("text", "pages"), PAGES)
async def test_an_incomplete_list_is_an_error(
    text: str, pages: list[dict[str, Any]], tmp_path: Path, command: Command
) -> None:
    """A list that ends too soon or repeats itself gives no sheet."""
    answers = iter(pages)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"request_id": "R", "data": next(answers)})

    application = web.Application()
    application.router.add_post("/incident/list", answer)
    async with TestServer(application) as server:
        url = str(server.make_url("/")).rstrip("/")
        done = await asyncio.to_thread(
            command, "pull", "x.csv", "--since", "1d", "--base-url", url, *FAST
        )
    assert (done.returncode, text in done.stderr) == (3, True), done.stderr
    assert not (tmp_path / "x.csv").exists()


def test_a_sheet_is_reused_only_by_the_filters_and_rules_that_made_it(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """Others would be ignored: they are refused, and nothing is sent."""
    sandbox = start_sandbox("--seed-incidents", "5", *QUICK)
    connect = ("--base-url", sandbox.url, *FAST)
    upper = ("--from-pull", "--since 30d", "--set", "title={{ title | upper }}")
    first = command("run", "x.csv", *upper, "--limit", "2", "--yes", *connect)
    assert first.returncode == 0, first.stderr
    titles = values(sandbox)
    for others, made in (
        (("--from-pull", "--since 30d", "--set", "title={{ title | lower }}"), "--set: x.csv"),
        (("--from-pull", "--since 30d"), "--set: x.csv"),
        (("--from-pull", "--since 7d", *upper[2:]), "--from-pull: x.csv"),
    ):
        for words in (("run", "--yes"), ("plan",)):
            refused = command(words[0], "x.csv", *others, *words[1:], *connect)
            assert (refused.returncode, values(sandbox)) == (2, titles)
            assert f"{made} exists and was made with '--since 30d' --set " in refused.stderr
    again = command("run", "x.csv", *upper, "--yes", *connect)
    assert again.returncode == 0, again.stderr
    assert statuses(tmp_path / "x.report.csv") == {"updated": 5}
    # Made by a pull, or by hand: there are no rules in it.
    assert command("pull", "x.csv", "--since 30d", "--force", *connect).returncode == 2
    assert command("pull", "x.csv", "--since", "30d", "--force", *connect).returncode == 0
    assert not (tmp_path / "x.pull.json").exists()
    refused = command("run", "x.csv", *upper, "--yes", "--report", "y.csv", *connect)
    assert (refused.returncode, "made without --set" in refused.stderr) == (2, True)


def test_a_file_of_others_is_not_replaced_by_the_memory_of_a_pull(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """It has the name, but is another file: nothing is pulled."""
    sandbox = start_sandbox("--seed-incidents", "5", *QUICK)
    (tmp_path / "x.pull.json").write_text('{"mine": 1}')
    filters = ("--from-pull", "--since 30d", "--base-url", sandbox.url, *FAST)
    refused = command("run", "x.csv", "--yes", *filters)
    assert (refused.returncode, (tmp_path / "x.csv").exists()) == (2, False)
    assert "x.pull.json: not a file of --from-pull" in refused.stderr
    assert (tmp_path / "x.pull.json").read_text() == '{"mine": 1}'
