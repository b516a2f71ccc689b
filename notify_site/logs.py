"""A line in the log for each bad request, as anybody may send as many as they like."""

from __future__ import annotations

import logging


class ClientErrorFilter(logging.Filter):
    """Leaves out the traceback of what Django answered with a 4xx."""

    def filter(self, record: logging.LogRecord) -> bool:
        if 400 <= getattr(record, "status_code", 0) < 500:
            record.exc_info = record.exc_text = None
        return True
