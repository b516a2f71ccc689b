"""
The pictures in README and docs, taken from the running demo: `make screenshots`.

Every state of the elements (`tests/browser/states.py`) on a sheet, light and dark, and some
states for each other kind of reader; the looks of themes.md; and the pages that README and the
docs of the admin show. Needs fonts with Chinese and Arabic.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Browser, expect

from harness.browser import chromium, log_in
from tests.browser.conftest import Site, running_site
from tests.browser.elements import expect_online, items, open_bell, toasts
from tests.browser.looks import LOOKS
from tests.browser.states import Story, operator_states, show_the_elements

IMAGES = Path(__file__).resolve().parent / "images"
CALM: Final = {"reduced_motion": "reduce", "viewport": {"width": 800, "height": 620}}
PHONE: Final = {"viewport": {"width": 320, "height": 620}, "has_touch": True, "is_mobile": True}
SHEETS: Final[dict[str, dict[str, Any]]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "right-to-left": {"locale": "ar"},
    "chinese": {"locale": "zh-CN"},
    "narrow": PHONE,
    "forced-colours": {"forced_colors": "active"},
}
# Enough to show another kind of reader.
SOME: Final = {
    *("unread ones", "more at once than can be read", "the list", "archived, with undo"),
    *("nothing archived", "not saved", "offline", "the page, all read", "banners"),
}
PAPER = """
body { margin: 0; padding: 16px; background: %s; font: 13px system-ui, sans-serif; color: %s }
main { columns: %d; column-gap: 20px }
figure { margin: 0 0 20px; break-inside: avoid }
figcaption { margin-bottom: 4px }
img { display: block; max-width: 100%%; border-radius: 6px; box-shadow: 0 0 0 1px #8884 }
"""
PAGE: Final = {"viewport": {"width": 1000, "height": 640}}
ONLY_THE_ELEMENTS = "main, footer, .site-nav, .brand { visibility: hidden }"


def main() -> None:
    with chromium() as browser:
        for name, options in SHEETS.items():
            with new_site() as site:
                draw_sheet(browser, site, name, {**CALM, **options})
        with new_site() as site:
            photograph_looks(browser, site)
        with new_site() as site:
            photograph_pages(browser, site)


@contextmanager
def new_site() -> Iterator[Site]:
    with TemporaryDirectory() as directory, running_site(Path(directory)) as site:
        yield site


def draw_sheet(browser: Browser, site: Site, name: str, options: dict[str, Any]) -> None:
    """Put all states on one picture, each with its name above it."""
    page = browser.new_context(base_url=site.url, **options).new_page()
    figures = ""
    for state in Story(site, page, options.get("locale", "en")).states():
        if name not in ("light", "dark") and state.name not in SOME:
            continue
        png = base64.b64encode(state.shown.screenshot()).decode()
        figures += (
            f"<figure><figcaption>{html.escape(state.name.capitalize())}</figcaption>"
            f'<img src="data:image/png;base64,{png}"></figure>'
        )
    page.context.close()
    colours = ("#0b0d13", "#e8ebf4") if name == "dark" else ("#eef0f5", "#1b2033")
    columns = 5 if name == "narrow" else 4
    sheet = browser.new_page(viewport={"width": 1680, "height": 100})
    sheet.set_content(f"<style>{PAPER % (*colours, columns)}</style><main>{figures}</main>")
    save(sheet.screenshot(full_page=True), f"states-{name}")
    sheet.close()


def photograph_looks(browser: Browser, site: Site) -> None:
    page = show_the_elements(browser, site)
    style = page.add_style_tag(content=" ")
    for name, css in LOOKS.items():
        page.emulate_media(color_scheme="dark" if "Dark" in name else "light")
        style.evaluate("(style, css) => (style.textContent = css)", ONLY_THE_ELEMENTS + css)
        picture = page.screenshot(clip={"x": 130, "y": 0, "width": 670, "height": 860})
        save(picture, f"look-{name.lower().replace(' ', '-')}")


def photograph_pages(browser: Browser, site: Site) -> None:
    context = browser.new_context(base_url=site.url, **{**CALM, **PAGE})
    log_in(context, "alice")
    page = context.new_page()
    page.goto("/")
    for _ in range(2):
        expect_online(page)
        page.get_by_role("button", name="Pay").first.click()
    expect(toasts(page)).to_have_count(2)
    expect(items(open_bell(page))).to_have_count(2)
    save(page.screenshot(), "inbox")
    admin = browser.new_context(base_url=site.url, **{**CALM, **PAGE})
    log_in(admin, "operator")
    for state in operator_states(site, admin.new_page()):
        save(state.shown.screenshot(), f"admin-{state.name}")


def save(png: bytes, name: str) -> None:
    """Save it with a palette, which makes the file a third as big."""
    with Image.open(io.BytesIO(png)) as image:
        colours = image.convert("RGB").quantize(
            256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
        colours.save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
