"""gunicorn's worker as docs/deployment.md has it."""

from __future__ import annotations

from uvicorn_worker import UvicornWorker


class Worker(UvicornWorker):
    CONFIG_KWARGS = {
        **UvicornWorker.CONFIG_KWARGS,
        "ws": "websockets-sansio",
        "ws_per_message_deflate": False,
        "ws_max_size": 65536,
        "timeout_graceful_shutdown": 8,
    }
