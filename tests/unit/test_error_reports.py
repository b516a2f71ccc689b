"""The demo's error reports contain no secrets, unlike Django's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import RequestFactory
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from notify_site.error_reports import ReporterFilter

SECRET = "S3cret"


@pytest.fixture
def report(rf: RequestFactory, settings: Any) -> Callable[[type], str]:
    settings.CHANNEL_LAYERS = {
        "default": {"CONFIG": {"hosts": [{"address": f"redis://:{SECRET}1@redis"}]}}
    }

    def report(kind: type) -> str:
        request = rf.post("/", {"csrfmiddlewaretoken": f"{SECRET}2", "as": "read"})
        request.META["CSRF_COOKIE"] = f"{SECRET}3"
        request.exception_reporter_filter = kind()  # type: ignore[attr-defined]
        parameters = (f"{SECRET}4", "in the database's code")
        try:
            raise RuntimeError(f"{len(parameters)} parameters")
        except RuntimeError as error:
            reporter = ExceptionReporter(request, RuntimeError, error, error.__traceback__)
        return reporter.get_traceback_text() + reporter.get_traceback_html()

    return report


def secrets_in(text: str) -> list[str]:
    return [number for number in "1234" if f"{SECRET}{number}" in text]


def test_in_production_reports_hide_secrets_in_urls_forms_and_variables(
    report: Callable[[type], str], settings: Any
) -> None:
    text = report(ReporterFilter)
    assert "2 parameters" in text and "read" in text
    assert secrets_in(text) == []
    assert secrets_in(report(SafeExceptionReporterFilter)) == ["1", "2", "3", "4"]


def test_while_debugging_reports_show_variables(
    report: Callable[[type], str], settings: Any
) -> None:
    settings.DEBUG = True
    assert secrets_in(report(ReporterFilter)) == ["4"]
