"""Pages that Turbo, htmx or scripts put in place of another one, without loading it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from .client import (
    CLIENT,
    connections,
    expect_connections,
    expect_status,
    is_leader,
    wait_until,
)
from .conftest import Problems, log_in_as
from .elements import (
    badge,
    expect_no_unread,
    expect_online,
    items,
    open_bell,
    toasts,
)
from .site import Site
from .swapping import (
    LIBRARIES,
    SWAP,
    log_out,
    remember_page,
    swap,
    use_library,
)
from .swapping import (
    log_in as log_in_with_form,
)

LogIn = Callable[..., BrowserContext]
ALICES = "Only for alice"
OURS = "notifications-bell, notifications-toasts, notifications-inbox, notifications-banner"
TEXTS = f"""() => [document.title, ...[...document.querySelectorAll("{OURS}")]
  .map(({{ textContent }}) => textContent)].join(" ")"""
STORED = "() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }])"
# Counts the listeners on the window and the document that are not removed.
LISTENERS = """
window.listening = new Set()
for (const target of [window, document]) {
  const { addEventListener, removeEventListener } = EventTarget.prototype
  target.addEventListener = function (type, listener, options) {
    const entry = { type, listener }
    if (![...listening].some((other) => other.type === type && other.listener === listener)) {
      listening.add(entry)
      options?.signal?.addEventListener("abort", () => listening.delete(entry))
    }
    return addEventListener.call(this, type, listener, options)
  }
  target.removeEventListener = function (type, listener, options) {
    for (const entry of listening) {
      if (entry.type === type && entry.listener === listener) listening.delete(entry)
    }
    return removeEventListener.call(this, type, listener, options)
  }
}
"""


def tell(site: Site, name: str, *bodies: str, url: str = "") -> None:
    """With a url, their toasts stay."""
    site.shell(f'[notify_accounts({name}, "news", body, url="{url}") for body in {bodies}]')


def become(page: Page, name: str, site: Site) -> None:
    """Give the browser another account's session. The former one goes on."""
    log_in_as(page.context, name, site)


def expect_only_bobs(page: Page, *bodies: str) -> None:
    """Expect these in bob's list, and nothing of alice's anywhere."""
    expect(badge(page)).to_have_text(str(len(bodies)))
    panel = open_bell(page)
    expect(items(panel).locator("[data-slot=body]")).to_have_text(list(bodies))
    expect(panel.get_by_role("button", name="Undo")).to_be_hidden()
    expect(panel.get_by_role("button", name="Try again")).to_be_hidden()
    expect(page).to_have_title(f"({len(bodies)}) Orders · Notify Site")
    assert ALICES not in page.evaluate(TEXTS)
    assert ALICES not in page.evaluate(STORED)
    page.keyboard.press("Escape")


@pytest.fixture
def page(site: Site, log_in: LogIn) -> Page:
    """A page of alice's."""
    page = log_in("alice", site).new_page()
    page.goto("/")
    expect_online(page)
    return page


@pytest.mark.parametrize("library", LIBRARIES)
def test_after_another_account_has_logged_in_there_is_nothing_of_the_former_one(
    site: Site, log_in: LogIn, new_context: LogIn, library: str
) -> None:
    context = new_context(base_url=site.url, bypass_csp=True)
    log_in_as(context, "alice", site)
    use_library(context, library)
    site.shell(f'for n in range(1, 41): notify_accounts(alice, "news", f"{ALICES} {{n}}")')
    tell(site, "bob", "For bob")
    page = context.new_page()
    page.goto("/")
    expect_online(page)
    assert_not_loaded = remember_page(page)
    tell(site, "alice", ALICES, url="/orders/1/")
    expect(toasts(page)).to_have_count(1)
    panel = open_bell(page)
    expect(items(panel)).to_have_count(30)
    page.evaluate(f"() => {CLIENT}.loadOlder()")
    expect(items(panel)).to_have_count(41)
    items(panel).first.hover()
    items(panel).first.get_by_role("button", name="Archive").click()
    expect(panel.get_by_role("button", name="Undo")).to_be_visible()

    log_out(page)
    expect(page).to_have_title("Log in · Notify Site")
    assert ALICES not in page.evaluate(TEXTS)
    log_in_with_form(page, "bob")

    expect_only_bobs(page, "For bob")
    expect(toasts(page)).to_have_count(0)
    tell(site, "alice", ALICES)
    tell(site, "bob", "Live for bob")
    expect(toasts(page)).to_have_text(["Live for bob Close"])
    expect_only_bobs(page, "Live for bob", "For bob")
    expect_connections(site, page, 1)
    assert_not_loaded()


def test_a_page_for_nobody_has_no_client_and_no_trace(site: Site, page: Page) -> None:
    tell(site, "alice", ALICES, url="/orders/1/")
    expect(toasts(page)).to_have_count(1)
    open_bell(page)
    page.evaluate(f"() => {{ window.former = {CLIENT} }}")

    page.context.clear_cookies()
    swap(page, "/login/")

    assert page.evaluate(f"() => {CLIENT}") is None
    assert page.evaluate("() => [former.status, former.items(), former.unread.total]") == [
        "logged_out",
        [],
        0,
    ]
    expect(page).to_have_title("Log in · Notify Site")
    assert ALICES not in page.evaluate(TEXTS) + page.evaluate(STORED)
    expect_connections(site, page, 0)

    become(page, "bob", site)
    tell(site, "bob", "For bob")
    swap(page)
    expect_only_bobs(page, "For bob")
    expect_connections(site, page, 1)


def test_a_title_that_stays_loses_the_former_accounts_count(site: Site, page: Page) -> None:
    tell(site, "alice", ALICES)
    expect(page).to_have_title("(1) Orders · Notify Site")

    page.evaluate("() => document.body.replaceWith(document.createElement('body'))")

    expect(page).to_have_title("Orders · Notify Site")


def test_answers_that_come_too_late_change_nothing(
    site: Site, page: Page, problems: Problems
) -> None:
    """Requests for the list, older items, a mark, another mark and its undo, all on their way."""
    site.shell(f'for n in range(1, 41): notify_accounts(alice, "news", f"{ALICES} {{n}}")')
    tell(site, "bob", "For bob")
    page.evaluate(
        f"""async () => {{
          await {CLIENT}.load()
          window.archived = await {CLIENT}.mark([{CLIENT}.items()[0].id], "archived")
        }}"""
    )
    held: list[Route] = []
    page.route("**/notifications/items/*", lambda route: held.append(route))
    page.route("**/notifications/mark/", lambda route: held.append(route))
    page.evaluate(
        f"""() => {{
          const client = {CLIENT}
          window.changes = []
          client.addEventListener("change", () => changes.push(client.items().length))
          client.addEventListener("unread", () => changes.push(client.unread.total))
          window.answers = Promise.allSettled([client.load("archived"), client.loadOlder(),
            client.mark([client.items()[0].id], "read"), client.undo(archived.range),
            client.markAll("read")])
        }}"""
    )
    wait_until(page, lambda: len(held) == 5)
    answers = [route.fetch() for route in held]
    assert all(answer.ok for answer in answers)

    become(page, "bob", site)
    swap(page)
    expect_online(page)
    page.evaluate("() => { window.changes = [] }")
    for route, answer in zip(held, answers, strict=True):
        route.fulfill(response=answer)
    page.unroute_all()

    settled = page.evaluate("() => answers")
    assert {answer["status"] for answer in settled} == {"rejected"}
    assert not any(page.evaluate("() => changes"))
    expect_only_bobs(page, "For bob")


def test_what_the_former_account_began_is_not_done_as_the_next(site: Site, page: Page) -> None:
    """Its elements may be kept, and other scripts may have kept its client."""
    tell(site, "alice", ALICES, f"{ALICES} too")
    tell(site, "bob", "For bob", "Also for bob")
    page.evaluate(
        f"""async () => {{
          window.former = {CLIENT}
          await former.load()
          window.answer = await former.markAll("read")
        }}"""
    )
    become(page, "bob", site)
    swap(page)
    expect_online(page)
    sent: list[str] = []
    page.on("request", lambda request: request.method == "POST" and sent.append(request.url))

    refused = page.evaluate(
        """() => Promise.all([former.markAll("read"), former.mark(answer.ids, "unread"),
          former.undo(answer.range)].map((request) => request.catch(({ status }) => status)))"""
    )

    assert refused == [401, 401, 401]
    assert sent == []
    expect_only_bobs(page, "Also for bob", "For bob")


def test_items_that_arrive_during_the_swap_are_not_shown(site: Site, page: Page) -> None:
    tell(site, "bob", "For bob")
    expect_connections(site, page, 1)
    held: list[Route] = []
    page.route(f"{site.url}/", lambda route: held.append(route))
    become(page, "bob", site)
    page.evaluate(f"() => {{ window.swapping = ({SWAP})('/') }}")
    wait_until(page, lambda: len(held) == 1)
    # Arrives, and is drawn, while the page is fetched; another one at the very moment of the swap.
    tell(site, "alice", ALICES, url="/orders/1/")
    expect(toasts(page)).to_have_count(1)
    site.shell(f'notify_accounts(alice, "news", "{ALICES} again", url="/orders/1/")')
    held[0].continue_()
    page.evaluate("() => swapping")
    tell(site, "alice", f"{ALICES} later", url="/orders/1/")

    expect_only_bobs(page, "For bob")
    expect(toasts(page)).to_have_count(0)
    expect_connections(site, page, 1)


def test_a_former_accounts_page_from_a_cache_shows_nothing(
    site: Site, page: Page, problems: Problems
) -> None:
    """As when Turbo goes back to a copy of it, after scripts have logged another account in."""
    problems.expect("401")
    site.shell(
        "from django.contrib.auth.models import Group\n"
        "group, _ = Group.objects.get_or_create(name='Early risers')\n"
        "group.user_set.set([alice])\n"
        f'broadcast("works", "{ALICES}, slow tonight", level="warning", audience=group)'
    )
    tell(site, "alice", ALICES, url="/orders/1/")
    page.goto("/notifications/")
    expect_online(page)
    expect(items(page.locator("[data-live]"))).to_have_count(2)
    open_bell(page)
    page.evaluate("() => { window.cached = document.body.cloneNode(true) }")
    become(page, "bob", site)
    swap(page)
    expect_online(page)

    page.evaluate("() => document.body.replaceWith(cached)")

    expect_status(page, "logged_out")
    expect(page.locator("[data-part=item], [data-part=banner], [data-part=toast]")).to_have_count(0)
    expect_no_unread(page)
    expect(page.get_by_text("You've been logged out.")).to_be_visible()
    assert ALICES not in page.evaluate(TEXTS)
    tell(site, "bob", "For bob")
    swap(page)
    expect_only_bobs(page, "For bob")


@pytest.fixture
def tabs(page: Page) -> tuple[Page, Page]:
    """Two tabs of alice: the leader, and a follower."""
    follower = page.context.new_page()
    follower.goto("/")
    expect_online(follower)
    assert is_leader(page)
    assert not is_leader(follower)
    return page, follower


def test_a_followers_new_account_has_a_leader_beside_the_former_accounts(
    site: Site, tabs: tuple[Page, Page]
) -> None:
    """The former account's connection goes on as long as its session does."""
    alices, bobs = tabs
    become(bobs, "bob", site)

    swap(bobs)
    expect_online(bobs)
    tell(site, "alice", ALICES, url="/orders/1/")
    tell(site, "bob", "For bob", url="/orders/1/")

    expect(toasts(alices)).to_have_text([f"{ALICES} Close"])
    expect(toasts(bobs)).to_have_text(["For bob Close"])
    expect_only_bobs(bobs, "For bob")
    assert is_leader(alices)
    assert is_leader(bobs)
    expect_connections(site, bobs, 2)

    swap(alices)
    expect_only_bobs(alices, "For bob")
    assert is_leader(bobs)
    expect_connections(site, bobs, 1)
    tell(site, "bob", "For both")
    for tab in tabs:
        expect(toasts(tab)).to_contain_text(["For both"])


def test_a_leaders_new_account_leaves_the_followers_without_a_session(
    site: Site, tabs: tuple[Page, Page], problems: Problems
) -> None:
    problems.expect("401")  # a refused tab asks over HTTP whether it is logged out
    bobs, alices = tabs
    become(bobs, "bob", site)

    swap(bobs)
    expect_status(alices, "logged_out")
    tell(site, "alice", ALICES)
    tell(site, "bob", "For bob", url="/orders/1/")

    expect(toasts(bobs)).to_have_text(["For bob Close"])
    expect_only_bobs(bobs, "For bob")
    expect_no_unread(alices)
    expect(toasts(alices)).to_have_count(0)
    expect_connections(site, bobs, 1)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_same_accounts_pages_keep_the_connection_and_what_is_loaded(
    site: Site, new_context: LogIn, library: str
) -> None:
    context = new_context(base_url=site.url, bypass_csp=True)
    log_in_as(context, "alice", site)
    use_library(context, library)
    site.shell('broadcast("works", "Slow tonight", level="warning")')
    tell(site, "alice", "First", "Second")
    page = context.new_page()
    page.goto("/")
    expect_online(page)
    assert_not_loaded = remember_page(page)
    tell(site, "alice", "Stays", url="/orders/1/")
    expect(toasts(page)).to_have_text(["Stays Close"])
    before = connections(site)
    page.evaluate(f"() => {{ window.client = {CLIENT}; return client.load() }}")
    page.evaluate(
        """() => {
          window.announced = []
          client.addEventListener("announce", ({ detail }) => {
            for (const { notification } of detail) announced.push(notification.content.body)
          })
        }"""
    )

    page.get_by_role("link", name="Espresso machine").click()
    expect(page.get_by_role("heading", name="Espresso machine")).to_be_visible()
    expect(page).to_have_title("(4) Order 1 · Notify Site")
    expect(toasts(page)).to_have_text(["Stays Close"])
    expect(page.locator("[data-part=banner]")).to_have_count(1)
    page.get_by_role("navigation").get_by_role("link", name="Notifications").click()
    expect(page).to_have_title("(4) Notifications · Notify Site")
    inbox = page.locator("notifications-inbox[data-part=page]")
    expect(inbox.locator("[data-live]")).to_be_visible()
    inbox.get_by_role("button", name="Mark all as read").click()
    expect_no_unread(page)
    expect(toasts(page)).to_have_count(0)
    inbox.get_by_role("button", name="Undo").click()
    expect(badge(page)).to_have_text("4")
    tell(site, "alice", "Live")

    expect(toasts(page)).to_have_text(["Live Close"])
    expect(items(inbox).first).to_contain_text("Live")
    assert page.evaluate(f"() => {CLIENT} === client")
    assert page.evaluate("() => announced") == ["Live"]
    assert connections(site) == before
    assert_not_loaded()


def test_the_same_account_can_log_in_again(site: Site, page: Page) -> None:
    """Logging in changes the CSRF token, and the old page's token is refused."""
    tell(site, "alice", "First")
    expect(badge(page)).to_have_text("1")
    assert_not_loaded = remember_page(page)
    page.evaluate(
        """() => {
          const form = document.querySelector("form[action='/logout/']")
          return fetch(form.action, { method: "POST", body: new FormData(form) })
        }"""
    )
    expect_status(page, "logged_out")

    become(page, "alice", site)
    page.context.clear_cookies(name="csrftoken")
    swap(page)
    expect_online(page)
    tell(site, "alice", "Second")

    expect(badge(page)).to_have_text("2")
    page.evaluate(f"() => {CLIENT}.markAll('read')")
    expect_no_unread(page)
    expect_connections(site, page, 1)
    assert_not_loaded()


# Moves the element into the next page.
KEEP = """(selector) => {
  window.kept = document.querySelector(selector)
  new MutationObserver((_, observer) => {
    if (kept.isConnected) return
    observer.disconnect()
    document.querySelector(selector).replaceWith(kept)
  }).observe(document, { childList: true, subtree: true })
}"""


def test_an_element_that_is_kept_starts_anew_with_another_account(site: Site, page: Page) -> None:
    """As with `data-turbo-permanent`."""
    tell(site, "alice", ALICES, url="/orders/1/")
    tell(site, "bob", "For bob")
    page.evaluate(KEEP, "notifications-bell")
    panel = open_bell(page)
    items(panel).get_by_role("button", name="Archive").click()
    expect(panel.get_by_role("button", name="Undo")).to_be_visible()

    become(page, "bob", site)
    swap(page)

    expect_only_bobs(page, "For bob")
    expect(toasts(page)).to_have_count(0)
    expect(page.locator("notifications-bell [data-part=panel]")).to_have_count(1)


def test_an_element_that_is_kept_stays_the_same_for_the_same_account(
    site: Site, page: Page
) -> None:
    tell(site, "alice", "First")
    page.evaluate(KEEP, "notifications-bell")
    expect(items(open_bell(page))).to_have_count(1)

    swap(page)

    assert page.evaluate("() => document.querySelector('notifications-bell') === kept")
    tell(site, "alice", "Second")
    expect(items(open_bell(page))).to_contain_text(["Second", "First"])
    expect(badge(page)).to_have_text("2")


# Changes the page in place, without removing any of our elements.
MORPH = """async (path) => {
  const answer = await fetch(path)
  const page = new DOMParser().parseFromString(await answer.text(), "text/html")
  for (const name of ["bell", "toasts"]) {
    const selector = `notifications-${name}`
    document.querySelector(selector).replaceChildren(...page.querySelector(selector).childNodes)
  }
  const config = page.getElementById("notifications-config")
  document.getElementById("notifications-config").firstChild.data = config?.textContent ?? ""
}"""


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_page_that_is_changed_in_place_is_live_and_its_accounts(
    site: Site, page: Page, name: str
) -> None:
    """As when Turbo or idiomorph morph it."""
    tell(site, "alice", "For alice", url="/orders/1/")
    tell(site, "bob", "For bob")
    expect(items(open_bell(page))).to_have_count(1)
    become(page, name, site)

    page.evaluate(MORPH, "/")

    expect(items(open_bell(page)).locator("[data-slot=body]")).to_have_text([f"For {name}"])
    tell(site, "alice", "Live for alice")
    tell(site, "bob", "Live for bob")
    expect(badge(page)).to_have_text("2")
    expect(toasts(page).last).to_have_text(f"Live for {name} Close")
    expect(page.locator("notifications-bell [data-part=panel]")).to_have_count(1)
    expect_connections(site, page, 1)


def test_pages_that_are_gone_leave_nothing_behind(
    site: Site, log_in: LogIn, problems: Problems
) -> None:
    context = log_in("alice", site)
    context.add_init_script(LISTENERS)
    page = context.new_page()
    page.goto("/notifications/")
    expect_online(page)
    tell(site, "alice", "First", url="/orders/1/")
    expect(toasts(page)).to_have_count(1)
    open_bell(page)
    swap(page, "/notifications/")
    expect(page.locator("[data-live]")).to_have_count(1)
    before = page.evaluate("() => [...listening].map(({ type }) => type).sort()")
    page.evaluate(
        """(selector) => {
          const elements = [...document.querySelectorAll(selector)]
          window.gone = elements.map((element) => new WeakRef(element))
        }""",
        OURS,
    )

    for name in ("alice", "bob", "alice", "bob", "alice"):
        become(page, name, site)
        swap(page, "/notifications/")
        expect(page.locator("[data-live]")).to_have_count(1)
        expect_online(page)
        open_bell(page)
    swap(page, "/notifications/")

    expect(page.locator("[data-live]")).to_have_count(1)
    assert page.evaluate("() => [...listening].map(({ type }) => type).sort()") == before
    devtools = context.new_cdp_session(page)

    def is_gone() -> bool:
        devtools.send("HeapProfiler.collectGarbage")
        return bool(page.evaluate("() => gone.every((element) => !element.deref())"))

    wait_until(page, is_gone)
    expect_connections(site, page, 1)
