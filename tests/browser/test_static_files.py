"""Static files as in production: small, cached for ever, and replaced after an upgrade."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from harness.benchmarks.weight import total, weigh
from harness.browser import log_in
from harness.demo_data import PRIVATE_PASSWORD
from harness.deployment import Deployment
from harness.modules import SOURCE

from .conftest import Problems
from .elements import badge, expect_no_unread, expect_online, items, open_bell, toasts
from .site import Site

EVERY_PAGE = 17_450  # bytes
IN_ALL = 27_500
FETCHED = """() => performance.getEntriesByType("resource")
    .filter(({ name, transferSize }) => name.includes("/static/notifications/") && transferSize > 0)
    .map(({ name }) => name)"""


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path, f"sqlite:///{tmp_path}/site.sqlite3")
    with deployment.running():
        yield deployment


def test_what_pages_load_is_small(browser: Browser, deployment: Deployment) -> None:
    files = weigh(browser, deployment)

    names = [file.name for file in files]
    assert {"index.js", "client.js", "notifications.css"} <= {
        file.name for file in files if file.is_first
    }
    assert len(names) == len(set(names))
    assert total(file for file in files if file.is_first) <= EVERY_PAGE
    assert total(files) <= IN_ALL


def test_the_minified_scripts_do_what_their_source_does(
    deployment: Deployment, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context(base_url=deployment.server.url)
    log_in(context, "alice", PRIVATE_PASSWORD)
    tabs = [context.new_page() for _ in range(2)]
    for tab in tabs:
        tab.goto("/")
        expect_online(tab)

    Site(deployment.env, deployment.server).shell_beside(
        'notify_accounts(alice, "news", "For alice"); '
        'broadcast("news", "For all", level="warning", audience="everyone")'
    )

    for tab in tabs:
        expect(badge(tab)).to_have_text("2")
        expect(toasts(tab)).to_contain_text(["For alice", "For all"])
        expect(tab.get_by_role("region", name="Important notices")).to_contain_text("For all")
    panel = open_bell(tabs[0])
    expect(items(panel)).to_contain_text(["For all", "For alice"])
    panel.get_by_role("button", name="Mark all as read").click()
    for tab in tabs:
        expect_no_unread(tab)
        expect(tab.locator("[data-part=banner]")).to_have_count(0)


def test_an_upgrade_reaches_a_browser_that_caches_everything(
    deployment: Deployment,
    new_context: Callable[..., BrowserContext],
    problems: Problems,
) -> None:
    problems.expect("ERR_CONNECTION_REFUSED|Connection closed before|502|4012")
    context = new_context(base_url=deployment.server.url)
    log_in(context, "alice", PRIVATE_PASSWORD)
    fetched_by_another_tab(context)
    assert fetched_by_another_tab(context) == set()
    changed = deployment.changed / "notifications/connection.js"
    changed.parent.mkdir(parents=True)
    changed.write_text((SOURCE / "connection.js").read_text() + "// changed\n")

    deployment.upgrade()

    fetched = fetched_by_another_tab(context)
    # The changed file, and those that contain its new name.
    assert {"connection.js", "client.js", "index.js"} <= fetched
    assert not {"store.js", "notifications.css"} & fetched


def fetched_by_another_tab(context: BrowserContext) -> set[str]:
    """Return the names of our files that a new tab did not take from the cache."""
    tab = context.new_page()
    tab.goto("/")
    expect_online(tab)
    urls = tab.evaluate(FETCHED)
    tab.close()
    return {re.sub(r"\.[0-9a-f]{12}\.", ".", url.partition("notifications/")[2]) for url in urls}


def test_only_hashed_names_are_cached_for_ever(deployment: Deployment) -> None:
    url = f"{deployment.server.url}/static/notifications/"
    manifest = json.loads((Path(deployment.env["STATIC_ROOT"]) / "staticfiles.json").read_text())
    hashed = manifest["paths"]["notifications/index.js"]

    with urlopen(f"{deployment.server.url}/static/{hashed}") as answer:
        assert "immutable" in answer.headers["Cache-Control"]
    with urlopen(f"{url}index.js") as answer:
        assert answer.headers["Cache-Control"] == "max-age=60, public"
        assert answer.headers["Content-Type"].startswith("text/javascript")
        request = Request(f"{url}index.js", headers={"If-None-Match": answer.headers["ETag"]})
        assert b"NotificationsClient" in answer.read()
    with pytest.raises(HTTPError, match="304"):
        urlopen(request)
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"{url}no-such-file.js")
    with pytest.raises(HTTPError, match="405"):
        urlopen(Request(f"{url}index.js", method="POST"))
