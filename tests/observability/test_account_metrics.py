"""Metrics of accounts: the same names in a run's file and in a schedule's answer."""

from __future__ import annotations

from bulk_reset.observability.account_metrics import account_families
from bulk_reset.quota.account_use import AccountUse, RunUse, WindowUse

USE = AccountUse(
    (WindowUse(1.0, 50, 12, 20), WindowUse(60.0, 1000, 812, 20)),
    (RunUse("十月.xlsx", "host", 7, 60.0, "high", False, 20, 4_000, 9.5, 3, 0.1),),
    rejected=5,
    losses=2,
    closed_s=40.0,
)


def numbers(uses: dict[str, AccountUse | None]) -> dict[tuple[str, ...], float]:
    """Return the samples by name and labels."""
    return {
        (sample.name.removeprefix("bulk_reset_account_"), *sample.labels.values()): sample.value
        for family in account_families(uses)
        for sample in family.samples
    }


def test_an_account_is_numbers_by_window() -> None:
    """A run's file has no job; its windows are told apart."""
    assert numbers({"": USE}) == {
        ("store_up",): 1.0,
        ("runs",): 1.0,
        ("rejected_requests",): 5.0,
        ("store_losses",): 2.0,
        ("closed_seconds",): 40.0,
        ("used_requests", "1s"): 12.0,
        ("used_requests", "60s"): 812.0,
        ("held_permits", "1s"): 20.0,
        ("held_permits", "60s"): 20.0,
        ("limit_requests", "1s"): 50.0,
        ("limit_requests", "60s"): 1000.0,
    }


def test_a_store_that_does_not_answer_is_down_and_has_no_numbers() -> None:
    """An alert on it works; no old number is shown as that of now."""
    found = numbers({"nightly": USE, "weekly": None})

    assert found["store_up", "nightly"], found
    assert {key: value for key, value in found.items() if "weekly" in key} == {
        ("store_up", "weekly"): 0.0
    }
