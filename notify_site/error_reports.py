"""
Hides secrets in error reports: in mails to administrators and on debug pages.

Django hides settings and headers by their names. But secrets are also in the URLs of services, in
posted forms, and in variables of its own database code.
"""

from __future__ import annotations

import re
from typing import Any

from django.views.debug import SafeExceptionReporterFilter

_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/@\s]*@")


class ReporterFilter(SafeExceptionReporterFilter):
    hidden_settings = re.compile(
        f"{SafeExceptionReporterFilter.hidden_settings.pattern}|CSRF_COOKIE", re.IGNORECASE
    )

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        cleansed = super().cleanse_setting(key, value)
        if isinstance(cleansed, str):
            return _PASSWORD_IN_URL.sub(f"{self.cleansed_substitute}@", cleansed)
        return cleansed

    def get_post_parameters(self, request: Any) -> Any:
        parameters = super().get_post_parameters(request)
        return {key: self.cleanse_setting(key, value) for key, value in parameters.items()}

    def get_traceback_frame_variables(self, request: Any, tb_frame: Any) -> Any:
        if self.is_active(request):  # not while debugging
            return []
        return super().get_traceback_frame_variables(request, tb_frame)
