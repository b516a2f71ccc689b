"""
Goes through every state of the elements, on the running demo.

The accessibility tests and the screenshots use it. It finds its way without texts, so that
it works in every language.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from playwright.sync_api import Browser, Locator, Page, Route, WebSocketRoute, expect

from harness.demo_data import PUBLIC_PASSWORD

from .client import wait_until
from .conftest import log_in_as
from .elements import close_toasts, expect_online, items, toasts
from .site import Site

# A body for each level, the last one long, and two for broadcasts.
TEXTS = {
    "en": (
        "Mia Novak mentioned you in “Spring catalogue”",
        "Order 1042 is paid: Espresso machine",
        "Your card expires in three days",
        "The import of products.csv stopped at line 318: the price “12,5O” is not a number. "
        "Nothing was changed; correct the line and start the import again.",
        "Tonight from 22:00 we move to faster machines",
        "Payments are down. We are on it.",
    ),
    "zh-CN": (
        "李梅在“春季目录”中提到了你",
        "订单 1042 已付款：意式咖啡机",
        "您的银行卡将在三天后过期",
        "products.csv 的导入在第 318 行停止：价格“12,5O”不是数字。"
        "没有任何更改；请更正该行后重新导入。",
        "今晚 22:00 起我们将迁移到更快的服务器",
        "支付服务暂时中断，我们正在处理。",
    ),
    "ar": (
        "ذكرتك ميا نوفاك في «كتالوج الربيع»",
        "تم دفع الطلب 1042: آلة إسبريسو",
        "تنتهي صلاحية بطاقتك خلال ثلاثة أيام",
        "توقف استيراد products.csv عند السطر 318: السعر «12,5O» ليس رقمًا. "
        "لم يتغير شيء؛ صحح السطر وابدأ الاستيراد من جديد.",
        "الليلة من الساعة 22:00 ننتقل إلى أجهزة أسرع",
        "المدفوعات متوقفة. نعمل على إصلاحها.",
    ),
}
# The further down the list, the older the notification.
AGE = """
from datetime import timedelta
from django.utils import timezone
for place, row in enumerate(Notification.objects.order_by("-pk")[:30]):
    row.created_at = timezone.now() - timedelta(minutes=min(2.5 ** place, 500_000))
    row.save(update_fields=["created_at"])
"""


@dataclass(frozen=True)
class State:
    name: str
    shown: Locator | Page  # the part that a picture shows


class Story:
    """One account's way through all states, in a page whose connection can be cut."""

    def __init__(self, site: Site, page: Page, locale: str = "en") -> None:
        self.site = site
        self.page = page
        self.texts = TEXTS[locale]
        self.socket: WebSocketRoute | None = None
        self.lets_sockets_through = True
        page.route_web_socket("**/ws/notifications/**", self._connect)

    def _connect(self, socket: WebSocketRoute) -> None:
        if self.lets_sockets_through:
            socket.connect_to_server()
            self.socket = socket
        else:
            socket.close(code=1011)

    def states(self) -> Iterator[State]:
        yield from self.without_an_account()
        yield from self.with_nothing()
        yield from self.with_toasts()
        yield from self.in_the_panel()
        yield from self.when_something_fails()
        yield from self.on_the_inbox_page()
        yield from self.with_banners()
        yield from self.without_a_connection()

    # --- What to wait for

    @property
    def bell(self) -> Locator:
        return self.page.locator("notifications-bell [data-part=bell]")

    @property
    def panel(self) -> Locator:
        return self.page.locator("[data-part=panel]")

    def go(self, path: str) -> None:
        self.page.goto(path)
        expect_online(self.page)

    def open_panel(self) -> None:
        self.bell.click()
        expect(self.panel).to_be_visible()

    def act(self, action: str) -> None:
        self.page.locator(f"[data-action={action}]:visible").first.click()

    def mark_first(self, mark: str) -> None:
        first = items(self.page).first
        first.hover()
        first.locator(f"[data-as={mark}]").click()

    # --- The states

    def without_an_account(self) -> Iterator[State]:
        page = self.page
        page.goto("/login/")
        yield State("logging in", page.locator("main"))
        page.locator("input[name=username]").fill("alice")
        page.locator("input[name=password]").fill(PUBLIC_PASSWORD)
        page.locator("main form button").click()
        expect_online(page)

    def with_nothing(self) -> Iterator[State]:
        yield State("nothing unread", self.page.locator("header"))
        self.open_panel()
        expect(self.panel.locator("[data-part=empty]")).to_be_visible()
        yield State("nothing there", self.panel)
        self.panel.locator("button[data-folder=archived]").click()
        expect(
            self.panel.locator("button[data-folder=archived][aria-pressed=true]")
        ).to_be_visible()
        expect(self.panel.locator("[data-part=empty]")).to_be_visible()
        yield State("nothing archived", self.panel)
        self.panel.locator("button[data-folder=inbox]").click()
        self.act("close")

    def with_toasts(self) -> Iterator[State]:
        info, success, warning, error, *_ = self.texts
        self.notify(
            (success, "success", "/orders/1/"), (warning, "warning", ""), (error, "error", "")
        )
        expect(toasts(self.page)).to_have_count(3)
        yield State("toasts", self.page.locator("notifications-toasts"))
        self.notify((info, "info", "/orders/2/"), *[(info, "info", "")] * 38)
        expect(toasts(self.page)).to_have_count(4)
        yield State("more at once than can be read", self.page.locator("notifications-toasts"))
        close_toasts(self.page)
        yield State("unread ones", self.page.locator("header"))

    def in_the_panel(self) -> Iterator[State]:
        info, success, warning, error, *_ = self.texts
        self.notify(
            (error, "error", ""),
            (warning, "warning", "/orders/3/"),
            (success, "success", "/orders/1/"),
            (info, "info", "/orders/2/"),
            then=AGE,
        )
        expect(toasts(self.page)).not_to_have_count(0)
        close_toasts(self.page)
        self.go("/")
        self.open_panel()
        expect(items(self.panel)).to_have_count(30)
        self.mark_first("read")
        items(self.panel).nth(1).hover()
        yield State("the list", self.panel)
        self.panel.locator("button[data-folder=unread]").click()
        expect(items(self.panel).locator("[data-part=unread]:visible").first).to_be_visible()
        items(self.panel).last.scroll_into_view_if_needed()
        yield State("the unread, at the end", self.panel)
        self.panel.locator("button[data-folder=inbox]").click()
        self.mark_first("archived")
        expect(self.panel.locator("[data-action=undo]")).to_be_visible()
        yield State("archived, with undo", self.panel)
        self.panel.locator("button[data-folder=archived]").click()
        expect(items(self.panel)).to_have_count(1)
        yield State("the archive", self.panel)
        self.panel.locator("button[data-folder=inbox]").click()
        self.act("mark-all")
        expect(self.panel.locator("[data-done=read]")).to_be_visible()
        yield State("all read, with undo", self.panel)

    def when_something_fails(self) -> Iterator[State]:
        page = self.page
        held: list[Route] = []
        page.route("**/notifications/items/**", lambda route: held.append(route))
        self.go("/")
        self.open_panel()
        expect(self.panel.locator("[data-part=loading]")).to_be_visible()
        yield State("loading", self.panel)
        wait_until(page, lambda: bool(held))
        for route in held:
            route.abort()
        expect(self.panel.locator("[data-failed=load]")).to_be_visible()
        yield State("not loaded", self.panel)
        page.unroute("**/notifications/items/**")
        self.act("retry")
        expect(items(self.panel)).to_have_count(30)
        page.route("**/notifications/mark/", lambda route: route.abort())
        self.mark_first("archived")
        expect(self.panel.locator("[data-failed=mark]")).to_be_visible()
        yield State("not saved", self.panel)
        page.unroute("**/notifications/mark/")
        self.act("close")

    def on_the_inbox_page(self) -> Iterator[State]:
        page = self.page
        self.go("/notifications/")
        expect(page.locator("main button[data-action=older]")).to_be_visible()
        yield State("the page", page)
        self.go("/notifications/?archived=1")
        expect(items(page)).to_have_count(1)
        yield State("the page of the archive", page)
        self.go("/notifications/?unread=1")
        expect(page.locator("main [data-part=empty]")).to_be_visible()
        yield State("the page, all read", page)

    def with_banners(self) -> Iterator[State]:
        page = self.page
        *_, warning, error = self.texts
        self.site.shell(
            f'broadcast("works", {warning!r}, level="warning", url="/orders/1/")\n'
            f'broadcast("down", {error!r}, level="error")'
        )
        banners = page.locator("[data-part=banner]")
        self.go("/notifications/")
        expect(banners).to_have_count(2)
        expect(page.locator("notifications-banner [data-fallback]")).to_have_count(0)
        close_toasts(page)
        yield State("banners", page)
        page.route("**/notifications/mark/", lambda route: route.abort())
        banners.first.locator("button").click()
        expect(page.locator("notifications-banner [data-part=error]")).to_be_visible()
        yield State("a banner not dismissed", page)
        page.unroute("**/notifications/mark/")
        for count in (1, 0):
            banners.first.locator("button").click()
            expect(banners).to_have_count(count)

    def without_a_connection(self) -> Iterator[State]:
        page = self.page
        self.go("/")
        self.open_panel()
        self.cut(4409)
        yield from self.shown_as("paused")
        page.keyboard.press("Escape")
        expect_online(page)
        self.lets_sockets_through = False
        page.route("**/notifications/changes/**", lambda route: route.abort())
        self.cut(1011)
        self.open_panel()
        yield from self.shown_as("offline")
        page.unroute("**/notifications/changes/**")
        page.evaluate("() => dispatchEvent(new Event('online'))")
        yield from self.shown_as("polling")
        self.lets_sockets_through = True
        page.evaluate("() => dispatchEvent(new Event('online'))")
        expect_online(page)
        self.cut(1000)
        yield from self.shown_as("closed")
        self.go("/")
        self.open_panel()
        page.context.clear_cookies()
        self.cut(4408)
        yield from self.shown_as("logged_out")

    # --- Helpers

    def notify(self, *notifications: tuple[str, str, str], then: str = "") -> None:
        self.site.shell(
            f"for body, level, url in {notifications!r}:\n"
            f'    notify_accounts(alice, "news", body, level=level, url=url)\n{then}'
        )

    def cut(self, code: int) -> None:
        assert self.socket
        self.socket.close(code=code)

    def shown_as(self, status: str) -> Iterator[State]:
        expect(self.page.locator(f"[data-part=panel] [data-when-status={status}]")).to_be_visible()
        yield State(status, self.panel)


def show_the_elements(browser: Browser, site: Site) -> Page:
    """Return a page with banner, toasts and panel at once, whose style can be changed."""
    info, success, warning, error, planned, _ = TEXTS["en"]
    context = browser.new_context(
        base_url=site.url,
        bypass_csp=True,
        reduced_motion="reduce",
        viewport={"width": 800, "height": 860},
    )
    log_in_as(context, "alice", site)
    page = context.new_page()
    story = Story(site, page)
    story.notify((error, "error", ""), (warning, "warning", ""), (info, "info", ""), then=AGE)
    site.shell(f"broadcast('works', {planned!r}, level='warning')")
    story.go("/")
    story.notify((success, "success", "/orders/1/"), (info, "info", "/orders/2/"))
    expect(toasts(page)).to_have_count(2)
    story.open_panel()
    expect(items(story.panel)).to_have_count(6)
    items(story.panel).nth(3).locator("[data-as=read]").click()
    return page


def operator_states(site: Site, page: Page) -> Iterator[State]:
    """The pages of the admin on which messages are written; the operator is logged in."""
    site.shell('broadcast("works", "Tonight from 22:00 we move to faster machines")')
    page.goto("/admin/site_notifications/broadcast/")
    yield State("broadcasts", page)
    page.goto("/admin/site_notifications/broadcast/add/")
    page.get_by_label("Body").fill("Payments are down. We are on it.")
    page.get_by_label("Level").select_option("error")
    yield State("compose", page)
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".notification-preview")).to_be_visible()
    yield State("preview", page)
