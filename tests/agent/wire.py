"""The Connect protocol by hand, for what the official clients would not send."""

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx

Json = dict[str, Any]
STREAM = {"content-type": "application/connect+json"}


def frame(message: Json, flags: int = 0) -> bytes:
    data = json.dumps(message).encode()
    return struct.pack(">BI", flags, len(data)) + data


def frames(response: httpx.Response) -> Iterator[tuple[int, Json]]:
    """Flag and message of each frame, as they come."""
    buffer = b""
    for chunk in response.iter_bytes():
        buffer += chunk
        while len(buffer) >= 5 and len(buffer) >= 5 + int.from_bytes(buffer[1:5], "big"):
            size = int.from_bytes(buffer[1:5], "big")
            yield buffer[0], json.loads(buffer[5 : 5 + size])
            buffer = buffer[5 + size :]


def call(client: httpx.Client, method: str, message: Json, **headers: str) -> httpx.Response:
    """A unary call, `method` as in `process.Process/List`."""
    return client.post(f"/{method}", json=message, headers=headers)


def stream(client: httpx.Client, method: str, message: Json, **headers: str) -> list[tuple[int, Json]]:
    """A server stream read to its end."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with client.stream("POST", f"/{method}", content=frame(message), headers=STREAM | named) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"] == "application/connect+json"
        return list(frames(response))


def start(client: httpx.Client, *argv: str, **fields: Any) -> list[tuple[int, Json]]:
    """Run a command to its end, giving every frame."""
    process = {"cmd": argv[0], "args": argv[1:]} | fields.pop("process", {})
    return stream(client, "process.Process/Start", {"process": process, "stdin": False} | fields)


def output(received: list[tuple[int, Json]], kind: str = "stdout") -> bytes:
    events = [message.get("event", {}) for _, message in received]
    return b"".join(base64.b64decode(event.get("data", {}).get(kind, "")) for event in events)


def end(received: list[tuple[int, Json]]) -> Json:
    (event,) = [message["event"]["end"] for _, message in received if "end" in message.get("event", {})]
    found: Json = event
    return found


def error(received: list[tuple[int, Json]]) -> Json:
    flags, message = received[-1]
    assert flags == 2
    found: Json = message["error"]
    return found
