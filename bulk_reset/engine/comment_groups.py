"""Groups of rows that add the same comment: one request adds it to up to 100 incidents.

Rows are grouped as they come: ``gathered`` brings those of a batch together, and a group is
complete when the last of its rows has set its other fields. A row whose incident is on several
rows, or whose comment may have been added by an earlier run, is never in a group.

State: ``CommentGroups`` owns the groups that are not complete; it belongs to one event loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import COMMENT_FIELD
from bulk_reset.core.outcome import Outcome
from bulk_reset.engine.readback import MAX_IDS

IsInOrder = Callable[[str], bool]
"""Whether the changes of an incident are sent in their order, one at a time."""


class Member(NamedTuple):
    """A row of a group whose other fields are set.

    Attributes:
        part: sets the comment and nothing else.
        done: the outcomes of the row's other requests.
    """

    row: Change
    part: Change
    done: tuple[Outcome, ...]


@dataclass(slots=True)
class CommentGroup:
    """Rows with the same comment.

    Attributes:
        awaited: the rows that have not arrived yet.
        members: the rows that have arrived, and whose comment is to be added.
    """

    awaited: int
    members: list[Member] = field(default_factory=list)

    def arrive(self, member: Member | None) -> list[Member]:
        """Note that a row has arrived; return all members when it was the last one.

        Args:
            member: None for a row whose comment is not to be added.
        """
        self.awaited -= 1
        if member is not None:
            self.members.append(member)
        return self.members if not self.awaited else []


class CommentGroups:
    """The groups of the rows that were read ahead."""

    def __init__(self) -> None:
        self._group_of: dict[int, CommentGroup] = {}

    def expect(self, changes: Sequence[Change], is_in_order: IsInOrder) -> None:
        """Group up to 100 rows that will be sent; a row alone with its comment has no group."""
        keys = [comment_key(change, is_in_order) for change in changes]
        counts = Counter(key for key in keys if key is not None)
        groups = {key: CommentGroup(rows) for key, rows in counts.items() if rows > 1}
        for change, key in zip(changes, keys, strict=True):
            if key in groups:
                self._group_of[change.row_number] = groups[key]

    def take(self, change: Change) -> CommentGroup | None:
        """Return the group in which a row has to arrive; None if it has none."""
        return self._group_of.pop(change.row_number, None)


def comment_key(change: Change, is_in_order: IsInOrder) -> bytes | None:
    """Return what rows have in common that can be in one group; None for a row that cannot."""
    last = change.rest[-1] if change.rest else None
    if last is None or last.field != COMMENT_FIELD or change.comment_since:
        return None
    if is_in_order(change.incident_id):
        return None
    # The body begins with the incident's id, which has one length.
    return last.body.partition(b"]")[2]


def gathered(batches: Iterable[list[Change]], is_in_order: IsInOrder) -> Iterable[list[Change]]:
    """Yield the same batches, in which rows with the same comment follow the first of them."""
    for changes in batches:
        first: dict[bytes | int, int] = {}
        places = []
        for place, change in enumerate(changes):
            key = comment_key(change, is_in_order)
            places.append(first.setdefault(place if key is None else key, place))
        yield [changes[place] for place in sorted(range(len(changes)), key=places.__getitem__)]


def requests_for(rows_of_comment: Counter[int]) -> int:
    """Return how many requests add comments, given how many rows have each of them."""
    return sum(-(-rows // MAX_IDS) for rows in rows_of_comment.values())
