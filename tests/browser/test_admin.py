"""What operators do in the admin, and its effect on open tabs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect

from .client import stored_connections, wait_until
from .elements import badge, expect_online, items, open_bell, toasts
from .site import Site

OpenTab = Callable[..., Page]


def test_a_broadcast_is_composed_previewed_and_sent(site: Site, open_tab: OpenTab) -> None:
    alices_tab, bobs_tab = open_tab("alice"), open_tab("bob")
    expect_online(alices_tab)
    expect_online(bobs_tab)
    admin = open_tab("operator", "/admin/site_notifications/broadcast/")
    admin.get_by_role("link", name="Add broadcast").first.click()
    admin.get_by_label("Body").fill("Back in five minutes")
    admin.get_by_label("Level").select_option("warning")

    admin.get_by_role("button", name="Preview").click()

    expect(admin.get_by_text("Back in five minutes")).to_be_visible()
    assert site.shell("print(Broadcast.objects.count())").strip() == "0"

    admin.get_by_role("button", name="Send to 4 accounts").click()

    for page in (alices_tab, bobs_tab):
        expect(toasts(page)).to_contain_text("Back in five minutes")
        expect(badge(page)).to_have_text("1")
    assert site.shell("print(Broadcast.objects.count())").strip() == "1"
    expect(items(open_bell(open_tab("carol")))).to_contain_text("Back in five minutes")

    with bobs_tab.expect_response("**/notifications/mark/"):
        open_bell(bobs_tab).get_by_role("button", name="Mark as read").click()
    expect(badge(bobs_tab)).to_be_hidden()

    wait_until(admin, lambda: len(stored_connections(site)) == 3)
    admin.goto("/admin/site_notifications/broadcast/")
    row = admin.get_by_role("row", name="Back in five minutes")
    expect(row).to_contain_text("1 of 4")  # read
    expect(row).to_contain_text("3 of 4")  # online: the admin has no bell


def test_chosen_accounts_are_notified(open_tab: OpenTab) -> None:
    alices_tab, bobs_tab = open_tab("alice"), open_tab("bob")
    expect_online(alices_tab)
    expect_online(bobs_tab)
    admin = open_tab("operator", "/admin/auth/user/")
    admin.get_by_role("row", name="alice").get_by_role("checkbox").check()
    admin.get_by_role("combobox", name="Action").select_option(label="Send a notification…")
    admin.get_by_role("button", name="Go").or_(admin.get_by_role("button", name="Run")).click()
    admin.get_by_label("Body").fill("Your parcel is waiting")

    admin.get_by_role("button", name="Send").click()

    expect(toasts(alices_tab)).to_contain_text("Your parcel is waiting")
    expect(badge(bobs_tab)).to_be_hidden()


def test_a_disconnected_tab_reconnects_with_a_new_connection(site: Site, open_tab: OpenTab) -> None:
    def of_each() -> list[list[str]]:
        """Return the ids of alice's and bob's connections."""
        return json.loads(
            site.shell(
                "import json\n"
                "from notifications.models import Connection\n"
                "ids = Connection.objects.values_list('pk', flat=True)\n"
                "print(json.dumps([[str(pk) for pk in ids.filter(account=one)] "
                "for one in (alice, bob)]))"
            )
        )

    alices_tab, bobs_tab = open_tab("alice"), open_tab("bob")
    expect_online(alices_tab)
    expect_online(bobs_tab)
    wait_until(bobs_tab, lambda: len(stored_connections(site)) == 2)
    (alices_first,), bobs = of_each()
    admin = open_tab("operator", "/admin/site_notifications/connection/")
    admin.get_by_role("row", name="alice").get_by_role("checkbox").check()
    admin.get_by_role("combobox", name="Action").select_option(label="Disconnect")

    admin.get_by_role("button", name="Go").or_(admin.get_by_role("button", name="Run")).click()

    wait_until(alices_tab, lambda: of_each()[0] not in ([], [alices_first]))
    expect_online(alices_tab)
    assert of_each()[1] == bobs


def test_a_broadcast_is_removed_from_open_tabs_once_the_operator_confirms(
    site: Site, log_in: Callable[..., BrowserContext], open_tab: OpenTab
) -> None:
    site.shell("broadcast('news', 'Free coffee')")
    alices_messages = items(open_bell(open_tab("alice")))
    expect(alices_messages).to_contain_text("Free coffee")
    broadcasts = "/admin/site_notifications/broadcast/"
    admin = log_in("operator", site, java_script_enabled=False).new_page()

    def choose_to_retract() -> None:
        admin.get_by_role("row", name="Free coffee").get_by_role("checkbox").check()
        admin.get_by_role("combobox", name="Action").select_option(label="Retract")
        admin.get_by_role("button", name="Go").or_(admin.get_by_role("button", name="Run")).click()

    admin.goto(f"{broadcasts}?q=coffee")
    choose_to_retract()
    admin.get_by_role("link", name="No, take me back").click()
    expect(admin).to_have_url(re.compile(r"\?q=coffee$"))
    expect(admin.get_by_role("cell", name="Sent", exact=True)).to_be_visible()

    choose_to_retract()
    admin.get_by_role("button", name="Yes, retract").click()

    expect(admin.get_by_text("1 message retracted")).to_be_visible()
    expect(alices_messages).to_have_count(0)
