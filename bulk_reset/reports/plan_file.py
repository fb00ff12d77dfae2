"""A plan as a file that replaces an older one only when it is complete.

Place in the flow: after planning, before anything is sent. Rows are written as they come, so
memory does not grow with them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from bulk_reset.core.atomic_file import AtomicFile
from bulk_reset.core.plan import PlanTotals, RowPlan
from bulk_reset.reports.own_files import refuse_other
from bulk_reset.sheets.workbooks.streaming_workbook import writing_errors


class PlanFile(ABC):
    """A plan on its way into a file; a context manager.

    ``add`` each row, then ``finish``. A block that ends without ``finish`` leaves no file, and an
    older plan unchanged.
    """

    def __init__(self, path: Path, like: Path | None = None) -> None:
        """Name the file.

        Args:
            like: the sheet; the plan gets no more permissions.
        """
        self.path, self._like = path, like
        self._fresh: AtomicFile

    def __enter__(self) -> Self:
        """Create a temporary file beside the final name.

        Raises:
            InputError: it cannot be written there, or a file of that name is not a plan; it is
                unchanged.
        """
        refuse_other(self.path, self._is_own, "plan")
        with self._writing():
            self._fresh = AtomicFile(self.path, self._like)
            try:
                self._begin()
            except BaseException:
                self._fresh.discard()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._fresh.discard()

    @abstractmethod
    def add(self, row: RowPlan) -> None:
        """Write a row.

        Raises:
            InputError: the disk is full or not available.
        """

    @abstractmethod
    def finish(self, totals: PlanTotals) -> None:
        """Write the totals and give the file its name.

        Raises:
            InputError: the disk is full or not available; an older plan is unchanged.
        """

    def _writing(self) -> AbstractContextManager[None]:
        return writing_errors(self.path)

    @staticmethod
    @abstractmethod
    def _is_own(path: Path) -> bool:
        """Return whether a file is a plan of this kind."""

    @abstractmethod
    def _begin(self) -> None:
        """Prepare to write rows."""

    @abstractmethod
    def _end(self) -> None:
        """Release what ``_begin`` opened."""
