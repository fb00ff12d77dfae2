"""With and without orjson and uvloop, the same bytes are sent and the same values are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import FAST, KEY, SandboxProcess, read_csv, run_python, write_sheet

from bulk_reset.core.json_codec import dumps, loads, loads_object

NO_EXTRAS = "import sys; sys.modules['orjson'] = sys.modules['uvloop'] = None; "
"""A module that is None in ``sys.modules`` cannot be imported, as if it were not installed."""


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text(max_size=40)))
def test_body_is_the_same_with_both_encoders(values: dict[str, str]) -> None:
    """What the API receives does not depend on installed extras."""
    values = {name: text.encode(errors="replace").decode() for name, text in values.items()}
    plain = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    assert dumps(values) == orjson.dumps(values) == plain


@pytest.mark.parametrize("content", [b'{"message":"half \\ud800"}', b'{"data":NaN}', b'{"a":1}'])
def test_response_is_parsed_like_json(content: bytes) -> None:
    """An unusual message does not make a response unreadable."""
    assert repr(loads(content)) == repr(json.loads(content))


@pytest.mark.parametrize(
    "text",
    [
        '{"title":"满了","impact":""}',
        '{"title":"half \\ud800"}',
        '{"labels.x":36893488147419103232}',
        '{"labels.x":1.50,"title":"a"}',
        '{"title":null}',
        '{"title":1,"title":"a"}',
        " {} ",
        "[]",
        "NaN",
    ],
)
def test_previous_values_are_parsed_like_json(text: str) -> None:
    """What an undo restores does not depend on installed extras."""
    assert repr(loads_object(text)) == repr(json.loads(text))


def test_invalid_json_raises_the_same_error() -> None:
    """A cut response raises the error that the client expects."""
    with pytest.raises(ValueError, match="Expecting"):
        loads(b'{"request_id":')
    with pytest.raises(ValueError, match="Extra data"):
        loads_object('{"title":"a"}}')


@pytest.mark.parametrize("is_fast", [True, False])
def test_run_works_with_and_without_extras(
    start_sandbox: Callable[..., SandboxProcess], tmp_path: Path, *, is_fast: bool
) -> None:
    """``bulk-reset[fast]`` only changes the speed."""
    sandbox = start_sandbox(*FAST, "--seed-incidents", "300")
    sheet = write_sheet(tmp_path / "sheet.csv", 300, title="磁盘 'full'")
    arguments = ["run", str(sheet), "--base-url", sandbox.url, *FAST, "--json"]
    program = (
        f"{'' if is_fast else NO_EXTRAS}import sys\n"
        f"sys.argv = ['bulk-reset', *{arguments!r}]\n"
        "import atexit\n"
        "has = lambda: [bool(sys.modules.get(name)) for name in ('orjson', 'uvloop')]\n"
        "atexit.register(lambda: print(has(), file=sys.stderr))\n"
        "from bulk_reset.cli import main\n"
        "main()\n"
    )
    done = run_python("-c", program, FLASHDUTY_APP_KEY=KEY)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, repr([is_fast] * 2))
    totals = json.loads(done.stdout)
    assert (totals["counts"]["updated"], totals["throttled"]) == (300, 0)
    assert {line["status"] for line in read_csv(tmp_path / "sheet.report.csv")} == {"updated"}
    assert sandbox.get("/_stats")["applied"] == 300
