"""A job as its file says it: one TOML file, whose tables are those of ``job_tables``.

``job_file`` reads it, and says on which line a mistake is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from bulk_reset.core.defaults import OnConflict
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.engine.options import Options
from bulk_reset.jobs.job_tables import (
    Api,
    Limits,
    Notify,
    ReportPlace,
    RunWays,
    ScheduleTable,
    Section,
    Source,
)
from bulk_reset.jobs.value_types import Some
from bulk_reset.sheets.columns import field_named
from bulk_reset.workflows.edit_rules import Rules


class JobKeyError(ValueError):
    """What is wrong with one key of a table that takes any.

    Attributes:
        key: the key.
    """

    def __init__(self, key: str, problem: str) -> None:
        self.key = key
        super().__init__(problem)


class Job(Section):
    """A job file, checked.

    Attributes:
        path: the file; other paths in it are relative to its folder.
    """

    path: Path
    description: str = ""
    source: Source
    columns: dict[str, Some] = Field(default_factory=dict)
    set: dict[str, Some] = Field(default_factory=dict)
    run: RunWays = RunWays()
    limits: Limits = Limits()
    api: Api = Api()
    report: ReportPlace = ReportPlace()
    notify: Notify | None = None
    schedule: ScheduleTable | None = None

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def beside(self, place: str) -> Path:
        """Return a path as the job means it: from its own folder."""
        return self.path.parent / Path(place).expanduser()

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, told: Mapping[str, str]) -> Mapping[str, str]:
        _check_fields(told, "the name of its column")
        return told

    @field_validator("set")
    @classmethod
    def _check_set(cls, told: Mapping[str, str]) -> Mapping[str, str]:
        _check_fields(told, "a template")
        for name, template in told.items():
            if field_named(name) == ID_FIELD:
                raise JobKeyError(name, "an incident's id cannot be set. Leave it out.")
            try:
                Rules.of(rules_of({name: template}))
            except InputError as exc:
                problem = str(exc).partition(f" {name}: ")[2] or str(exc)
                raise JobKeyError(name, problem) from None
        if len({field_named(name) for name in told}) < len(told):
            raise ValueError("sets one field twice. Say it once.")
        return told

    @model_validator(mode="after")
    def _check_together(self) -> Job:
        if self.source.pull is None and self.set:
            problem = "edits what is pulled, and the source is a sheet. Leave it out."
            raise JobKeyError("set", problem)
        if self.source.pull is not None and self.columns:
            raise JobKeyError("columns", "is for sheets, and this is a pull. Leave it out.")
        if self.source.pull is not None and not self.set:
            problem = "this table is missing. Say in it what is to become of what is pulled."
            raise JobKeyError("set", problem)
        return self

    def options(self, report: Path, deadline_at: float | None) -> Options:
        """Return how the run is wanted.

        Args:
            deadline_at: when it stops, UTC epoch seconds.

        Raises:
            InputError: it cannot be meant.
        """
        source, ways, api = self.source, self.run, self.api
        return Options(
            mapping=dict(self.columns),
            delimiter=source.delimiter,
            encoding=source.encoding,
            sheet_name=source.worksheet,
            header_row=source.header_row,
            on_conflict=OnConflict(ways.on_conflict),
            skip_invalid=ways.skip_invalid,
            app_key_file=self.beside(api.app_key_file) if api.app_key_file else None,
            base_url=api.base_url,
            sandbox=api.sandbox,
            account=api.account,
            per_second=api.per_second,
            per_minute=api.per_minute,
            share=api.share,
            timeout_s=api.timeout,
            attempts=api.attempts,
            patience_s=api.patience,
            max_failures=self.limits.max_failures,
            max_rows=self.limits.max_rows,
            report=report,
            before=ways.before,
            overwrite=ways.overwrite,
            canary=ways.canary,
            verify=ways.verify,
            sandbox_state=self.beside(api.sandbox_state) if api.sandbox_state else None,
            deadline_at=deadline_at,
        )

    def connect(self) -> list[str]:
        """Return the options with which other commands reach the same API."""
        api = self.api
        told = {
            "--app-key-file": str(self.beside(api.app_key_file)) if api.app_key_file else "",
            "--base-url": api.base_url or "",
            "--account": api.account,
            "--sandbox-state": str(self.beside(api.sandbox_state)) if api.sandbox_state else "",
        }
        return [word for pair in told.items() if pair[1] for word in pair]

    def rules(self) -> list[str]:
        """Return what is to be set, as ``pull`` takes it."""
        return rules_of(self.set)


def rules_of(told: Mapping[str, str]) -> list[str]:
    """Return ``[set]`` as rules: ``FIELD=TEMPLATE``."""
    return [f"{name}={template}" for name, template in told.items()]


def _check_fields(told: Mapping[str, str], what: str) -> None:
    for name in told:
        if field_named(name) is None:
            raise JobKeyError(
                name,
                "no such field. There may be title, description, impact, root_cause, resolution, "
                f"incident_severity, 'field:NAME' and comment, each with {what}.",
            )
