"""What the page's forms send for a task: a sheet that is dropped, fields, an answer, files."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

from web_requests import Answer, Client

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def post(client: Client, path: str, **fields: str) -> Answer:
    return await client.send("POST", path, FORM, urlencode(fields).encode())


async def ended(client: Client, task: str) -> dict[str, object]:
    """Wait until the work of a task has ended; a question is answered with yes."""
    while True:
        state = json.loads((await client.get(f"{task}/work")).text)
        if state["state"] == "asking":
            await post(client, f"{task}/answer")
        elif state["state"] != "working":
            return dict(state)
        await asyncio.sleep(0.02)


async def asked(client: Client, task: str, name: str = "question") -> str:
    """Wait until the work of a task asks something, or shows another text; return it."""
    while not (state := json.loads((await client.get(f"{task}/work")).text)).get(name):
        assert state["state"] == "working"
        await asyncio.sleep(0.02)
    return str(state[name])


async def opened(client: Client, *rows: str) -> str:
    """Drop a sheet; return the address of its task."""
    text = "\r\n".join(["id,title,severity", *rows, ""])
    answer = await upload(client, "/sheets", "sheet", {"x.csv": text.encode()})
    return str(answer.headers["HX-Redirect"]).removesuffix("/columns")


async def upload(client: Client, path: str, field: str, files: dict[str, bytes]) -> Answer:
    """Send files as a form of a browser does: name -> content."""
    body = b""
    for name, content in files.items():
        head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"'
        body += f"--b0und\r\n{head}\r\nContent-Type: text/csv\r\n\r\n".encode() + content + b"\r\n"
    form = {"Content-Type": "multipart/form-data; boundary=b0und"}
    return await client.send("POST", path, form, body + b"--b0und--\r\n")


async def planned(client: Client, *rows: str) -> str:
    """Drop a sheet of ids and titles, check it, and make its plan; return its task's address."""
    task = await opened(client, *rows)
    await post(client, f"{task}/columns", **{"column-0": "incident_id", "column-1": "title"})
    await ended(client, task)
    await post(client, f"{task}/plan")
    assert (await ended(client, task))["error"] == ""
    return task
