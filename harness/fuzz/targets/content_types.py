"""Method, path and query of a request to any page; a Content-Type; the body."""

from __future__ import annotations

from typing import ClassVar

from harness.fuzz.targets.pages import Pages


class ContentTypes(Pages):
    """
    Any Content-Type, on any page, gets an answer with a 4xx status at worst.

    Each has the security headers, no page for an error may be kept by a cache, and our views read
    UTF-8 only.
    """

    seeds: ClassVar = [
        *(
            b"POST /%s\napplication/x-www-form-urlencoded; charset=%s\na=b" % (path, charset)
            for path in (b"login/", b"notifications/mark/", b"nowhere")
            for charset in (b"utf-16", b"hex", b"utf-8", b"no-such-charset")
        ),
        *(
            b"POST /%s\nmultipart/form-data; boundary=x; charset=%s\n--x\r\n"
            b'Content-Disposition: form-data; name="as"\r\n\r\nread\r\n--x--\r\n' % (path, charset)
            for path in (b"language/", b"notifications/mark/")
            for charset in (b"rot13", b"undefined", b"idna")
        ),
        b"POST /notifications/mark/\napplication/json;charset*=utf-16''utf-8\n{}",
        b"GET /notifications/items/?limit=3\ntext/plain; charset=punycode",
        b"GET /?a=%ff\ntext/plain; charset*0*=undefined''%ff; charset*1=x",
        b"PUT /admin/login/\nmultipart/form-data; boundary*=utf-7''+AAA\n",
        b"POST /healthz\nmultipart/form-data\n\x00",
        b"GET /?" + b"&".join([b"a=1"] * 1100) + b"\ntext/plain; charset=utf-8",
    ]

    async def _try(self, data: bytes) -> None:
        line, _, rest = data.partition(b"\n")
        content_type, _, body = rest.partition(b"\n")
        answer = await self.request(line, content_type, body)
        assert answer.status < 500, answer
        assert {"content-security-policy", "x-frame-options"} <= answer.headers.keys(), answer
        if answer.status in {400, 403, 404}:
            assert "no-store" in answer.headers["cache-control"], answer
