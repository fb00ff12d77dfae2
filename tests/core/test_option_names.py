"""Options are named as the user sets them: on the command line, in a job file or in Python."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bulk_reset import check
from bulk_reset.core.defaults import OnConflict
from bulk_reset.core.errors import MissingColumnError
from bulk_reset.core.option_names import OptionStyle, name_options_as, option, option_name


@pytest.mark.parametrize(
    ("style", "flag", "with_value", "renamed"),
    [
        (OptionStyle.PYTHON, "skip_invalid=True", "encoding='cp1252'", "timeout_s"),
        (OptionStyle.COMMAND_LINE, "--skip-invalid", "--encoding cp1252", "--timeout"),
        (
            OptionStyle.JOB_FILE,
            "run.skip_invalid = true",
            'source.encoding = "cp1252"',
            "api.timeout",
        ),
    ],
)
def test_option_is_named_in_the_style_in_use(
    style: OptionStyle, flag: str, with_value: str, renamed: str
) -> None:
    """The name in a message can be typed where the option was set."""
    with name_options_as(style):
        assert option("skip_invalid") == flag
        assert option("encoding", "cp1252") == with_value
        assert option_name("timeout_s") == renamed
    assert option("skip_invalid") == "skip_invalid=True"


def test_value_is_quoted_for_the_shell() -> None:
    """A path with a space can be copied into a shell."""
    with name_options_as(OptionStyle.COMMAND_LINE):
        assert option("report", "my report.csv") == "--report 'my report.csv'"
        assert option("before", value=False) == "--no-before"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("retry_failed", "--retry-failed"),
        ("waits", "--no-wait"),
        ("report", "--state-dir"),
        ("overwrite", "run.overwrite = true"),
        ("sandbox", "api.sandbox = true"),
    ],
)
def test_an_option_without_a_job_key_is_named_as_a_flag(name: str, text: str) -> None:
    """A message about a job never names a key that a job file does not have."""
    with name_options_as(OptionStyle.JOB_FILE):
        assert option(name) == text


@pytest.mark.parametrize(
    ("style", "mapping", "policy", "force"),
    [
        (
            OptionStyle.PYTHON,
            "mapping={'field:my team': 'Team \"A\"'}",
            "on_conflict=OnConflict.LAST",
            "overwrite=True",
        ),
        (
            OptionStyle.COMMAND_LINE,
            "--map 'field:my team'='Team \"A\"'",
            "--on-conflict last",
            "--force",
        ),
        (
            OptionStyle.JOB_FILE,
            'columns."field:my team" = "Team \\"A\\""',
            'run.on_conflict = "last"',
            "--force",
        ),
    ],
)
def test_special_values_can_be_copied(
    style: OptionStyle, mapping: str, policy: str, force: str
) -> None:
    """Mappings, members of an Enum, and options with another name in Python."""
    with name_options_as(style):
        assert option("mapping", {"field:my team": 'Team "A"'}) == mapping
        assert option("on_conflict", OnConflict.LAST) == policy
        assert option("force") == force


def test_errors_of_the_command_line_name_its_options(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """The command's error can be copied; in Python the same error names the parameter."""
    (tmp_path / "x.csv").write_text("id,headline\na,b\n")
    done = command("check", "x.csv")
    assert "--map title='COLUMN NAME'." in done.stderr
    with pytest.raises(MissingColumnError, match=r"mapping=\{'title': 'COLUMN NAME'\}"):
        check(tmp_path / "x.csv")
