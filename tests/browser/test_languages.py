"""Pages are in the reader's language: Chinese ones contain no English of ours."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from notify_site.shop.demo import ACCOUNTS, ITEMS, PASSWORD

from .elements import expect_online, items
from .site import Site

# All texts of a page, hidden ones and those in templates included.
TEXTS = """() => {
  const texts = []
  const read = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.matches("script, style")) continue
      if (element instanceof HTMLTemplateElement) read(element.content)
      for (const node of element.childNodes) if (node.nodeType === 3) texts.push(node.data)
      for (const name of ["title", "aria-label", "aria-description", "placeholder", "alt"]) {
        texts.push(element.getAttribute(name) ?? "")
      }
      for (const [name, value] of Object.entries(element.dataset)) {
        if (/^(one|other|label|text)/.test(name)) texts.push(value)
      }
    }
  }
  read(document)
  return texts
}"""
# As if the site had rendered it: before any script of the page.
SET_LANG = """
new MutationObserver(() => document.documentElement.setAttribute("lang", sessionStorage.lang))
  .observe(document, { childList: true })
"""
# Names, and texts from the database.
NOT_OURS = ["Notify Site", "English", PASSWORD, *ACCOUNTS, *(item for item, _ in ITEMS)]


def english(page: Page) -> set[str]:
    """Return the texts with Latin words that are neither names nor data."""
    texts = [text.strip() for text in page.evaluate(TEXTS)]
    assert any("通知" in text or "登录" in text for text in texts)
    without = re.compile("|".join(map(re.escape, sorted(NOT_OURS, key=len, reverse=True))))
    return {text for text in texts if re.search(r"[A-Za-z]{2}", without.sub("", text))}


def log_in_in_chinese(context: BrowserContext, name: str) -> Page:
    page = context.new_page()
    page.goto("/login/")
    page.get_by_label("用户名").fill(name)
    page.get_by_label("密码").fill(PASSWORD)
    page.get_by_role("button", name="登录").click()
    expect_online(page)
    return page


@pytest.mark.verify
def test_no_english_is_left_in_chinese_pages(
    site: Site, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context(base_url=site.url, locale="zh-CN")
    page = context.new_page()
    page.goto("/login/")
    assert english(page) == set()
    page = log_in_in_chinese(context, "alice")

    page.get_by_role("button", name="付款 Espresso machine").click()

    expect(page.get_by_role("status")).to_contain_text("Order 1 is paid: Espresso machine")
    body = "Order 1 is paid: Espresso machine"  # in the language of the code that sent it
    assert english(page) <= {body}
    for path in ("/orders/1/", "/orders/2/", "/notifications/", "/notifications/?unread=1"):
        page.goto(path)
        assert english(page) <= {body}
    page.goto("/")
    page.get_by_role("button", name="通知").click()
    expect(items(page)).to_have_count(1)
    assert english(page) <= {body}


@pytest.mark.parametrize(
    ("locale", "hours", "yesterday"),
    [("en-GB", "3 hours ago", "yesterday"), ("zh-CN", "3小时前", "昨天")],
)
def test_times_are_in_the_language_of_the_page(
    site: Site,
    new_context: Callable[..., BrowserContext],
    locale: str,
    hours: str,
    yesterday: str,
) -> None:
    site.shell(
        "from datetime import timedelta\n"
        "from django.utils import timezone\n"
        "for hours in (3, 25):\n"
        "    notify_accounts(alice, 'note', f'{hours}')\n"
        "    Notification.objects.filter(body=f'{hours}').update(\n"
        "        created_at=timezone.now() - timedelta(hours=hours, minutes=5))"
    )
    context = new_context(base_url=site.url, locale=locale)
    page = context.new_page()
    page.goto("/login/")
    page.locator("input[name=username]").fill("alice")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("main button").click()
    expect_online(page)

    page.goto("/notifications/")
    expect_online(page)

    expect(items(page).locator("time")).to_have_text([yesterday, hours])


def test_the_language_is_switched_in_the_footer(open_tab: Callable[..., Page]) -> None:
    page = open_tab("alice", "/notifications/")

    page.get_by_role("button", name="简体中文").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("通知")
    expect(page).to_have_url(re.compile("/notifications/$"))
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Notifications")


def test_a_language_that_browsers_refuse_falls_back_to_theirs(
    site: Site, log_in: Callable[..., BrowserContext]
) -> None:
    site.shell('notify_accounts(alice, "news", "Hello")')
    page = log_in("alice", site, locale="de-DE").new_page()
    page.goto("/notifications/")
    page.add_init_script(SET_LANG)
    german = re.compile(r"^\d\d\.\d\d\.\d{4}, \d\d:\d\d$")
    # The last one is known, so the page has its own.
    for lang in ("en_US", "de_DE.UTF-8", "C", "sr@latin", "", "en-GB"):
        page.evaluate("lang => sessionStorage.lang = lang", lang)
        page.reload()

        assert page.evaluate("document.documentElement.lang") == lang
        expect_online(page)
        time = page.locator("notifications-inbox time").first
        expected = german if lang != "en-GB" else re.compile(r"^\d+ [A-Z][a-z]+ \d{4}, ")
        expect(time).to_have_attribute("title", expected)
