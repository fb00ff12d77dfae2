"""Run bulk-reset and measure its sending alone: ``python send_profile.py WAY ARGUMENT...``.

The arguments are those of ``bulk-reset``. WAY is ``fast``, ``plain`` (uvloop and orjson are
hidden), or either with ``-profile``, which also prints the time of each function.

It prints one JSON line: ``seconds`` and ``cpu_s`` of the sending, without the start, the check of
the sheet and the end of the program, and ``functions``: module, function -> calls and own seconds.
A profile is that of one thread; ``writing_s`` is the time of the one that writes previous values.
"""

from __future__ import annotations

import contextlib
import cProfile
import io
import json
import pstats
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

Facts = dict[str, Any]
_PROFILE: Final = "-profile"


def _measured(facts: Facts, *, is_profiled: bool) -> None:
    """Replace the functions that send and that keep previous values by ones that measure."""
    from bulk_reset.engine.run_sender import RunSender, SendResult  # noqa: PLC0415
    from bulk_reset.records.previous_values import (  # noqa: PLC0415
        PreviousValues,
        PreviousValuesFile,
    )

    append = PreviousValuesFile.append

    def measured_append(self: PreviousValuesFile, rows: Iterable[PreviousValues]) -> None:
        started_s = time.thread_time()
        append(self, rows)
        facts["writing_s"] = facts.get("writing_s", 0.0) + time.thread_time() - started_s

    PreviousValuesFile.append = measured_append  # type: ignore[method-assign]
    send = RunSender.send

    async def measured(self: RunSender, *, handles_signals: bool) -> SendResult:
        profile = cProfile.Profile(time.process_time) if is_profiled else None
        started_s, cpu_s = time.perf_counter(), time.process_time()
        if profile is not None:
            profile.enable()
        try:
            return await send(self, handles_signals=handles_signals)
        finally:
            if profile is not None:
                profile.disable()
                facts["functions"] = _functions(profile)
            facts["seconds"] = facts.get("seconds", 0.0) + time.perf_counter() - started_s
            facts["cpu_s"] = facts.get("cpu_s", 0.0) + time.process_time() - cpu_s

    RunSender.send = measured  # type: ignore[method-assign]


def _functions(profile: cProfile.Profile) -> list[tuple[str, str, int, float]]:
    """Return module, function, calls and own seconds of each function."""
    stats = pstats.Stats(profile, stream=io.StringIO())
    return [
        (file, name, calls, own_s)
        for (file, _, name), (_, calls, own_s, _, _) in stats.stats.items()  # type: ignore[attr-defined]
    ]


def main() -> None:
    """Run as bulk-reset and print the measurements."""
    way = sys.argv.pop(1)
    if way.startswith("plain"):
        # None makes an import fail, as if the package were not installed.
        sys.modules["uvloop"] = sys.modules["orjson"] = None  # type: ignore[assignment]
    # As `python -c` does: the checkout from which the benchmarks are started.
    sys.path[0] = str(Path.cwd())
    from bulk_reset.cli import main as program  # noqa: PLC0415

    facts: Facts = {}
    _measured(facts, is_profiled=way.endswith(_PROFILE))
    code: object = 0
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            program()
        except SystemExit as end:
            code = end.code
    sys.stdout.write(f"{json.dumps(facts)}\n")
    sys.exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
