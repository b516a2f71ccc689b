"""Tabs that are hidden, frozen, or in the back/forward cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.visitor import Visitor
from tests.cluster.conftest import wait_until

from .client import CLIENT, connections
from .plain_chromium import PlainChromium, PlainTab, plain_chromium
from .settings import NOTIFICATIONS_HEARTBEAT_TIMEOUT as HEARTBEAT_TIMEOUT
from .site import Site

HAS_TOAST = "document.querySelector('[data-part=toast]') !== null"
HAS_ITEM = "document.querySelector('[data-part=item]') !== null"


@pytest.fixture
def chromium(site: Site, tmp_path: Path) -> Iterator[PlainChromium]:
    """A browser in which alice is logged in."""
    with plain_chromium(tmp_path / "chromium") as chromium:
        chromium.adopt(Visitor().log_in(site.url, "alice"))
        yield chromium


def open_tab(chromium: PlainChromium, site: Site) -> PlainTab:
    tab = chromium.open(f"{site.url}/")
    tab.wait_for_status("online")
    return tab


def notify(site: Site, *bodies: str) -> None:
    site.shell("; ".join(f'notify_accounts(alice, "news", "{body}")' for body in bodies))


def test_toasts_appear_in_visible_tabs_or_in_the_next_one_to_be_visible(
    site: Site, chromium: PlainChromium
) -> None:
    first, second = (open_tab(chromium, site) for _ in range(2))
    assert first.evaluate("document.visibilityState") == "hidden"

    notify(site, "Seen")
    second.wait_for(HAS_TOAST)
    first.wait_for(f"{CLIENT}.unread.total === 1")
    assert (first.toasts, second.toasts) == ([], ["Seen"])

    chromium.open("about:blank")
    second.wait_for("document.visibilityState === 'hidden'")
    notify(site, "Read elsewhere", "Seen later")
    for tab in (first, second):
        tab.wait_for(f"{CLIENT}.unread.total === 3")
    second.evaluate(f"{CLIENT}.load().then(() => {CLIENT}.mark([{CLIENT}.items()[1].id], 'read'))")
    first.wait_for(f"{CLIENT}.unread.total === 2")
    assert (first.toasts, second.toasts) == ([], ["Seen"])

    first.show()
    first.wait_for(HAS_TOAST)
    assert first.toasts == ["Seen later"]
    second.show()
    second.wait_for(f"{CLIENT}.status === 'online'")
    assert second.toasts == ["Seen"]


@pytest.mark.own_site(HEARTBEAT_TIMEOUT="600")  # so that no other tab takes over
def test_a_frozen_tab_gives_up_the_lead_and_follows_when_it_thaws(
    site: Site, chromium: PlainChromium
) -> None:
    leader, follower = (open_tab(chromium, site) for _ in range(2))
    leader.send("Page.setWebLifecycleState", state="frozen")

    notify(site, "In the meantime")

    follower.wait_for(f"{CLIENT}.unread.total === 1")
    leader.send("Page.setWebLifecycleState", state="active")
    leader.wait_for(f"{CLIENT}.unread.total === 1")
    leader.wait_for_status("online")
    assert leader.toasts == []


def test_a_page_from_the_back_forward_cache_catches_up(site: Site, chromium: PlainChromium) -> None:
    tab = open_tab(chromium, site)
    tab.evaluate("window.isTheSame = true")
    tab.go(f"{site.url}/admin/login/")
    notify(site, "Meanwhile")

    tab.evaluate("history.back()")

    tab.wait_for("window.isTheSame")
    tab.wait_for_status("online")
    assert tab.unread == 1
    tab.wait_for(HAS_TOAST)
    assert tab.toasts == ["Meanwhile"]


def test_a_former_accounts_page_from_the_back_forward_cache_shows_nothing(
    site: Site, chromium: PlainChromium
) -> None:
    tab = open_tab(chromium, site)
    notify(site, "For alice")
    tab.wait_for(HAS_TOAST)
    tab.evaluate("document.querySelector('notifications-bell').open()")
    tab.wait_for(f"{HAS_ITEM} && document.title.startsWith('(1) ')")
    tab.evaluate("window.isTheSame = true")
    tab.go(f"{site.url}/admin/login/")
    chromium.adopt(Visitor().log_in(site.url, "bob"))
    site.shell('notify_accounts(bob, "news", "For bob")')

    tab.evaluate("history.back()")

    tab.wait_for("window.isTheSame")
    tab.wait_for_status("logged_out")
    tab.wait_for(f"!({HAS_ITEM}) && !({HAS_TOAST}) && !document.title.startsWith('(')")
    assert tab.unread == 0
    assert tab.evaluate(f"{CLIENT}.load().catch(({{ status }}) => status)") == 401


@pytest.mark.realtime
def test_a_hidden_tab_with_throttled_timers_keeps_its_connection(
    site: Site, chromium: PlainChromium
) -> None:
    """To once a second: Chromium does not throttle a tab that holds a lock any further."""
    tab = open_tab(chromium, site)
    wait_until(lambda: len(connections(site)) == 1)
    before = connections(site)
    chromium.open("about:blank")
    tab.wait_for("document.visibilityState === 'hidden'")

    tab.evaluate(
        "window.ticks = 0; window.since = performance.now(); setInterval(() => ticks++, 50)"
    )
    tab.wait_for(
        f"performance.now() - since > {1500 * HEARTBEAT_TIMEOUT}", seconds=3 * HEARTBEAT_TIMEOUT
    )

    assert tab.evaluate("ticks / (performance.now() - since) * 1000") < 2
    assert tab.evaluate(f"{CLIENT}.status") == "online"
    assert connections(site) == before
    notify(site, "To a hidden tab")
    tab.wait_for(f"{CLIENT}.unread.total === 1")
