"""Requests to our views: method, path, query and content type; the body below."""

from __future__ import annotations

import json
from typing import Any, ClassVar
from urllib.parse import urljoin

from harness.fuzz.targets.base import ORIGIN
from harness.fuzz.targets.pages import Pages


class Requests(Pages):
    """Each request gets a response, with a 4xx status at worst."""

    seeds: ClassVar = [
        b"GET items/?limit=2&before=n3b1&unread=1 text/plain",
        b"GET items/?archived=1&limit=0 text/plain",
        b"GET changes/?seq=1&broadcast_seq=0&epoch=1&scope=everyone text/plain",
        b"GET ?before=n3b1 text/plain",
        b'POST mark/ application/json\n{"ids": ["n1", "b1", "n7"], "as": "read"}',
        b'POST mark/ application/json\n{"upto": {"seq": 6, "broadcast_seq": 2}, "as": "archived"}',
        b'POST mark/ application/json\n{"undo": {"as": "read", "from": 1, "seq": 9}}',
        b'POST mark/ application/json; charset=utf-16\n{"ids": [1, null], "as": "\\ud800"}',
        b"POST mark/ application/x-www-form-urlencoded\nids=n2&ids=b2&as=read&next=//evil.example/",
        b"POST mark/ application/x-www-form-urlencoded\nseq=6&broadcast_seq=1e2&as=unread",
        b"POST mark/ multipart/form-data; boundary=x\n"
        b'--x\r\nContent-Disposition: form-data; name="as"\r\n\r\nread\r\n--x--\r\n',
        b"PUT mark/ application/json\n{}",
    ]

    async def _try(self, data: bytes) -> None:
        head, _, body = data.partition(b"\n")
        method, path, content_type = [*head.split(b" ", 2), b"", b""][:3]
        answer = await self.request(b"%s /notifications/%s" % (method, path), content_type, body)
        assert answer.status < 500, answer
        if answer.status == 302:
            # As a browser resolves it.
            location = answer.headers["location"].replace("\\", "/")
            assert urljoin(f"{ORIGIN}/notifications/mark/", location).startswith(f"{ORIGIN}/"), (
                answer
            )
        elif answer.headers.get("content-type") == "application/json":
            json.loads(answer.body, parse_constant=_refuse)


def _refuse(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")
