"""
Times `notify_accounts()` until the toast is painted: `python -m harness.benchmarks.toast`.

The demo site runs as in production, with PostgreSQL and Redis, and is called from another process.
Chromium has alice's page open and records when it has painted each toast, which is then closed,
without animation. (Element Timing is unsuitable: it reports some frames only with the next one.)
Both processes read the same clock.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Final

from playwright.sync_api import Page

from harness.browser import await_online, chromium, log_in
from harness.demo_data import PRIVATE_PASSWORD
from harness.deployment import Deployment
from harness.services import manage, postgres_server, redis_server

WARM_UP: Final = 10
COUNT: Final = 200
PAUSE_SECONDS: Final = 0.1

CALLS: Final = f"""
import time
from django.contrib.auth import get_user_model
from notifications import notify_accounts
alice = get_user_model().objects.get(username="alice")
for number in range({WARM_UP + COUNT}):
    time.sleep({PAUSE_SECONDS})
    notify_accounts([alice], "news", f"Number {{number}}", meta_data=time.time() * 1000)
"""

WATCH: Final = """() => {
  const client = globalThis[Symbol.for("notifications.client")]
  const now = () => performance.timeOrigin + performance.now()
  const called = new Map()
  window.received = []
  window.painted = []
  client.addEventListener("notification", ({ detail: { content } }) => {
    called.set(content.body, content.meta_data)
    received.push(now() - content.meta_data)
  })
  new MutationObserver((records) => {
    for (const toast of records.flatMap(({ addedNodes }) => [...addedNodes])) {
      const { port1, port2 } = new MessageChannel()
      port1.onmessage = () => { // runs after the frame has been painted
        painted.push(now() - called.get(toast.querySelector("[data-slot=body]").textContent))
        toast.querySelector("[data-action=close]").click()
      }
      port2.postMessage(null)
    }
  }).observe(document.querySelector("notifications-toasts [data-part=stack]"), { childList: true })
}"""


def measure(page: Page, env: dict[str, str]) -> dict[str, list[float]]:
    """Return the milliseconds until each frame is received, and until its toast is painted."""
    page.goto("/")
    await_online(page)
    page.evaluate(WATCH)
    manage("shell", "--no-imports", "-c", CALLS, env=env)
    page.wait_for_function(f"() => painted.length === {WARM_UP + COUNT}")
    return {name: page.evaluate(f"() => {name}")[WARM_UP:] for name in ("received", "painted")}


def main() -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        database_url = stack.enter_context(postgres_server()).create_database("site")
        redis_url = stack.enter_context(redis_server()).url
        deployment = Deployment(directory, database_url, REDIS_URL=redis_url)
        stack.enter_context(deployment.running())
        browser = stack.enter_context(chromium())
        context = browser.new_context(base_url=deployment.server.url, reduced_motion="reduce")
        log_in(context, "alice", PRIVATE_PASSWORD)
        times = measure(context.new_page(), deployment.env)
    print(f"{COUNT} calls of notify_accounts(), milliseconds until the frame is …")
    for name, values in times.items():
        cuts = quantiles(values, n=100)
        print(f"{name:>8}: p50 {cuts[49]:.1f}, p95 {cuts[94]:.1f}, max {max(values):.1f}")


if __name__ == "__main__":
    main()
