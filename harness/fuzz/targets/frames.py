"""Frames of one connection, a line each."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from harness.fuzz.targets.base import ANSWER_TIMEOUT_SECONDS
from harness.fuzz.targets.connections import Connections, next_frame

CODES: Final = {"bad_json", "bad_frame", "bad_type", "bad_field"}
MAX_ERRORS_IN_A_ROW: Final = 20
MAX_FRAMES: Final = 30  # per input
HEARTBEAT: Final = '{"type":"heartbeat"}'


class Frames(Connections):
    """Each frame gets one reply, and 20 invalid ones in a row close the connection."""

    seeds: ClassVar = [
        b'{"type":"heartbeat"}',
        b'{"type": "heartbeat", "content": {"body": "", "meta_data": ""}}\n{"type":"heartbeat"}',
        b'{}\n[]\nnull\n\n{"type":1}\n{"type":"x"}\n\x00bytes\n{"type":"heartbeat"}',
        b'{"type":"\\ud800"}\n{"type":NaN}\n' + b"[" * 3000 + b"\n" + b"1" * 4000,
        b"{}\n" * 25,
    ]
    _connection: Any = None

    async def _try(self, data: bytes) -> None:
        errors = 0
        for line in data.split(b"\n", MAX_FRAMES):
            connection = self._connection = self._connection or await self._begin()
            if line[:1] == b"\x00":
                await connection.send_input({"type": "websocket.receive", "bytes": line[1:]})
            else:
                # Servers themselves close a connection for invalid UTF-8.
                text = line.decode(errors="replace")
                await connection.send_input({"type": "websocket.receive", "text": text})
            answer = await next_frame(connection)
            errors = errors + 1 if answer["type"] == "error" else 0
            assert answer["type"] == "heartbeat" or answer["code"] in CODES, answer
            if errors == MAX_ERRORS_IN_A_ROW:
                bye = await next_frame(connection)
                close = await connection.receive_output(ANSWER_TIMEOUT_SECONDS)
                assert (bye["type"], bye["code"], close["code"]) == ("bye", 4400, 4400)
                await self._end()
                errors = 0
        if errors and self._connection:  # so that the next input starts at zero
            await self._connection.send_input({"type": "websocket.receive", "text": HEARTBEAT})
            await self._connection.receive_output(ANSWER_TIMEOUT_SECONDS)

    async def _begin(self) -> Any:
        connection = await self.open(b"", {})
        assert (await connection.receive_output(ANSWER_TIMEOUT_SECONDS))[
            "type"
        ] == "websocket.accept"
        for type in ("register", "heartbeat"):
            assert (await next_frame(connection))["type"] == type
        return connection

    async def _end(self) -> None:
        await self._connection.send_input({"type": "websocket.disconnect", "code": 1006})
        await self._connection.wait(ANSWER_TIMEOUT_SECONDS)
        self._connection = None
