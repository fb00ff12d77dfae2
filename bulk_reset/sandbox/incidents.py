"""The incidents of a sandbox: where they come from, what a reset or a comment does to them.

State, and who may touch it: ``Incidents`` owns every incident, its comments (which are none of
an incident's values in the API) and how often a reset was applied to it.
The API's operations read and apply; a test may ``put`` one, as a user of the console does.
Nothing waits here, so an operation sees and leaves a whole state.

An incident is a dictionary with the names of the API's ``IncidentInfo``, all required ones
present. ``*_time`` and ``*_at`` are UTC epoch seconds.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from bulk_reset.sandbox.rules import is_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Incident = dict[str, Any]

_ACCOUNT_ID: Final = 2451002751131
_PERSON_ID: Final = 2476444212131
_CHANNEL_ID: Final = 2551105804131
_CLOSED_AFTER_S: Final = 60
_CHANNELS: Final = ("Ops Channel", "Database Channel", "Network Channel")
_TEAM_ID: Final = 2477033058131
TEAM_OF_CHANNEL: Final = {_CHANNEL_ID + n: _TEAM_ID + n for n in range(len(_CHANNELS))}
"""Which team owns each channel."""
_TITLES: Final = ("CPU usage high", "Disk almost full", "Replication lag", "Latency above SLO")
_SEVERITIES: Final = ("Critical", "Warning", "Info")
_PROGRESS: Final = ("Triggered", "Processing", "Closed")
_UNSET_NUMBERS: Final = (
    "integration_id", "end_time", "ack_time", "close_time", "snoozed_before",
    "creator_id", "closer_id", "owner_id",
)  # fmt: skip
_UNSET_TEXTS: Final = (
    "description", "impact", "root_cause", "resolution", "ai_summary",
    "dedup_key", "equals_md5", "post_mortem_id",
)  # fmt: skip


def seed_id(number: int) -> str:
    """Return the id of the ``number``-th seeded incident, 1-based."""
    return f"69da451e{number:016x}"


def seeded(number: int, first_start_at: int, step_s: int = 60) -> Incident:
    """Return the ``number``-th seeded incident, 1-based; the same number, the same incident.

    ``incident_id`` is ``69da451e`` and the number as 16 hexadecimal digits. With i = number - 1:
    it started i times ``step_s`` after ``first_start_at``, and if it is closed, ended a minute
    later. The title is ``TEXT - host-NUMBER``, its text the (i mod 4)-th of four; severity,
    progress and channel are the (i mod 3)-th, (i // 3 mod 3)-th and (i // 9 mod 3)-th of three.
    The description is ``Seeded incident NUMBER.``; impact, root cause and resolution are empty.
    The channels' ids are 2551105804131 and the two numbers after it, and each is owned by a team
    of its own, 2477033058131 and the two after it (``TEAM_OF_CHANNEL``).
    Of custom fields all have ``tags``, a list with ``seeded`` in it, and every third (i mod 3
    is 0) has ``affected_service``, ``service-1`` to ``service-5`` in turn.
    """
    i = number - 1
    severity, channel = _SEVERITIES[i % 3], i // 9 % 3
    incident = blank(seed_id(number), first_start_at + i * step_s)
    progress = _PROGRESS[i // 3 % 3]
    incident |= {
        "title": f"{_TITLES[i % 4]} - host-{number:05d}",
        "description": f"Seeded incident {number}.",
        "incident_severity": severity,
        "incident_status": "Ok" if progress == "Closed" else severity,
        "progress": progress,
        "channel_id": _CHANNEL_ID + channel,
        "channel_name": _CHANNELS[channel],
        "labels": {"host": f"host-{number:05d}"},
        "fields": {"tags": ["seeded"]},
    }
    if i % 3 == 0:
        incident["fields"]["affected_service"] = f"service-{i // 3 % 5 + 1}"
    if progress == "Closed":
        incident["end_time"] = incident["close_time"] = incident["start_time"] + _CLOSED_AFTER_S
    return incident


def blank(incident_id: str, start_time: int) -> Incident:
    """Return an incident that has only what every incident has, under a lower-case id."""
    # Lists are empty, not null: the published examples show null where the schema has arrays.
    # ``num`` is the end of the id, as in the published examples.
    num = incident_id[-6:].upper()
    return {
        **dict.fromkeys(_UNSET_NUMBERS, 0),
        **dict.fromkeys(_UNSET_TEXTS, ""),
        "incident_id": incident_id,
        "account_id": _ACCOUNT_ID,
        "account_name": "Sandbox",
        "account_locale": "en-US",
        "account_time_zone": "UTC",
        "channel_id": _CHANNEL_ID,
        "channel_name": _CHANNELS[0],
        "channel_status": "enabled",
        "integration_ids": [],
        "integration_types": [],
        "start_time": start_time,
        "last_time": start_time,
        "created_at": start_time,
        "updated_at": start_time,
        "incident_status": "Info",
        "incident_severity": "Info",
        "progress": "Triggered",
        "title": f"Incident {num}",
        "num": num,
        "group_method": "n",
        "ever_muted": False,
        "labels": {},
        "fields": {},
        "assigned_to": {"person_ids": [_PERSON_ID], "type": "assign", "assigned_at": start_time},
        "responders": [{"person_id": _PERSON_ID, "assigned_at": start_time, "acknowledged_at": 0}],
        "alert_cnt": 1,
        "active_alert_cnt": 1,
        "alert_event_cnt": 1,
        "detail_url": f"https://sandbox.invalid/incident/detail/{incident_id}",
        "silence_url": f"https://sandbox.invalid/incident/silence/{incident_id}",
        "images": [],
        "manual_overrides": [],
    }


class Incidents:
    """Every incident by its lower-case id, its comments, and how often it was reset."""

    def __init__(self, *, accepts_any_id: bool, wall_clock: Callable[[], float]) -> None:
        self._accepts_any_id = accepts_any_id
        self._wall_clock = wall_clock
        self._by_id: dict[str, Incident] = {}
        self._applied: Counter[str] = Counter()
        self._comments: dict[str, tuple[str, ...]] = {}
        self.on_change: Callable[[str], None] = lambda _: None
        """Called with the id of an incident after each change."""

    def __repr__(self) -> str:
        return f"<Incidents {len(self)}, {len(self._applied)} updated>"

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Incident]:
        return iter(self._by_id.values())

    def seed(self, count: int, first_start_at: int, step_s: int = 60) -> None:
        """Add ``count`` seeded incidents."""
        for number in range(1, count + 1):
            self._by_id[seed_id(number)] = seeded(number, first_start_at, step_s)

    def restore(self, incidents: dict[str, Incident]) -> None:
        """Hold what a snapshot says, and nothing else.

        Args:
            incidents: as ``snapshot`` returns them; ``load_state`` has checked them.
        """
        self._by_id, self._applied, self._comments = {}, Counter(), {}
        for incident_id, shown in incidents.items():
            incident = dict(shown)
            if applied := incident.pop("applied", 0):
                self._applied[incident_id] = applied
            if comments := incident.pop("comments", []):
                self._comments[incident_id] = tuple(comments)
            self._by_id[incident_id] = incident

    def put(self, incident_id: str, **values: object) -> None:
        """Create an incident or overwrite some of its values, past every rule and count.

        Raises:
            ValueError: the id is malformed, or a name is none of an incident; nothing changed.
        """
        if not is_id(incident_id):
            raise ValueError(f"incident_id: found {incident_id!r}. Give 24 hexadecimal characters.")
        incident_id = incident_id.lower()
        incident = self._by_id.get(incident_id) or blank(incident_id, int(self._wall_clock()))
        if unknown := values.keys() - incident.keys():
            raise ValueError(f"{', '.join(sorted(unknown))}: not a name of an incident's value.")
        self._by_id[incident_id] = incident | values
        self.on_change(incident_id)

    def find(self, incident_id: str) -> Incident | None:
        """Return an incident by its lower-case id, None if there is none.

        If any ID is accepted, an incident is created here for an unknown one.
        """
        if incident_id not in self._by_id and self._accepts_any_id:
            self._by_id[incident_id] = blank(incident_id, int(self._wall_clock()))
        return self._by_id.get(incident_id)

    def apply(self, incident: Incident, changes: dict[str, str]) -> None:
        """Set the fields, note them as overridden by hand, and move ``updated_at`` on."""
        incident |= changes
        overrides = dict.fromkeys([*incident["manual_overrides"], *changes])
        incident["manual_overrides"] = list(overrides)
        self._applied[incident["incident_id"]] += 1
        self._touch(incident)

    def set_field(self, incident: Incident, name: str, value: object) -> None:
        """Set a custom field, and move ``updated_at`` on; that is a reset too."""
        # A new dictionary, so that the values of a snapshot do not change.
        incident["fields"] = incident["fields"] | {name: value}
        self._applied[incident["incident_id"]] += 1
        self._touch(incident)

    def add_comment(self, incident: Incident, comment: str) -> None:
        """Add a comment after those that are there, and move ``updated_at`` on."""
        incident_id = incident["incident_id"]
        self._comments[incident_id] = (*self.comments(incident_id), comment)
        self._touch(incident)

    def act(self, incident: Incident, action: str) -> bool:
        """Acknowledge, resolve or reopen an incident; return whether that changed it."""
        progress = {"ack": "Processing", "resolve": "Closed", "reopen": "Triggered"}[action]
        is_closed = incident["progress"] == "Closed"
        if progress == incident["progress"] or (action == "reopen" and not is_closed):
            return False
        now = int(self._wall_clock())
        incident["progress"] = progress
        if action == "ack":
            incident["ack_time"] = now
        else:
            end, person = (now, _PERSON_ID) if action == "resolve" else (0, 0)
            incident |= {"end_time": end, "close_time": end, "closer_id": person}
            is_ok = action == "resolve"
            incident["incident_status"] = "Ok" if is_ok else incident["incident_severity"]
        self._touch(incident)
        return True

    def note(self, incident: Incident, texts: dict[str, str]) -> None:
        """Set the texts that came with an action, where they are values of an incident."""
        incident |= {name: text for name, text in texts.items() if name in incident}

    def comments(self, incident_id: str) -> tuple[str, ...]:
        """Return the comments on an incident by its lower-case id, the oldest first."""
        return self._comments.get(incident_id, ())

    def snapshot(self) -> dict[str, Incident]:
        """Return every incident by its id, with what the API does not show of it.

        That is ``applied``, how often it was reset, and, where there are some, ``comments``: a
        list, the oldest first.
        """
        return {incident_id: self.kept(incident_id) for incident_id in self._by_id}

    def kept(self, incident_id: str) -> Incident:
        """Return one incident as ``snapshot`` has it."""
        applied, comments = self._applied[incident_id], self.comments(incident_id)
        kept = self._by_id[incident_id] | {"applied": applied}
        return kept | {"comments": list(comments)} if comments else kept

    def counts(self) -> dict[str, int]:
        """Return how many incidents, resets and comments there are, as the statistics name them."""
        return {
            "comments": sum(map(len, self._comments.values())),
            "applied": self._applied.total(),
            "incidents": len(self._by_id),
            "incidents_updated": len(self._applied),
            "applied_more_than_once": sum(times > 1 for times in self._applied.values()),
            "most_applied": max(self._applied.values(), default=0),
        }

    def _touch(self, incident: Incident) -> None:
        # At least a second on: several changes within one second would look like one.
        now = int(self._wall_clock())
        incident["updated_at"] = max(now, incident["updated_at"] + 1)
        self.on_change(incident["incident_id"])
