"""Two runs of one account at the same time, over the same incidents."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from programs import KEY, SandboxProcess, read_csv, seed_id

from bulk_reset import Callbacks, Options, run

ROWS = 120
"""More than a batch, so that claims of two batches overlap."""


@pytest.mark.slow
def test_the_later_run_reads_what_the_earlier_wrote(
    start_sandbox: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each incident, one run saw the seeded title and the other saw the first run's title."""
    assert callable(start_sandbox)
    sandbox: SandboxProcess = start_sandbox("--seed-incidents", str(ROWS), "--latency", "0.05")
    monkeypatch.setenv("FLASHDUTY_APP_KEY", KEY)
    notices: list[str] = []

    def send(name: str) -> tuple[int, ...]:
        sheet = tmp_path / f"{name}.csv"
        lines = [f"{seed_id(n)},{name} {n}" for n in range(1, ROWS + 1)]
        sheet.write_text("\n".join(["incident_id,title", *lines]), encoding="utf-8")
        totals = run(sheet, Options(base_url=sandbox.url), Callbacks(on_notice=notices.append))
        return totals.counts["updated"], totals.throttled

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(send, ("first", "第二")))

    before = {
        name: {
            row["incident_id"]: row["title"] for row in read_csv(tmp_path / f"{name}.before.csv")
        }
        for name in ("first", "第二")
    }
    seen = [{before[name][seed_id(n)] for name in before} for n in range(1, ROWS + 1)]
    assert results == [(ROWS, 0)] * 2
    assert [len(titles & {f"first {n}", f"第二 {n}"}) for n, titles in enumerate(seen, 1)] == [
        1
    ] * ROWS
    assert notices.count("another run updates the same incidents; waiting for its rows") >= 1
