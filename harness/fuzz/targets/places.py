"""The path and the headers of a request to the runner, a line each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urljoin

from harness.fuzz.site import Site
from harness.fuzz.targets.base import ORIGIN
from notifications.addresses import parse_address

if TYPE_CHECKING:
    from harness.fuzz.runner import Runner


class Places:
    """
    No header changes where the runner and the site believe the site to be, or who the client is.

    The whole server takes part, without a network: one without a root path, one with `/shop`.
    """

    seeds: ClassVar = [
        b"/\nDaphne-Root-Path: https://evil.example",
        b"/x/admin/\ndaphne-root-path: /x\nDAPHNE-ROOT-PATH: //evil.example",
        b"/orders/1\nDaphne-Root-Path: /%ff\xff\nDaphne_Root_Path: /x",
        b"/shop/orders/1?next=//evil.example\nX-Forwarded-Prefix: /evil\nForwarded: host=evil",
        b"//evil.example/admin\nX-Script-Name: /evil\nScript-Name: /evil\nX-Original-URL: /evil",
        b"/shop/shop/login/\nX-Forwarded-For: \xff\x1b[31m, 1.2.3.4\nX-Forwarded-Port: \xff",
        b"/login/\nX-Forwarded-For: fe80::1%x\nX-Forwarded-Proto: https, evil",
        b"/notifications/\nX-Forwarded-For: 203.0.113.9\nX-Forwarded-Port: 99999999",
    ]
    # Django answers another host with 400, and logs that. The others belong to other targets.
    _skipped = (b"content-length", b"expect", b"host", b"transfer-encoding", b"upgrade")

    def __init__(self, site: Site) -> None:
        from harness.fuzz.runner import Runner

        self._site = site
        self._loop = asyncio.new_event_loop()
        self._runners = [Runner(site.application, root_path) for root_path in ("", "/shop")]

    def __call__(self, data: bytes) -> None:
        for runner in self._runners:
            self._loop.run_until_complete(self._try(runner, data))
        self._site.check_log()

    async def _try(self, runner: Runner, data: bytes) -> None:
        path, *lines = data.translate(None, b"\r").split(b"\n")
        lines = [line for line in lines if not line.lower().startswith(self._skipped)]
        path = path if path.startswith(b"/") else b"/" + path
        head = b"GET %s HTTP/1.1" % path.replace(b" ", b"")
        answer = await runner.answer(b"\r\n".join([head, b"Host: testserver", *lines, b"", b""]))
        if scope := answer.scope:
            assert scope["root_path"] == runner.root_path, scope
            assert scope["scheme"] in {"http", "https"}, scope
            assert parse_address(scope["client"][0]), scope
            assert b"daphne-root-path" not in dict(scope["headers"]), scope
        assert answer.status < 500, answer
        if answer.location:
            here = urljoin(ORIGIN, f"{runner.root_path}/")
            location = urljoin(here, answer.location.replace("\\", "/"))
            assert location.startswith(here), answer
        for line in answer.logged:
            client = line.partition(" ")[0]
            # Daphne names no client of a request that it refuses before it reads the headers.
            is_refused = not answer.scope and client == "None"
            assert is_refused or parse_address(client.rpartition(":")[0]), line
