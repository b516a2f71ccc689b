"""What a notification says is never markup, and leads to http(s) or to this site only."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, expect

from .conftest import Site
from .elements import expect_online, items

HOSTILE_TEXTS = [
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "</template><script>document.title='owned'</script>",
    "<!--<script>",
    "{{ 7|add:7 }}{% debug %}",
    "\u202egnp.exe \ud800"[:-1],
    "&lt;b&gt;",
]
HOSTILE_URLS = [
    "javascript:document.title='owned'",
    " javascript:document.title='owned'",
    "JaVaScRiPt:document.title='owned'",
    "java\nscript:document.title='owned'",
    "data:text/html,<script>alert(1)</script>",
    "//evil.example/",
    "/\\evil.example/",
    "/\t/evil.example/",
    "\\\\evil.example/",
    "https:evil.example",
    "vbscript:x",
    "blob:x",
    "'\"><script>document.title='owned'</script>",
    "ftp://evil.example/",
]


@pytest.mark.parametrize("javascript", [True, False])
def test_hostile_payloads_are_text_and_lead_nowhere(
    site: Site, log_in: Callable[..., BrowserContext], javascript: bool
) -> None:
    # Past the validation: a row can be older than a check, or be written by other means.
    rows = [(text, "") for text in HOSTILE_TEXTS] + [("A link", url) for url in HOSTILE_URLS]
    count = f"({len(rows)}) " if javascript else ""
    title = f"{count}Notifications · Notify Site"
    page = log_in("alice", site, java_script_enabled=javascript).new_page()
    page.goto("/notifications/")
    if javascript:
        expect_online(page)
    site.shell(
        "import json\n"
        f"for body, url in json.loads({json.dumps(rows)!r}):\n"
        '    Notification.objects.insert([alice.pk], type="x", body=body, url=url,\n'
        "        meta_data={'__proto__': body}, level='<b>')\n"
        'delivery.deliver([alice.pk], "default")'
    )
    if not javascript:
        page.reload()

    def check() -> None:
        expect(items(page)).to_have_count(len(rows))
        bodies = items(page).locator("[data-part=body]").all_text_contents()
        assert bodies == [text for text, _ in reversed(rows)]
        expect(page.locator("main [data-part=link][href]")).to_have_count(0)
        expect(
            page.locator("notifications-toasts [data-part=link][href^=javascript]")
        ).to_have_count(0)
        expect(page).to_have_title(title)
        expect(page.locator("img[src=x]")).to_have_count(0)

    check()
    page.reload()
    check()
    if javascript:
        for toast in page.locator("notifications-toasts [data-part=link]").all():
            toast.click()
        expect(page).to_have_title(title)
