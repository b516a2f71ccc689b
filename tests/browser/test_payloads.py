"""
Messages are shown as text everywhere, and link to http(s) or this site only.

The rows are written past the validation, as a row can be older than a check. They would do
harm on a page that inserts them as markup: the last test shows that they would, and that the
site's content security policy stops them even then.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from .conftest import Problems
from .elements import expect_online, items, open_bell, toasts
from .site import Site

ACTING = [
    "<img src=x onerror=window.owned=1>",
    "\"'><img src=x onerror=window.owned=1>",
    "<svg><animate onbegin=window.owned=1 attributeName=x dur=1s>",
    "<details open ontoggle=window.owned=1>",
    "<video><source onerror=window.owned=1></video>",
    "<input autofocus onfocus=window.owned=1>",
    "<iframe srcdoc='<script>parent.owned=1</script>'></iframe>",
    "<iframe src='javascript:parent.owned=1'></iframe>",
]
TEXTS = [
    *ACTING,
    "<svg onload=window.owned=1>",
    "<math><mtext><table><mglyph><style><!--</style><img src=x onerror=window.owned=1>",
    "</script><script>window.owned=1</script>",
    "</template><script>window.owned=1</script>",
    "</title></textarea></style><script>window.owned=1</script>",
    "<style>body{display:none}</style>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<base href=https://evil.example/>",
    "<form action=https://evil.example/><button>Log in</button></form>",
    "<a href=javascript:window.owned=1>A link</a>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<!--<script>",
    "<![CDATA[<script>window.owned=1</script>]]>",
    "{{ 7|add:7 }}{% debug %}${window.owned=1}",
    "\u202egnp.exe",
    "&lt;b&gt;",
]
URLS = [
    "javascript:window.owned=1",
    " javascript:window.owned=1",
    "JaVaScRiPt:window.owned=1",
    "java\nscript:window.owned=1",
    "javascript://%0awindow.owned=1",
    "data:text/html,<script>alert(1)</script>",
    "//evil.example/",
    "/\\evil.example/",
    "/\t/evil.example/",
    "\\\\evil.example/",
    "https:evil.example",
    "vbscript:x",
    "blob:x",
    "'\"><script>window.owned=1</script>",
    "ftp://evil.example/",
]
EVERYTHING = [*TEXTS, *["A link"] * len(URLS), *TEXTS]
HARM = """() => [
    window.owned, ({}).owned, frames.length || undefined,
    ...document.querySelectorAll(
        "[onerror], [onload], [onbegin], [ontoggle], [onfocus], [src=x], base, meta[http-equiv], " +
        "[href*=evil], [action*=evil], [href^=javascript]")
].filter((harm) => harm !== undefined).map(String)"""

SHELL = """
import json
texts, urls = json.loads({everything!r})
for body, url in [(text, "") for text in texts] + [("A link", url) for url in urls]:
    Notification.objects.insert(
        [alice.pk], type=texts[0], body=body, url=url, level=texts[1],
        meta_data={{"__proto__": {{"owned": 1}}, "html": body}})
for text in texts:
    Broadcast.objects.create(type="x", body=text, level="warning", url=urls[0], meta_data=text)
numbering.number_and_publish([alice.pk], "default")
numbering.number_broadcasts("default")
"""


def send_everything(site: Site) -> None:
    site.shell(SHELL.format(everything=json.dumps([TEXTS, URLS])))


def expect_no_harm(page: Page) -> None:
    assert page.evaluate(HARM) == []
    expect(page.locator("main, #main").first).to_be_visible()


def bodies(page: Page, javascript: bool) -> list[str]:
    """The bodies in the list, with those that scrolling loads or further pages have."""
    found: list[str] = []
    main = page.locator("main")
    while javascript and (shown := items(main).count()) < len(EVERYTHING):
        page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
        expect(items(main).nth(shown)).to_be_attached()
    while True:
        expect(main.locator("[data-part=link][href]")).to_have_count(0)
        found += items(main).locator("[data-part=body]").all_text_contents()
        older = page.get_by_role("link", name="Load more")
        if javascript or not older.is_visible():
            return found
        older.click()
        page.wait_for_load_state()  # rows can be read while the page is still being parsed


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
def test_messages_are_text_in_inbox_panel_toast_and_banner(
    site: Site, log_in: Callable[..., BrowserContext], javascript: bool
) -> None:
    page = log_in("alice", site, java_script_enabled=javascript).new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/notifications/")
    if javascript:
        expect_online(page)
    send_everything(site)
    if javascript:
        expect(toasts(page).first).to_be_visible()
        # The link of the summary would reload this page.
        links = toasts(page).locator("[data-part=link]:not([href='/notifications/'])")
        links.evaluate_all("(links) => links.forEach((link) => link.click())")
        assert sorted(bodies(page, javascript)) == sorted(EVERYTHING)
        expect_no_harm(page)
        expect(items(open_bell(page)).first).to_be_visible()
        expect_no_harm(page)

    page.goto("/notifications/")
    banner = page.locator("[data-part=banner] [data-part=body]").first
    expect(banner).to_be_visible()
    assert banner.text_content() in TEXTS
    assert sorted(bodies(page, javascript)) == sorted(EVERYTHING)
    if javascript:
        expect_no_harm(page)
    assert [url for url in asked if not url.startswith(site.url)] == []


@pytest.mark.verify
def test_messages_are_text_in_the_admin(site: Site, log_in: Callable[..., BrowserContext]) -> None:
    tab = log_in("alice", site, user_agent=TEXTS[0]).new_page()
    tab.goto("/")
    expect_online(tab)
    send_everything(site)
    admin = log_in("operator", site).new_page()

    for model in ("notification", "broadcast", "connection"):
        admin.goto(f"/admin/site_notifications/{model}/?all=")
        expect(admin.get_by_text(TEXTS[0]).first).to_be_visible()
        expect_no_harm(admin)
        if model == "connection":
            continue
        admin.locator("#result_list th a").first.click()
        expect(admin.get_by_text("Body", exact=True)).to_be_visible()
        expect_no_harm(admin)
    for text in ACTING:
        admin.goto("/admin/site_notifications/broadcast/add/")
        admin.get_by_label("Body").fill(text)
        admin.get_by_role("button", name="Preview").click()
        expect(admin.get_by_text(text, exact=True).first).to_be_visible()
        expect_no_harm(admin)


AS_MARKUP = """async (texts) => {
    const owned = []
    for (const text of texts) {
        window.owned = undefined
        const place = document.body.appendChild(document.createElement("div"))
        place.innerHTML = text
        for (let n = 0; n < 20 && !window.owned; n++) {
            await new Promise((done) => setTimeout(done, 25))
        }
        if (window.owned) owned.push(text)
        place.remove()
    }
    return owned
}"""


@pytest.mark.verify
def test_even_as_markup_they_do_nothing_under_the_sites_policy(
    browser: Browser, site: Site, open_tab: Callable[..., Page], problems: Problems
) -> None:
    problems.expect("Content Security Policy|404|evil.example|ERR_")
    ours = open_tab("alice")
    assert ours.evaluate(AS_MARKUP, ACTING) == []

    without_policy = browser.new_page()
    page = "<!doctype html><body></body>"
    without_policy.route("**", lambda route: route.fulfill(body=page, content_type="text/html"))
    without_policy.goto("http://without.example/")
    assert without_policy.evaluate(AS_MARKUP, ACTING) == ACTING
    without_policy.close()
