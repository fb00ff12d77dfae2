"""Groups of rows with the same action or comment: one request does it for up to 100 incidents.

Rows are grouped as they come: ``gathered`` brings those of a batch together, and a group is
complete when the last of its rows has set its other fields. A row whose incident is on several
rows, or whose comment may have been added by an earlier run, is never in a group.

State: ``CommentGroups`` owns the groups that are not complete; it belongs to one event loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.change import Change
from bulk_reset.core.custom_fields import COMMENT_FIELD
from bulk_reset.core.fields import MAX_IDS
from bulk_reset.core.outcome import Outcome

GROUPED: Final = (ACTION_FIELD, COMMENT_FIELD)
"""The fields of groups, in the order in which a row sends them."""
IsInOrder = Callable[[str], bool]
"""Whether the changes of an incident are sent in their order, one at a time."""


class Member(NamedTuple):
    """A row of a group whose fields before are set.

    Attributes:
        part: the action or the comment, and nothing else.
        done: the outcomes of the row's earlier requests.
        rest: the parts of the row that follow.
    """

    row: Change
    part: Change
    done: tuple[Outcome, ...]
    rest: tuple[Change, ...] = ()


@dataclass(slots=True)
class CommentGroup:
    """Rows with the same action or comment.

    Attributes:
        awaited: the rows that have not arrived yet.
        members: the rows that have arrived, and whose part is to be sent.
    """

    awaited: int
    members: list[Member] = field(default_factory=list)

    def arrive(self, member: Member | None) -> list[Member]:
        """Note that a row has arrived; return all members when it was the last one.

        Args:
            member: None for a row whose part is not to be sent.
        """
        self.awaited -= 1
        if member is not None:
            self.members.append(member)
        return self.members if not self.awaited else []


class CommentGroups:
    """The groups of the rows that were read ahead."""

    def __init__(self) -> None:
        self._group_of: dict[tuple[int, str], CommentGroup] = {}

    def expect(self, changes: Sequence[Change], is_in_order: IsInOrder) -> None:
        """Group up to 100 rows that will be sent; a row alone with its part has no group."""
        keys = [(change, key) for change in changes for key in group_keys(change, is_in_order)]
        counts = Counter(key for _, key in keys)
        groups = {key: CommentGroup(rows) for key, rows in counts.items() if rows > 1}
        for change, key in keys:
            if key in groups:
                self._group_of[change.row_number, key.field] = groups[key]

    def take(self, change: Change, field: str) -> CommentGroup | None:
        """Return the group in which a row has to arrive with a field; None if it has none."""
        return self._group_of.pop((change.row_number, field), None)


class GroupKey(NamedTuple):
    """What rows of one group have in common."""

    field: str
    body: bytes


def group_keys(change: Change, is_in_order: IsInOrder) -> tuple[GroupKey, ...]:
    """Return the keys of the groups that a row can be in: of its action, and of its comment."""
    # The body begins with the incident's id, which has one length.
    keys = tuple(
        GroupKey(part.field, part.body.partition(b"]")[2])
        for part in change.rest[-len(GROUPED) :]
        if part.field == ACTION_FIELD or (part.field == COMMENT_FIELD and not change.comment_since)
    )
    return () if not keys or is_in_order(change.incident_id) else keys


def gathered(batches: Iterable[list[Change]], is_in_order: IsInOrder) -> Iterable[list[Change]]:
    """Yield the same batches, in which rows of the same groups follow the first of them."""
    for changes in batches:
        first: dict[tuple[GroupKey, ...] | int, int] = {}
        places = []
        for place, change in enumerate(changes):
            keys = group_keys(change, is_in_order)
            places.append(first.setdefault(keys or place, place))
        yield [changes[place] for place in sorted(range(len(changes)), key=places.__getitem__)]


class SharedRequests:
    """Counts the requests that rows with the same action or comment save, for an estimate."""

    def __init__(self) -> None:
        self._rows: Counter[int] = Counter()

    def add(self, field: str, text: str | bytes) -> None:
        """Note a row that sets an action or a comment."""
        # Their hashes, because there may be a million long comments.
        self._rows[hash((field, text))] += 1

    @property
    def saved(self) -> int:
        """The number of requests less than one for each row."""
        return sum(rows - -(-rows // MAX_IDS) for rows in self._rows.values())
