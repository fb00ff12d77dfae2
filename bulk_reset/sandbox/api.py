"""The API without a network: a call goes in, the reply comes out and the state has changed.

A call is judged in this order: the key, then the quota, then the scripted faults, then the
route, the method, the content type, the size and the content. So a wrong key costs no quota,
and a wrong body does. Everything from counting a call to applying it happens in one step.

Of the API's operations there are ``/incident/reset``, ``/incident/field/reset``,
``/incident/comment``, ``/incident/ack``, ``/incident/resolve``, ``/incident/reopen``,
``/incident/info``, ``/incident/list-by-ids``, ``/incident/list`` and ``/incident/feed``; any other
path is ``RouteNotFound``.

Which custom fields an account has defined is not known here: every name is a field, and a
field's type is that of the value that the incident holds.

State, and who may touch it: the quota, the peaks, the fault script and the counters belong to
``Api.answer``; the incidents to themselves. Seconds are those of the injected clock, only the
incidents' own times are UTC epoch seconds.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from bulk_reset.sandbox import rules
from bulk_reset.sandbox.codes import ApiError
from bulk_reset.sandbox.faults import FaultScript
from bulk_reset.sandbox.incidents import Incident, Incidents
from bulk_reset.sandbox.listing import ListQuery, find_page
from bulk_reset.sandbox.timeline import FeedQuery, Timelines, find_feed_page
from bulk_reset.sandbox.windows import FixedWindow, Peak, Quota, SlidingWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bulk_reset.sandbox.config import SandboxConfig
    from bulk_reset.sandbox.faults import Fault

REQUEST_ID_HEADER: Final = "Flashcat-Request-Id"
_JSON: Final = "application/json"
_PROXY_PAGE: Final = (
    "<html><head><title>{0}</title></head>"
    "<body><center><h1>{0}</h1></center><hr><center>sandbox-proxy</center></body></html>\n"
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it arrived.

    Attributes:
        app_key: the key of the query string, None if there is none.
        content_type: without its parameters, in lower case.
        content: the body, None if it is larger than allowed.
    """

    method: str
    path: str
    app_key: str | None
    content_type: str
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What becomes of a call.

    Attributes:
        ending: answered, never answered, or the connection reset instead.
        delay_s: seconds to wait before the ending, on top of the latency.
    """

    status: int = 200
    content: bytes = b""
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    ending: Literal["answer", "hang", "reset"] = "answer"
    delay_s: float = 0.0


class Api:
    """The operations, the quota and the books of one sandbox."""

    def __init__(
        self,
        config: SandboxConfig,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._config, self._clock, self._wall_clock = config, clock, wall_clock
        window = SlidingWindow if config.window_kind == "sliding" else FixedWindow
        self._quota = Quota(window(config.per_second, 1.0), window(config.per_minute, 60.0))
        self._peak_1s, self._peak_60s = Peak(1.0), Peak(60.0)
        self._script = FaultScript(config.faults)
        self.incidents = Incidents(accepts_any_id=config.accepts_any_id, wall_clock=wall_clock)
        self.incidents.seed(config.seed_incidents, config.first_start_at, config.seed_step_s)
        self._timelines = Timelines()
        self._requests = self._admitted = self._throttled = self._unauthorized = 0
        self._by_code: Counter[str] = Counter()
        self._operations: dict[str, Callable[[rules.Body], object]] = {
            "/incident/reset": self._reset,
            "/incident/field/reset": self._reset_field,
            "/incident/comment": self._comment,
            **{f"/incident/{name}": partial(self._act, name) for name in rules.ACTION_TEXTS},
            "/incident/info": self._info,
            "/incident/list-by-ids": self._list_by_ids,
            "/incident/list": self._list,
            "/incident/feed": self._feed,
        }

    def __repr__(self) -> str:
        return f"<Api {self._requests} requests, {self.incidents!r}>"

    def answer(self, call: Call) -> Reply:
        """Count a call as arriving now, judge it, apply it, and return what to answer."""
        self._requests += 1
        # As long as the real ids, and countable.
        request_id = f"SANDBOX{self._requests:019d}"
        now = self._clock()
        self._peak_1s.record(now)
        self._peak_60s.record(now)
        fault = None
        try:
            self._admit(call, now)
            fault = self._script.next_fault(call.path, _id_of(call))
            reply = self._meet(fault, call, request_id) if fault else self._do(call, request_id)
        except ApiError as error:
            self._by_code[error.code] += 1
            reply = _failure(request_id, error)
        return replace(reply, delay_s=fault.delay_s) if fault else reply

    def stats(self) -> dict[str, Any]:
        """Return the numbers of ``/_stats``.

        ``applied`` counts resets, of custom fields too; ``comments`` counts a comment once for
        each incident that got it.
        ``requests`` is ``admitted`` and ``throttled`` (over the quota) and ``unauthorized``.
        ``faults`` counts the requests that met a scripted fault; they were admitted.
        ``by_code`` has every failure that was answered, the scripted ones too. The peaks are
        the most requests that arrived in any second and any 60, whatever became of them.
        """
        return {
            "requests": self._requests,
            "admitted": self._admitted,
            "throttled": self._throttled,
            "unauthorized": self._unauthorized,
            **self.incidents.counts(),
            "peak_1s": self._peak_1s.most,
            "peak_60s": self._peak_60s.most,
            "faults": self._script.acted,
            "by_code": dict(sorted(self._by_code.items())),
        }

    def _admit(self, call: Call, now: float) -> None:
        if call.app_key != self._config.app_key:
            self._unauthorized += 1
            raise ApiError("Unauthorized", "You are unauthorized.")
        wait_s = self._quota.admit(now)
        if wait_s > 0:
            self._throttled += 1
            headers = {"Retry-After": str(math.ceil(wait_s))}
            raise ApiError("RequestTooFrequently", "Request too frequently.", headers=headers)
        self._admitted += 1

    def _do(self, call: Call, request_id: str) -> Reply:
        operation = self._operations.get(call.path)
        if operation is None:
            raise ApiError("RouteNotFound", "The requested route is not found.")
        if call.method != "POST":
            raise ApiError("MethodNotAllowed", "Only POST is allowed here.")
        if call.content_type != _JSON:
            raise ApiError("InvalidContentType", f"The Content-Type is not {_JSON}.")
        if call.content is None:
            raise ApiError("EntityTooLarge", f"At most {rules.MAX_BODY_BYTES} bytes are allowed.")
        data = operation(rules.read_object(call.content))
        return _envelope(200, request_id, {"data": data})

    def _meet(self, fault: Fault, call: Call, request_id: str) -> Reply:
        if fault.error is not None:
            message = "Scripted by the sandbox's faults."
            raise ApiError(fault.error, message, status=fault.status, headers=fault.headers)
        if fault.html is not None:
            page = _PROXY_PAGE.format(fault.html).encode()
            return Reply(fault.html, page, "text/html", fault.headers or {})
        if fault.body is not None:
            return Reply(fault.status or 200, fault.body.encode(), headers=fault.headers or {})
        if fault.hang:
            return Reply(ending="hang")
        if fault.reset == "before":
            return Reply(ending="reset")
        reply = self._do(call, request_id)
        if fault.reset == "after":
            return replace(reply, ending="reset")
        kept = 0 if fault.empty else len(reply.content) // 2
        return replace(reply, content=reply.content[:kept])

    def _reset(self, body: rules.Body) -> None:
        incident_id, changes = rules.read_id(body), rules.read_changes(body)
        incident = self._find(incident_id)
        self._timelines.add_reset(incident, changes, self._now_ms())
        self.incidents.apply(incident, changes)

    def _reset_field(self, body: rules.Body) -> None:
        incident_id, (name, value) = rules.read_id(body), rules.read_field(body)
        incident = self._find(incident_id)
        held = incident["fields"].get(name, value)
        if rules.kind_of(held) != rules.kind_of(value):
            reason = f"its type must match the field definition, {rules.kind_of(held)}"
            raise rules.invalid("field_value", reason)
        self._timelines.add_field(incident, name, value, self._now_ms())
        self.incidents.set_field(incident, name, value)

    def _comment(self, body: rules.Body) -> None:
        ids, comment, mute_reply = rules.read_comment(body)
        # All are looked up before the first is commented on: it is all of them or none.
        for incident in [self._find(incident_id) for incident_id in ids]:
            self._timelines.add_comment(incident, comment, self._now_ms(), mute_reply=mute_reply)
            self.incidents.add_comment(incident, comment)

    def _act(self, action: str, body: rules.Body) -> None:
        ids, detail = rules.read_action(action, body)
        # All are looked up before the first is changed: it is all of them or none.
        found = [self._find(incident_id) for incident_id in ids]
        if action == "ack" and any(one["progress"] == "Closed" for one in found):
            raise ApiError("InvalidParameter", "A closed incident cannot be acknowledged.")
        for incident in found:
            if self.incidents.act(incident, action):
                self.incidents.note(incident, detail)
                self._timelines.add_action(incident, action, detail, self._now_ms())

    def _info(self, body: rules.Body) -> Incident:
        return self._find(rules.read_id(body))

    def _list_by_ids(self, body: rules.Body) -> dict[str, Any]:
        found = [self.incidents.find(incident_id) for incident_id in rules.read_ids(body)]
        items = [incident for incident in found if incident is not None]
        return {"total": len(items), "has_next_page": False, "items": items}

    def _list(self, body: rules.Body) -> dict[str, Any]:
        return find_page(ListQuery.read(body), self.incidents)

    def _feed(self, body: rules.Body) -> dict[str, Any]:
        query = FeedQuery.read(body)
        incident = self._find(query.incident_id)
        comments = self.incidents.comments(query.incident_id)
        return find_feed_page(query, self._timelines.entries(incident, comments))

    def _now_ms(self) -> int:
        return int(self._wall_clock() * 1000)

    def _find(self, incident_id: str) -> Incident:
        incident = self.incidents.find(incident_id)
        if incident is None:
            raise ApiError("ResourceNotFound", "The resource you request is not found.")
        return incident


def _id_of(call: Call) -> str:
    """Return the one incident id that a call is about, empty if none can be made out."""
    try:
        body = rules.read_object(call.content or b"")
        ids = rules.read_ids(body) if "incident_ids" in body else [rules.read_id(body)]
    except ApiError:
        return ""
    return ids[0] if len(ids) == 1 else ""


def _failure(request_id: str, error: ApiError) -> Reply:
    payload = {"error": {"code": error.code, "message": error.message}}
    reply = _envelope(error.status, request_id, payload)
    return replace(reply, headers={**reply.headers, **error.headers})


def _envelope(status: int, request_id: str, payload: dict[str, Any]) -> Reply:
    content = json.dumps({"request_id": request_id, **payload}).encode()
    return Reply(status, content, headers={REQUEST_ID_HEADER: request_id})
