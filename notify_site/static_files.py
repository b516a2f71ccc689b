"""
Static files in production, served by the server that has the pages, with ServeStatic.

`manage.py collectstatic` minifies the files of notifications, adds a hash of its contents to each
file's name (in the imports of modules too) and compresses it, so browsers can keep it for ever.
"""

from __future__ import annotations

from pathlib import PurePath

from django.core.files.base import ContentFile, File
from servestatic.storage import CompressedManifestStaticFilesStorage

try:
    import minify
except ImportError:  # not available for this platform: the files stay as they are
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
