"""A job: the contents of one job file, validated.

Its tables are the classes of ``job_schema``. ``job_file`` reads it, and reports each error with
its line.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from bulk_reset.core.defaults import OnConflict
from bulk_reset.engine.options import Options
from bulk_reset.jobs.job_files.job_schema import (
    Api,
    JobTable,
    Limits,
    Notify,
    ReportSettings,
    RunSettings,
    ScheduleTable,
    Source,
)
from bulk_reset.jobs.job_files.job_value_types import PositiveDuration, Text
from bulk_reset.jobs.job_files.template_check import rules_of, template_problem
from bulk_reset.sheets.columns import field_named


class JobKeyError(ValueError):
    """Errors in keys of a table that takes any keys.

    Attributes:
        problems: key -> problem, of at least one key.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(self.problems.values()))


class Job(JobTable):
    """A valid job file.

    Attributes:
        path: the file; other paths in it are relative to its folder.
    """

    path: Path
    description: str = ""
    keep: PositiveDuration | None = None
    source: Source
    columns: dict[str, Text] = Field(default_factory=dict)
    set: dict[str, Text] = Field(default_factory=dict)
    run: RunSettings = RunSettings()
    limits: Limits = Limits()
    api: Api = Api()
    report: ReportSettings = ReportSettings()
    notify: Notify | None = None
    schedule: ScheduleTable | None = None

    @property
    def name(self) -> str:
        """The file's name without ``.toml``."""
        return self.path.stem

    @property
    def zone(self) -> dt.tzinfo | None:
        """The time zone of the schedule; None without a schedule."""
        return zoneinfo.ZoneInfo(self.schedule.time_zone) if self.schedule else None

    def beside(self, place: str) -> Path:
        """Return a path of the job file, which is relative to the file's folder."""
        return self.path.parent / Path(place).expanduser()

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: Mapping[str, str]) -> Mapping[str, str]:
        if problems := _unknown_fields(columns, "the name of its column"):
            raise JobKeyError(problems)
        return columns

    @field_validator("set")
    @classmethod
    def _check_set(cls, templates: Mapping[str, str]) -> Mapping[str, str]:
        problems = _unknown_fields(templates, "a template")
        for name in templates.keys() - problems.keys():
            if problem := template_problem(name, templates[name]):
                problems[name] = problem
        if problems:
            raise JobKeyError(problems)
        if len({field_named(name) for name in templates}) < len(templates):
            raise ValueError("sets the same field twice. Remove one of the keys.")
        return templates

    @model_validator(mode="after")
    def _check_together(self) -> Job:
        if self.source.pull is not None and self.run.approved_by:
            problem = "allowed only with a saved plan; the source is a pull. Remove this key."
            raise JobKeyError({"run": f"approved_by: {problem}"})
        if self.source.pull is None and self.set:
            problem = "allowed only with [source.pull]; the source is a sheet. Remove this table."
            raise JobKeyError({"set": problem})
        if self.source.pull is not None and self.columns:
            problem = "allowed only with a sheet; the source is a pull. Remove this table."
            raise JobKeyError({"columns": problem})
        if self.source.pull is not None and not self.set:
            problem = "this table is missing. Add a template for each field to update."
            raise JobKeyError({"set": problem})
        return self

    def options(self, report: Path, deadline_at: float | None) -> Options:
        """Return the options of a run.

        Args:
            deadline_at: when it stops, UTC epoch seconds.

        Raises:
            InputError: an option is invalid.
        """
        source, run, api = self.source, self.run, self.api
        return Options(
            mapping=dict(self.columns),
            delimiter=source.delimiter,
            encoding=source.encoding,
            sheet_name=source.worksheet,
            header_row=source.header_row,
            profile=self.beside(source.profile) if source.profile else None,
            rules=self.beside(source.rules) if source.rules else None,
            on_conflict=OnConflict(run.on_conflict),
            skip_invalid=run.skip_invalid,
            app_key_file=self.beside(api.app_key_file) if api.app_key_file else None,
            base_url=api.base_url,
            sandbox=api.sandbox,
            account=api.account,
            per_second=api.per_second,
            per_minute=api.per_minute,
            share=api.share,
            priority=api.priority,
            quota_store=api.quota_store,
            timeout_s=api.timeout,
            attempts=api.attempts,
            patience_s=api.patience,
            max_failures=self.limits.max_failures,
            max_rows=self.limits.max_rows,
            max_change=self.limits.max_change,
            max_critical=self.limits.max_critical,
            report=report,
            before=run.before,
            overwrite=run.overwrite,
            mute_reply=run.mute_reply,
            canary=run.canary,
            verify=run.verify,
            note=run.note,
            approved_by=tuple(run.approved_by),
            allowed_signers=self.beside(run.allowed_signers) if run.allowed_signers else None,
            hmac_key_file=self.beside(run.hmac_key_file) if run.hmac_key_file else None,
            allow_own_approval=run.allow_own_approval,
            sandbox_state=self.beside(api.sandbox_state) if api.sandbox_state else None,
            deadline_at=deadline_at,
        )

    def connection_options(self) -> list[str]:
        """Return the options with which other commands reach the same API."""
        api = self.api
        options = {
            "--app-key-file": str(self.beside(api.app_key_file)) if api.app_key_file else "",
            "--base-url": api.base_url or "",
            "--account": api.account,
            "--quota-store": api.quota_store or "",
            "--sandbox-state": str(self.beside(api.sandbox_state)) if api.sandbox_state else "",
        }
        return [word for pair in options.items() if pair[1] for word in pair]

    def rules(self) -> list[str]:
        """Return ``[set]`` as ``pull`` takes it."""
        return rules_of(self.set)


def _unknown_fields(table: Mapping[str, str], value: str) -> dict[str, str]:
    """Return the keys that are no fields, each with its problem."""
    problem = (
        "no such field. Allowed are title, description, impact, root_cause, resolution, "
        f"incident_severity, 'field:NAME', action and comment, each with {value}."
    )
    return {name: problem for name in table if field_named(name) is None}
