"""Sessions of documents are refreshed: commands stay, outputs are replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from documents import comparable, refresh

DOCUMENT = """# Title

```console
$ echo one \\
  two
old
$ echo 303 requests in 6.2 s
303 requests in 9.9 s
```

```python
print("new")
```

```text
old
```

```sh
echo this is not run
```
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(DOCUMENT, encoding="utf-8")
    return path


def new_folders(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    return folders


def test_an_old_output_is_replaced_and_one_with_other_times_is_kept(
    document: Path, tmp_path: Path
) -> None:
    """A document changes where the program has changed, and nowhere else."""
    folders = iter(new_folders(tmp_path))
    text, problems = refresh(document, lambda: next(folders))
    expected = DOCUMENT.replace("  two\nold\n", "  two\none two\n")
    assert problems == []
    assert text == expected.replace("```text\nold\n", "```text\nnew\n")


@pytest.mark.parametrize("command", ["bulk-reset nonsense", "no-such-command", "python missing.py"])
def test_a_broken_command_is_reported_and_its_session_kept(
    command: str, document: Path, tmp_path: Path
) -> None:
    """A typing error in a document does not end up as its output."""
    old = DOCUMENT.replace("echo one \\\n  two", command)
    document.write_text(old, encoding="utf-8")
    folders = iter(new_folders(tmp_path))
    text, problems = refresh(document, lambda: next(folders))
    assert len(problems) == 1
    assert f"$ {command}" in problems[0]
    assert text == old.replace("```text\nold\n", "```text\nnew\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("303 requests in 6.2 s, 49.2 a second", "303 requests in 1 min 6 s, 4.9 a second"),
        ("Most in any 1 s: 50 (limit 50)", "Most in any 1 s: 9 (limit 50)"),
        ("Run: state/runs/20261128T093938Z-a", "Run: state/runs/20270301T000000Z-a"),
        ("  took\n ──────\n  0.8 s", "  took\n ───────\n  12.8 s"),
        (
            "    Thu 2026-11-26 02:30 CET (01:30 UTC), starts 02:39:42, stops Thu 06:00",
            "    Mon 2027-06-28 02:30 CEST (00:30 UTC), starts 02:31:02, stops Mon 06:00",
        ),
        ("5.0 s: 221 of 300 rows, 1.6 s left\ndone", "done\n\n"),
        ('{"at": "2026-11-28T09:40:06.724Z"}', '{"at": "2027-01-28T09:40:06.7Z"}'),
        ('{"run_id": "22ab", "rows_per_s": 31.6}', '{"run_id": "9", "rows_per_s": 2.0}'),
    ],
)
def test_outputs_that_differ_in_times_are_the_same(one: str, other: str) -> None:
    """Times, rates, run ids and lines of progress differ from run to run."""
    assert comparable(one) == comparable(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("303 requests in 6.2 s", "304 requests in 6.2 s"),
        ("Most requests started in any 60 s: 77", "Most requests started in any 60 s: 78"),
        ("exit code 0", "exit code 1"),
        ("  a", "a"),
    ],
)
def test_outputs_that_differ_in_facts_are_not_the_same(one: str, other: str) -> None:
    """Counts, codes and the layout of lines without times are compared exactly."""
    assert comparable(one) != comparable(other)
