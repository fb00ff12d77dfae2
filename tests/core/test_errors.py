"""The errors: each can be pickled completely, and has its exit code."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import pytest

from bulk_reset.core import errors
from bulk_reset.core.errors import BulkResetError, ExitCode, RequestError
from bulk_reset.core.row_error import RowError
from bulk_reset.core.saved_plan import PlanFileError
from bulk_reset.jobs.job_files.job_file import JobFileError, JobFileProblem
from bulk_reset.jobs.schedule.claim_stores import ClaimStoreError
from bulk_reset.quota.permit_store import StoreUnreachableError
from bulk_reset.sheets.profile import Profile, ProfileError
from bulk_reset.sheets.toml_file import Problem, TomlFileError

ROW_ERROR = RowError(7, "Title", "too_long", "x" * 60, "201 characters", "shorten it")
REQUEST_KINDS = (
    errors.RequestError,
    errors.PermanentError,
    errors.TransientError,
    errors.ConnectError,
    errors.ThrottledError,
    errors.UnknownOutcomeError,
    errors.FatalError,
    errors.AccessError,
)
ERRORS: dict[type[BulkResetError], BulkResetError] = {
    **{
        kind: kind("no", code="C", http_status=418, request_id="R1", retry_after_s=2.5)
        for kind in REQUEST_KINDS
    },
    TomlFileError: TomlFileError("p.toml", {(): 2}, [Problem((), "not TOML. Fix it.")]),
    ProfileError: ProfileError(Profile(), [Problem(("columns", "title"), "twice. Remove one.")]),
    errors.MissingColumnError: errors.MissingColumnError("title", ("ID", "Name"), "a.csv"),
    errors.InvalidRowsError: errors.InvalidRowsError("a.csv", (ROW_ERROR, ROW_ERROR), 9),
    JobFileError: JobFileError(
        "a.toml", [JobFileProblem(5, "run.canary", "too small"), JobFileProblem(1, "", "x")]
    ),
    **{
        kind: kind("where: what. What to do.")
        for kind in (
            errors.BulkResetError,
            errors.InputError,
            errors.SheetError,
            errors.SheetChangedError,
            errors.IncompleteSheetError,
            PlanFileError,
            StoreUnreachableError,
            ClaimStoreError,
            errors.NoRowsError,
            errors.SheetChangedError,
            errors.IncompleteSheetError,
            errors.CredentialsError,
            errors.RunError,
            errors.UnansweredError,
            errors.LockedError,
            errors.StoppedError,
            errors.InternalError,
        )
    },
}


def family(kind: type[BulkResetError]) -> Iterator[type[BulkResetError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def test_every_error_of_the_package_is_in_this_table() -> None:
    """A new error must be tested like the others."""
    of_commands = {kind for kind in family(BulkResetError) if ".cli." in kind.__module__}
    assert set(family(BulkResetError)) - of_commands == set(ERRORS)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("carry", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])  # noqa: S301  (our own)
def test_pickled_error_keeps_its_text_and_facts(kind, carry) -> None:  # noqa: ANN001
    """A process pool or a task queue receives the error that was raised."""
    error = ERRORS[kind]
    arrived = carry(error)
    assert (type(arrived), str(arrived), arrived.args) == (kind, str(error), error.args)
    assert vars(arrived) == vars(error)


EXIT_CODES = {
    errors.InputError: ExitCode.INPUT,
    errors.SheetError: ExitCode.INPUT,
    TomlFileError: ExitCode.INPUT,
    ProfileError: ExitCode.INPUT,
    errors.SheetChangedError: ExitCode.INPUT,
    errors.IncompleteSheetError: ExitCode.INPUT,
    PlanFileError: ExitCode.INPUT,
    errors.NoRowsError: ExitCode.INPUT,
    errors.SheetChangedError: ExitCode.INPUT,
    errors.IncompleteSheetError: ExitCode.INPUT,
    JobFileError: ExitCode.INPUT,
    errors.MissingColumnError: ExitCode.INPUT,
    errors.InvalidRowsError: ExitCode.INPUT,
    errors.CredentialsError: ExitCode.INPUT,
    errors.RunError: ExitCode.STOPPED,
    errors.UnansweredError: ExitCode.STOPPED,
    StoreUnreachableError: ExitCode.STOPPED,
    ClaimStoreError: ExitCode.STOPPED,
    errors.StoppedError: ExitCode.STOPPED,
    errors.LockedError: ExitCode.LOCKED,
}


def test_every_error_has_its_documented_exit_code() -> None:
    """Errors that can reach a caller have a code; the others are internal."""
    assert {kind: kind.exit_code for kind in ERRORS} == {
        kind: EXIT_CODES.get(kind, ExitCode.INTERNAL) for kind in ERRORS
    }


def test_exit_codes_are_the_documented_numbers() -> None:
    """Scripts compare numbers, so a number never changes."""
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0,
        "NOT_ALL": 1,
        "INPUT": 2,
        "STOPPED": 3,
        "LOCKED": 4,
        "CHANGES": 5,
        "INTERNAL": 70,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
        "HUNG_UP": 129,
    }


def test_request_error_has_its_next_step() -> None:
    """Each kind answers: try again? may it be applied already?"""
    assert {kind: (kind.is_retryable, kind.may_be_applied) for kind in family(RequestError)} == {
        errors.RequestError: (False, False),
        errors.PermanentError: (False, False),
        errors.FatalError: (False, False),
        errors.AccessError: (False, False),
        errors.TransientError: (True, False),
        errors.ConnectError: (True, False),
        errors.ThrottledError: (True, False),
        errors.UnknownOutcomeError: (True, True),
    }


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            errors.MissingColumnError("title", ("ID", "Name"), "a.csv"),
            (
                "a.csv: no column for title; the header has 'ID', 'Name'. "
                "Rename the column, or use mapping={'title': 'COLUMN NAME'}."
            ),
        ),
        (
            errors.MissingColumnError("title", (), "a.csv", "Add it."),
            "a.csv: no column for title; the header has no names. Add it.",
        ),
        (
            errors.InvalidRowsError("a.csv", (ROW_ERROR, ROW_ERROR), 9),
            (
                "a.csv: 1 of 9 rows is invalid; nothing was sent. "
                "Fix it, or use skip_invalid=True to send the other rows."
            ),
        ),
    ],
)
def test_error_states_where_what_and_how_to_fix_it(error: BulkResetError, text: str) -> None:
    """The text contains the next step."""
    assert str(error) == text
