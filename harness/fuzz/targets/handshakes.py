"""The query and the headers of a handshake, a line each."""

from __future__ import annotations

from typing import ClassVar

from harness.fuzz.targets.base import ANSWER_TIMEOUT_SECONDS, printable
from harness.fuzz.targets.connections import Connections, next_frame


class Handshakes(Connections):
    """A connection registers and catches up, or is refused with 4401 or before the accept."""

    seeds: ClassVar = [
        b"",
        b"seq=1&broadcast_seq=1&epoch=1&scope=everyone",
        b"seq=99999999999999999999&epoch=-1&broadcast_seq=1e9&scope=%ff%00",
        b"account=1\nuser-agent: Mozilla/5.0 (X11) \xff\x01\nx-forwarded-for: <script>",
        b"account=2\norigin: http://testserver.evil.example",
        b"\norigin: null\nhost: testserver:80",
        b'\ncookie: sessionid="\\000"; =;;',
        b"\ncookie: sessionid=abcdefgh\naccept-language: zh-hans;q=9",
    ]

    async def _try(self, data: bytes) -> None:
        query, *lines = printable(data).split(b"\n")
        named = (line.partition(b":") for line in lines)
        headers = {name.lower().strip(): value.strip() for name, _, value in named}
        connection = await self.open(query.decode("ascii", "ignore").encode(), headers)
        reply = await connection.receive_output(ANSWER_TIMEOUT_SECONDS)
        if reply["type"] == "websocket.accept":
            frame = await next_frame(connection)
            if frame["type"] == "bye":
                assert frame["code"] == 4401, frame
                assert (await connection.receive_output(ANSWER_TIMEOUT_SECONDS))["code"] == 4401
            else:
                assert frame["type"] == "register", frame
                while frame["type"] != "heartbeat":  # caught up, whatever the position was
                    frame = await next_frame(connection)
        else:
            assert reply["type"] == "websocket.close", reply
        await connection.send_input({"type": "websocket.disconnect", "code": 1006})
        await connection.wait(ANSWER_TIMEOUT_SECONDS)
