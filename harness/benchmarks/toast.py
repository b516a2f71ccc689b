"""
From `notify_accounts()` to a toast on the screen: `python -m harness.benchmarks.toast`.

The demo site runs as in production, with PostgreSQL and Redis, and a process of its own calls.
A real Chromium has alice's page open and tells when it has painted the frame with each toast, which
is then closed, at once as for people who prefer reduced motion. (Its Element Timing is no measure:
some frames it tells only with the next one.) Both processes read the same clock.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Final

from playwright.sync_api import Page

from harness.browser import await_online, chromium, log_in_there
from harness.deployment import Deployment
from harness.services import manage, postgres_server, redis_server

WARM_UP: Final = 10
COUNT: Final = 200
PAUSE: Final = 0.1  # seconds

CALLS: Final = f"""
import time
from django.contrib.auth import get_user_model
from notifications import notify_accounts
alice = get_user_model().objects.get(username="alice")
for number in range({WARM_UP + COUNT}):
    time.sleep({PAUSE})
    notify_accounts([alice], "news", f"Number {{number}}", meta_data=time.time() * 1000)
"""

WATCH: Final = """() => {
  const client = globalThis[Symbol.for("notifications.client")]
  const now = () => performance.timeOrigin + performance.now()
  const called = new Map()
  window.heard = []
  window.painted = []
  client.addEventListener("notification", ({ detail: { content } }) => {
    called.set(content.body, content.meta_data)
    heard.push(now() - content.meta_data)
  })
  new MutationObserver((records) => {
    for (const toast of records.flatMap(({ addedNodes }) => [...addedNodes])) {
      const { port1, port2 } = new MessageChannel()
      port1.onmessage = () => { // the frame has been painted before it comes
        painted.push(now() - called.get(toast.querySelector("[data-slot=body]").textContent))
        toast.querySelector("[data-action=close]").click()
      }
      port2.postMessage(null)
    }
  }).observe(document.querySelector("notifications-toasts [data-part=stack]"), { childList: true })
}"""


def measure(page: Page, env: dict[str, str]) -> dict[str, list[float]]:
    """Return the milliseconds from each call to its frame in the page, and to its toast."""
    page.goto("/")
    await_online(page)
    page.evaluate(WATCH)
    manage("shell", "--no-imports", "-c", CALLS, env=env)
    page.wait_for_function(f"() => painted.length === {WARM_UP + COUNT}")
    return {name: page.evaluate(f"() => {name}")[WARM_UP:] for name in ("heard", "painted")}


def main() -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        database_url = stack.enter_context(postgres_server()).create_database("site")
        redis_url = stack.enter_context(redis_server()).url
        deployment = Deployment(directory, database_url, REDIS_URL=redis_url)
        stack.enter_context(deployment.running())
        browser = stack.enter_context(chromium())
        context = browser.new_context(base_url=deployment.server.url, reduced_motion="reduce")
        log_in_there(context, "alice")
        times = measure(context.new_page(), deployment.env)
    print(f"{COUNT} calls of notify_accounts(), milliseconds until the page has …")
    for name, values in times.items():
        cuts = quantiles(values, n=100)
        print(f"{name:>8}: p50 {cuts[49]:.1f}, p95 {cuts[94]:.1f}, most {max(values):.1f}")


if __name__ == "__main__":
    main()
