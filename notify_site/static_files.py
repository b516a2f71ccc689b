"""
Static files in production, served by ServeStatic in the same process as the pages.

`manage.py collectstatic` minifies the app's files, compresses all files, and adds a hash of the
contents to their names, also in imports, so that browsers can cache them forever.
"""

from __future__ import annotations

from pathlib import PurePath

from django.core.files.base import ContentFile, File
from servestatic.storage import CompressedManifestStaticFilesStorage

try:
    import minify
except ImportError:  # not available on this platform, so files are not minified
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
