"""Options are named as the user sets them: on the command line, in a job file or in Python."""

from __future__ import annotations

import pytest

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
