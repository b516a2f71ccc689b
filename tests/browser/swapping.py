"""Replace the page without loading one, as Turbo and htmx do."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect

from harness.demo_data import PUBLIC_PASSWORD
from tests.javascript import package_file

# Links and forms of the whole page. Both libraries want a page that has been loaded.
LIBRARIES = {
    "Turbo": ("@hotwired/turbo/dist/turbo.es2017-umd.js", ""),
    "htmx": (
        "htmx.org/dist/htmx.js",
        """
        document.documentElement.setAttribute("hx-boost", "true")
        const config = Object.assign(document.createElement("meta"), { name: "htmx-config" })
        config.content = '{"allowEval": false, "includeIndicatorStyles": false}'
        document.head.append(config)
        """,
    ),
}

# Puts the fetched page's body in place of ours, and its title. Scripts that the browser has
# loaded do not run again.
SWAP = """async (path) => {
  const answer = await fetch(path)
  const page = new DOMParser().parseFromString(await answer.text(), "text/html")
  for (const parsed of page.body.querySelectorAll("script[src]")) {
    const script = document.createElement("script")
    for (const { name, value } of parsed.attributes) script.setAttribute(name, value)
    parsed.replaceWith(script)
  }
  window.pages = (window.pages ?? 0) + 1
  document.title = page.title
  document.body.replaceWith(document.adoptNode(page.body))
}"""


def use_library(context: BrowserContext, name: str) -> None:
    """Give all pages of this browser the library, which takes over links and forms."""
    path, setup = LIBRARIES[name]
    source = package_file(path).read_text()
    context.add_init_script(f"addEventListener('load', () => {{ {setup}\n{source}\n }})")


def swap(page: Page, path: str = "/") -> None:
    """Replace the body by hand."""
    page.evaluate(SWAP, path)


def remember_page(page: Page) -> Callable[[], None]:
    """Return a function that fails if the browser has loaded a page since."""
    page.evaluate("() => { window.isTheSame = true }")

    def assert_not_loaded() -> None:
        assert page.evaluate("() => window.isTheSame === true"), "a page was loaded"

    return assert_not_loaded


def log_out(page: Page) -> None:
    page.get_by_role("button", name="Log out").press("Enter")  # whether the panel is open or not
    expect(page.get_by_role("button", name="Log out")).to_have_count(0)


def log_in(page: Page, name: str, path: str = "/") -> None:
    """Log in with the form, wherever the page is."""
    if not page.get_by_label("Username").count():
        page.get_by_role("link", name=re.compile("Log in")).first.click()
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PUBLIC_PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".site-account__name")).to_contain_text(name)
