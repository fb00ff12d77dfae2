"""The folder for temporary files, where there is none."""

from __future__ import annotations

import tempfile

import pytest

from bulk_reset.core.errors import InputError
from bulk_reset.core.temporary_folder import temporary_folder


def test_no_temporary_folder_names_the_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container with a read-only file system may have no /tmp."""

    def missing() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", missing)
    with pytest.raises(InputError) as caught:
        temporary_folder()
    assert str(caught.value) == (
        "no folder for temporary files can be written. Set TMPDIR to a folder that this user can "
        "write."
    )
