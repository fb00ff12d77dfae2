"""Metrics of accounts: who uses them now, and how much of their quota. All are gauges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from bulk_reset.quota.account_use import AccountUse

_TEXTS: Final = {
    "runs": "Runs that use the account now.",
    "rejected_requests": "Requests of all its runs that the API rejected (HTTP 429).",
    "store_losses": "How often the store of the permits has lost its memory.",
    "closed_seconds": "For how long nothing starts because of that.",
}


def account_families(uses: Mapping[str, AccountUse | None]) -> Iterator[Metric]:
    """Yield the metrics of accounts, by the job that uses each.

    Args:
        uses: job -> its account; None where the store does not answer; no label for an empty job.
    """
    names = ["job"] if any(uses) else []
    found = [([job] if names else [], use) for job, use in uses.items()]
    known = [(labels, use) for labels, use in found if use is not None]
    answers = [(labels, float(use is not None)) for labels, use in found]
    yield _gauge("store_up", "1 if the store of the permits answers, else 0.", names, answers)
    for name, text in _TEXTS.items():
        values = [(labels, float(_number(name, use))) for labels, use in known]
        yield _gauge(name, text, names, values)
    for name, text in (
        ("used_requests", "Requests that count within a window."),
        ("held_permits", "Permits that runs have within a window."),
        ("limit_requests", "The limit of a window."),
    ):
        attribute = name.partition("_")[0]
        windows = [
            ([*labels, f"{one.window_s:g}s"], float(getattr(one, attribute)))
            for labels, use in known
            for one in use.windows
        ]
        yield _gauge(name, text, [*names, "window"], windows)


def _number(name: str, use: AccountUse) -> float:
    numbers = {
        "runs": len(use.runs),
        "rejected_requests": use.rejected,
        "store_losses": use.losses,
        "closed_seconds": use.closed_s,
    }
    return numbers[name]


def _gauge(
    name: str, text: str, labels: list[str], values: Iterable[tuple[list[str], float]]
) -> Metric:
    family = GaugeMetricFamily(f"bulk_reset_account_{name}", text, labels=labels)
    for own, value in values:
        family.add_metric(own, value)
    return family
