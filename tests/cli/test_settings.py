"""Defaults from the configuration file and from variables, and what is refused in them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import write_sheet

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Check = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "config" / "bulk-reset" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def with_config(command: Command, config_file: Path) -> Command:
    """Run the command with the configuration file of this test."""
    folder = str(config_file.parent.parent)
    return lambda *words, **more: command(*words, key=None, XDG_CONFIG_HOME=folder, **more)


def origins(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    """Return command and option -> its value and where it comes from."""
    options = json.loads(done.stdout)["options"]
    return {f"{one['command']} {one['option']}": (one["value"], one["source"]) for one in options}


def test_the_command_line_wins_then_a_variable_then_the_file(
    with_config: Command, config_file: Path, tmp_path: Path
) -> None:
    """A sheet of 100 rows, with the limit per second from each of the places."""
    write_sheet(tmp_path / "incidents.csv", 100)
    config_file.write_text("[common]\nper_second = 10\n[plan]\nper_second = 2\n")
    common = {"BULK_RESET_PER_SECOND": "20"}
    own = {"BULK_RESET_CHECK_PER_SECOND": "25"}
    times = {
        "file": with_config("check", "incidents.csv"),
        "variable": with_config("check", "incidents.csv", **common),
        "own variable": with_config("check", "incidents.csv", **common, **own),
        "option": with_config("check", "incidents.csv", "--per-second", "50", **common, **own),
    }
    lines = {name: done.stdout.splitlines()[2] for name, done in times.items()}
    assert lines == {
        "file": "100 requests take at least 9.9 s.",
        "variable": "100 requests take at least 5.0 s.",
        "own variable": "100 requests take at least 4.0 s.",
        "option": "100 requests take at least 2.0 s.",
    }


def test_config_shows_where_each_default_comes_from(
    with_config: Command, config_file: Path
) -> None:
    """The line of the file, or the variable; the key of an option may have dashes."""
    config_file.write_text('[run]\nmax-rows = 5\nmap = ["title=T"]\n\n[job.run]\nquiet = true\n')
    done = with_config("config", "--json", BULK_RESET_SHARE="0.5", BULK_RESET_SHRE="1")
    assert done.returncode == 0, done.stderr
    found = origins(done)
    assert found["run --max-rows"] == ("5", f"{config_file}:2")
    assert found["run --map"] == ("title=T", f"{config_file}:3")
    assert found["job run --quiet"] == ("true", f"{config_file}:6")
    assert found["undo --share"] == ("0.5", "BULK_RESET_SHARE")
    assert json.loads(done.stdout)["unknown_variables"] == ["BULK_RESET_SHRE"]
    everything = origins(with_config("config", "--all", "--json"))
    assert everything["run --workers"] == ("64", "default")
    assert with_config("config", "--path").stdout == f"{config_file}\n"


def test_the_sandbox_server_does_not_take_the_common_quota(
    with_config: Command, config_file: Path
) -> None:
    """Its quota is emulated: [common] is for the quota of the account."""
    config_file.write_text("[common]\nper_second = 10\n")
    assert "sandbox --per-second" not in origins(with_config("config", "--json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run]\nworkrs = 3\n", "2: workrs is not an option of [run]. Use workers."),
        ("[common]\n\nwhole_word = 3\n", "3: whole_word is not an option of [common]."),
        ("[rnu]\nworkers = 3\n", "2: [rnu] is not a command. Use [run]."),
        ("workers = 3\n", "1: workers is in no table. Put it under [common]"),
        ('[common]\nbase_url = ""\n', "2: base_url is empty. Set a value, or remove the line."),
        ('[run]\nworkers = "many"\n', "2: workers = many: not a whole number. Use for example 64."),
        ("[common]\napp_key = 3\n", "2: app_key is not an option of [common]. Use app_key_file."),
    ],
)
def test_a_wrong_line_of_the_file_is_refused(
    text: str, message: str, with_config: Command, config_file: Path, tmp_path: Path
) -> None:
    """The error has the line and a near match, and nothing is sent."""
    write_sheet(tmp_path / "incidents.csv", 1)
    config_file.write_text(text)
    done = with_config("run", "incidents.csv", "--sandbox")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {config_file}:{message}")
    assert done.stderr.endswith("\nMore: bulk-reset docs options\n")
    assert with_config("run", "--help").returncode == 0


def test_a_file_that_is_not_toml_is_refused(with_config: Command, config_file: Path) -> None:
    """The parser's place is in the error."""
    config_file.write_text("[run\n")
    done = with_config("config")
    assert (done.returncode, "(at line 1, column 5)" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["BULK_RESET_BASE_URL", "BULK_RESET_RUN_BASE_URL"])
def test_an_empty_variable_is_refused_by_name(name: str, command: Command, tmp_path: Path) -> None:
    """It is never replaced by the address of the API."""
    write_sheet(tmp_path / "incidents.csv", 1)
    done = command("run", "incidents.csv", **{name: ""})
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {name}: is empty. Set a value, or unset the variable.\n"
        "More: bulk-reset docs options\n"
    )


def test_a_wrong_variable_is_refused_by_name(command: Command, tmp_path: Path) -> None:
    """The message names the variable, not the option."""
    write_sheet(tmp_path / "incidents.csv", 1)
    done = command("run", "incidents.csv", BULK_RESET_WORKERS="many")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: BULK_RESET_WORKERS=many: not a whole number. Use for example 64.\n"
    )


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["run", "x.csv", "--base-url", ""], "--base-url"),
        (["run", "x.csv", "--base-url="], "--base-url"),
        (["run", "x.csv", "--sandbox-state", ""], "--sandbox-state"),
        (["run", "x.csv", "--account", ""], "--account"),
        (["run", ""], "SHEET"),
        (["job", "run", "x.toml", "--run", ""], "--run"),
    ],
)
def test_an_empty_text_on_the_command_line_is_refused(
    words: list[str], name: str, command: Command
) -> None:
    """It is never replaced by a default."""
    done = command(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {name}: is empty. Set a value, or leave the ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["run", "x.csv", "--workers", "many"],
            "--workers many: not a whole number. Use for example 64.",
        ),
        (
            ["run", "x.csv", "--workers", "1.5"],
            "--workers 1.5: not a whole number. Use for example 64.",
        ),
        (
            ["run", "x.csv", "--limit", "a b"],
            "--limit 'a b': not a whole number. Use for example 10.",
        ),
        (["run", "x.csv", "--timeout", "1,5"], "--timeout 1,5: not a number. Use for example 30."),
        (
            ["check", "x.csv", "--on-conflict", "maybe"],
            "--on-conflict maybe: not one of its values. Use error, last or in-order.",
        ),
        (["completion", "tcsh"], "tcsh: not one of its values. Use bash, zsh or fish."),
        (["sandbox", "--port", "99999999"], "--port 99999999: must be 65535 or less."),
        (["sandbox", "--port", "-1"], "--port -1: must be 0 or more."),
    ],
)
def test_a_wrong_value_on_the_command_line_is_named(
    words: list[str], message: str, command: Command
) -> None:
    """With what is wrong and what to use, not in the words of a library."""
    done = command(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {message}\nMore: bulk-reset docs options\n"


def test_a_wrong_switch_of_a_variable_is_named(command: Command) -> None:
    """A switch is true or false."""
    done = command("run", "x.csv", BULK_RESET_RUN_YES="maybe")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: BULK_RESET_RUN_YES=maybe: neither true nor false. Use true or false.\n"
    )
