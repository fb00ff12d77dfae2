"""Make the sheets in samples/: ``python tests/make_samples.py`` writes them all again.

Everything in them is invented. Random choices have fixed seeds and dates are constants, so the
sheets are the same every time; ``test_make_samples.py`` compares them with the files.
"""
# ruff: noqa: RUF001 - Chinese text has Chinese punctuation

from __future__ import annotations

import csv
import io
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import xlsxwriter

FIELDS: Final = (
    "incident_id",
    "title",
    "description",
    "impact",
    "root_cause",
    "resolution",
    "incident_severity",
)
TEXT_FIELDS: Final = FIELDS[2:6]

INVALID_COLUMNS: Final[dict[int, frozenset[str]]] = {
    7: frozenset({"incident_id"}),  # missing
    8: frozenset({"incident_id"}),  # too short
    9: frozenset({"incident_id"}),  # letters that are not hexadecimal
    10: frozenset({"incident_id"}),  # turned into a number by Excel
    11: frozenset({"incident_id"}),  # nothing to set
    12: frozenset({"title"}),  # too short
    13: frozenset({"title"}),  # too long
    14: frozenset({"title"}),  # spaces only
    15: frozenset({"description"}),  # 15 to 18: too short
    16: frozenset({"impact"}),
    17: frozenset({"root_cause"}),
    18: frozenset({"resolution"}),
    19: frozenset({"description"}),  # 19 to 22: too long
    20: frozenset({"impact"}),
    21: frozenset({"root_cause"}),
    22: frozenset({"resolution"}),
    23: frozenset({"incident_severity"}),  # wrong case
    24: frozenset({"incident_severity"}),  # a value of another tool
    25: frozenset({"incident_severity"}),  # can be read, but not set
    26: frozenset({"incident_severity"}),  # no such severity
    31: frozenset({"title"}),  # 31 and 32: one incident, two titles
    32: frozenset({"title"}),
    33: frozenset({"incident_id", "title"}),  # two errors in one row
}
"""Row number of ``invalid-rows.csv`` (the header is row 1) -> its invalid columns.

If the row as a whole is invalid, its ID column is named. Rows 27 and 28 are duplicates, rows 29
and 30 set different fields of one incident: both are valid.
"""

Rows = list[list[str]]

SERVICES: Final = (
    "checkout-gateway",
    "ledger-core",
    "session-store",
    "search-index",
    "media-resizer",
    "notification-relay",
    "inventory-sync",
    "pricing-engine",
    "identity-broker",
    "report-builder",
    "stream-ingest",
    "edge-router",
)
REGIONS: Final = ("eu-west", "eu-north", "us-east", "us-west", "ap-south", "ap-east")
SYMPTOMS: Final = (
    "p99 latency above {n}00 ms for {m} minutes",
    "error rate above {n}% in {region}",
    "disk {disk}% full on node {node}",
    "consumer lag above {n}0,000 messages",
    "TLS certificate expires in {n} days",
    "replica {m} minutes behind its primary",
    "pods restarting in {region} (out of memory)",
    "no heartbeat from node {node} for {m} minutes",
    "connection pool exhausted, {m}0 requests waiting",
    "health check failing on {n} of 12 nodes in {region}",
    "nightly job still running after {n} hours",
    'queue "retry-later" is growing, {m},{n}00 entries',
)


def retitle() -> Rows:
    """Return 300 incidents with the titles they get after services were renamed."""
    rng = random.Random("retitle")  # noqa: S311 - samples, not secrets
    rows = [["incident_id", "title"]]
    for _ in range(300):
        symptom = rng.choice(SYMPTOMS).format(
            n=rng.randint(2, 9),
            m=rng.randint(11, 48),
            disk=rng.randint(85, 98),
            node=f"{rng.choice('abcdef')}{rng.randint(1, 40):02}",
            region=rng.choice(REGIONS),
        )
        rows.append([_incident_id(rng), f"[{rng.choice(SERVICES)}] {symptom}"])
    return rows


class Story(NamedTuple):
    """The texts of a postmortem, with placeholders for the facts."""

    title: str
    root_cause: str
    impact: str
    resolution: str


STORIES: Final = (
    Story(
        "{service}: requests time out after a deployment",
        "A deployment at {time} UTC halved the connection pool of {service}.\n\n"
        "The new base image sets MAX_CONNECTIONS itself, and its value overrides ours. Under "
        "morning load every worker waited for a connection until the caller gave up.\n\n"
        "Why it was not seen before:\n- staging has a tenth of the load\n"
        "- the pool's size is in no dashboard",
        "{n}% of requests failed for {m} minutes.\n- web: an error page\n- mobile: endless spinner",
        "1. Rolled back at once.\n2. Set the pool's size in the deployment, where it wins.\n"
        "3. Added an alert on requests that wait for a connection.",
    ),
    Story(
        "{service}: disk full on the primary database",
        'A debugging flag ("log every statement", switched on for an earlier incident) was '
        "never switched off.\n\nThe log grew by {n} GB an hour and filled the volume at {time} "
        "UTC. The database then refused writes, as it should.",
        "No writes for {m} minutes; reads were not affected.",
        "Deleted the log, switched the flag off, restarted the primary.\n\n"
        "Follow-up: flags that are set by hand now expire after 24 hours.",
    ),
    Story(
        "{service}: stale results after a cache failover",
        "The cache failed over to a replica that was {m} minutes behind. Entries that had been "
        "invalidated were served again.\n\nThe replica's lag was measured, but the failover did "
        "not check it.",
        "- {n},000 users saw old prices\n- no order was charged wrongly, as prices are checked "
        "again at payment",
        "Flushed the cache in every region. Failover now refuses a replica more than 30 s behind.",
    ),
    Story(
        "{service}: certificate expired",
        "The certificate was renewed in time, but the process reads it only when it starts, and "
        "it had been running for {m} days.\n\nThe check read the file, not the certificate that "
        "the server presents.",
        "Clients refused the connection for {m} minutes, from {time} UTC on.",
        "Restarted every node, one by one. The check now connects and reads the certificate "
        "of the server.",
    ),
    Story(
        "{service}: retry storm after a network blip 🌩️",
        "A link in {region} lost packets for {n} seconds. All clients retried at once, at the "
        "same time, and kept retrying: retries were {n} times the usual traffic.\n\n"
        "The packet loss ended; the retries continued.",
        "Latency {n} times the usual for {m} minutes, in {region} only.",
        "• rejected requests at the edge until the queue was empty ✅\n"
        "• back-off with jitter in the client library\n• a retry budget for each client",
    ),
    Story(
        "",
        "Two jobs ran at once and both took the same batch. The lock's lease (60 s) was shorter "
        "than a slow batch ({m}0 s), so the second job assumed that the first had ended.",
        "{n},{m}1 notifications were sent twice.",
        'Lease renewed while working; sending is idempotent by "message id", not by batch.',
    ),
    Story(
        "{service}: node pool drained, too few nodes left",
        "Maintenance drained {n} nodes of {region}, one after the other, as planned.\n\n"
        'The disruption budget was "at least 1 available" instead of "at most 1 unavailable". '
        "So the last pod had to serve all requests.",
        "",
        "Stopped the maintenance; corrected the budget of {service} and of {n} other services.",
    ),
    Story(
        "{service}：发布后错误率升高",
        "{time} UTC 发布的版本修改了序列化格式，旧版本的消费者无法解析新消息。\n\n"
        "原因分析：\n- 灰度期间新旧版本共用一个队列\n"
        "- 兼容性测试只覆盖了“新读旧”，没有覆盖“旧读新”",
        "约 {n}% 的消息进入死信队列，持续 {m} 分钟；数据没有丢失。",
        "1. 回滚发布；\n2. 重放死信队列；\n3. 在流水线中增加双向兼容性测试。",
    ),
)
OWNER_TEAMS: Final = ("Payments", "Platform", "Search & Media", "Data", "")
SEVERITIES: Final = ("Info", "Warning", "Critical", "")
POSTMORTEM_HEADER: Final = (
    "Incident ID",
    "Title",
    "Root Cause",
    "Impact",
    "Resolution",
    "Severity",
    "Owner team",
)
POSTMORTEM_WIDTHS: Final = (29, 38, 60, 45, 60, 11, 16)
LINE_HEIGHT: Final = 15
BLANK_ROW: Final = 21


def postmortems() -> Rows:
    """Return 40 postmortems as users write them, with a blank row in the middle."""
    rng = random.Random("postmortems")  # noqa: S311 - samples, not secrets
    rows = [list(POSTMORTEM_HEADER)]
    for number in range(40):
        facts = {
            "service": rng.choice(SERVICES),
            "region": rng.choice(REGIONS),
            "time": f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}",
            "n": rng.randint(3, 9),
            "m": rng.randint(12, 55),
        }
        title, cause, impact, resolution = (
            text.format(**facts) for text in STORIES[number % len(STORIES)]
        )
        severity, team = rng.choice(SEVERITIES), rng.choice(OWNER_TEAMS)
        # Some rows have no title, some have no impact.
        title = "" if rng.random() < 0.2 else title
        impact = "" if rng.random() < 0.2 else impact
        rows.append([_incident_id(rng), title, cause, impact, resolution, severity, team])
    rows.insert(BLANK_ROW - 1, [""] * len(POSTMORTEM_HEADER))
    return rows


CHINESE_HEADER: Final = ("故障ID", "标题", "描述", "影响", "根因", "解决方案", "严重程度")
# The sites' names have 㙟, 㵐 and 𠮷, which are in GB18030 and not in GBK.
CHINESE_SITES: Final = ("上海一区", "深圳二区", "㙟头机房", "成都三区", "㵐溪机房", "𠮷田机房")
CHINESE_STORIES: Final = (
    (
        "数据库主从延迟",
        "从库落后主库{n}分钟。",
        "报表数据过期。",
        "大事务阻塞了复制。",
        "拆分大事务。",
    ),
    (
        "磁盘空间不足",
        "日志占满了磁盘，“写入失败”告警。",
        "",
        "日志轮转没有生效。",
        "修复轮转配置，清理日志。",
    ),
    (
        "支付接口超时",
        "{n}%的请求超时，\n主要集中在早高峰。",
        "部分订单需要重新支付。",
        "连接池过小。",
        "扩大连接池；增加告警。",
    ),
    ("证书过期", "", "客户端无法连接。", "证书续期后没有重启服务。", "重启服务，检查在线证书。"),
    ("消息队列积压", "积压{n}万条消息。", "通知延迟约{n}分钟。", "消费者异常退出。", ""),
)


def chinese() -> Rows:
    """Return 25 incidents under Chinese column names."""
    rng = random.Random("chinese")  # noqa: S311 - samples, not secrets
    rows = [list(CHINESE_HEADER)]
    for number in range(25):
        title, *texts = CHINESE_STORIES[number % len(CHINESE_STORIES)]
        n = rng.randint(3, 60)
        site = CHINESE_SITES[number % len(CHINESE_SITES)]
        filled = [text.format(n=n) for text in texts]
        rows.append([_incident_id(rng), f"{site}：{title}", *filled, rng.choice(SEVERITIES)])
    return rows


def invalid_rows() -> Rows:
    """Return five valid rows, then one row for every rule; see ``INVALID_COLUMNS``."""
    rng = random.Random("invalid-rows")  # noqa: S311 - samples, not secrets

    def row(**values: str) -> list[str]:
        values.setdefault("incident_id", _incident_id(rng))
        return [values.get(field, "") for field in FIELDS]

    every_text = {name: f"Valid: every field, {name} too" for name in FIELDS[1:6]}
    shared = [_incident_id(rng) for _ in range(3)]
    duplicate = {"incident_id": shared[0], "title": "Duplicate: both rows set the same"}
    part, clash = {"incident_id": shared[1]}, {"incident_id": shared[2]}
    return [
        list(FIELDS),
        row(title="Valid: a title only"),
        row(description="Valid: a description only, over\ntwo lines."),
        row(title="Valid: a title and a severity", incident_severity="Warning"),
        row(
            title="Valid: a cause and a resolution",
            root_cause="The cause is known.",
            resolution="It is fixed.",
        ),
        row(**every_text, incident_severity="Info"),
        row(incident_id="", title="The ID is missing"),
        row(incident_id=_incident_id(rng)[:23], title="The ID has 23 digits"),
        row(incident_id="66d1f0a2-incident-xyz-77", title="The ID is not hexadecimal"),
        row(incident_id="6.9E+23", title="The ID was turned into a number by Excel"),
        row(),
        row(title="Up", description="The title has 2 characters."),
        row(title=_padded("The title has 201 characters.", 201)),
        row(title="     ", description="The title is five spaces."),
        *(row(title=f"{name} has 2 characters", **{name: "ok"}) for name in TEXT_FIELDS),
        *(row(**{name: _padded(f"{name} has 6,145 characters.", 6145)}) for name in TEXT_FIELDS),
        row(description="Severities are spelt Critical.", incident_severity="critical"),
        row(description="P1 is a value of another tool.", incident_severity="P1"),
        row(description="Ok can be read, but not set.", incident_severity="Ok"),
        row(description="There is no such severity.", incident_severity="Catastrophic"),
        row(**duplicate),
        row(**duplicate),
        row(**part, title="Valid: one incident on two rows"),
        row(**part, impact="Valid: the second row sets another field."),
        row(**clash, title="Conflict: this title"),
        row(**clash, title="Conflict: or that title"),
        row(incident_id="12345", title="No", description="The ID and the title are too short."),
    ]


def _incident_id(rng: random.Random) -> str:
    """Return 24 hexadecimal digits that begin with a second of 2024, as such ids do."""
    created_at = rng.randint(0x6592_0080, 0x6773_85FF)
    return f"{created_at:08x}{rng.getrandbits(64):016x}"


def _padded(text: str, length: int) -> str:
    filler = " This text is repeated until it is too long."
    return (text + filler * length)[: length - 1] + "!"


def as_csv(rows: Rows, encoding: str) -> bytes:
    """Return the rows as a CSV file's bytes."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode(encoding)


def as_workbook(rows: Rows) -> bytes:
    """Return the rows as an XLSX file's bytes, with the usual styles."""
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        book.set_properties({"created": datetime(2025, 1, 1, tzinfo=UTC)})
        header = book.add_format({"bold": True, "bg_color": "#DCE6F1", "bottom": 1})
        cell = book.add_format({"text_wrap": True, "valign": "top"})
        sheet = book.add_worksheet("Postmortems")
        for column, width in enumerate(POSTMORTEM_WIDTHS):
            sheet.set_column(column, column, width)
        for number, row in enumerate(rows):
            sheet.set_row(number, LINE_HEIGHT * _lines(row))
            for column, text in enumerate(row):
                sheet.write_string(number, column, text, cell if number else header)
        sheet.freeze_panes(1, 0)
    return buffer.getvalue()


def _lines(row: list[str]) -> int:
    """Return about how many lines the row's longest cell has when it is wrapped."""
    return max(
        sum(1 + len(line) // width for line in text.split("\n"))
        for text, width in zip(row, POSTMORTEM_WIDTHS, strict=True)
    )


def make_samples() -> dict[str, bytes]:
    """Return every sample: file name -> content."""
    return {
        "retitle.csv": as_csv(retitle(), "utf-8"),
        "postmortems.xlsx": as_workbook(postmortems()),
        "chinese-gb18030.csv": as_csv(chinese(), "gb18030"),
        "invalid-rows.csv": as_csv(invalid_rows(), "utf-8"),
    }


if __name__ == "__main__":
    samples = Path(__file__).parent.parent / "samples"
    samples.mkdir(exist_ok=True)
    for name, content in make_samples().items():
        (samples / name).write_bytes(content)
