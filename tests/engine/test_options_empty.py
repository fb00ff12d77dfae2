"""An empty option is an error, wherever options come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_reset import Options
from bulk_reset.core.errors import InputError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_url", ""),
        ("base_url", " "),
        ("report", ""),
        ("app_key_file", ""),
        ("sandbox_state", ""),
        ("encoding", ""),
        ("sheet_name", ""),
        ("delimiter", ""),
        ("mapping", {"title": " "}),
    ],
)
def test_an_empty_option_is_refused(name: str, value: object) -> None:
    """An empty address must not be replaced by that of the production API."""
    with pytest.raises(InputError) as caught:
        Options(**{name: value})
    assert str(caught.value) == f"{name}: is empty. Set a value, or leave it out."


def test_a_path_that_is_a_folder_is_not_an_empty_one() -> None:
    """The current folder has a name."""
    assert Options(report=Path()).report == Path()
