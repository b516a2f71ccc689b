"""
Static files in production, from the server that has the pages: WhiteNoise.

`manage.py collectstatic` makes the notifications' files short, names each file
by its contents, also where modules import each other, and compresses it;
browsers keep it for ever.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import PurePath
from typing import Any

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.core.files.base import ContentFile, File
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile
from whitenoise.storage import CompressedManifestStaticFilesStorage

try:
    import minify
except ImportError:  # where it can't be installed easily, the files stay as they are
    minify = None


MIME_TYPES = {".js": "text/javascript", ".css": "text/css"}


class Storage(CompressedManifestStaticFilesStorage):
    support_js_module_import_aggregation = True

    def _save(self, name: str, content: File[bytes]) -> str:
        mime_type = MIME_TYPES.get(PurePath(name).suffix)
        if minify and mime_type and name.startswith("notifications/"):
            source = b"".join(content.chunks()).decode()
            content = ContentFile(minify.string(mime_type, source).encode())
        saved: str = super()._save(name, content)
        return saved


class Middleware(WhiteNoiseMiddleware):
    """WhiteNoise for ASGI: requests for pages pass through without a thread of their own."""

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        if static_file := self.files.get(request.path_info):
            return await sync_to_async(respond, thread_sensitive=False)(static_file, request)
        return await self.get_response(request)


def respond(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
    """Answer with the whole file: Django would warn of one that is read bit by bit."""
    answer = static_file.get_response(request.method, request.META)
    content = b""
    if answer.file is not None:
        with closing(answer.file):
            content = answer.file.read()
    return HttpResponse(content, status=int(answer.status), headers=dict(answer.headers))
