"""
The download size of our scripts and styles: `python -m harness.benchmarks.weight`.

The demo site runs as in production, and Chromium loads a page to find the files
that every page loads. The others are imported later. Sizes are those of the
compressed response bodies, next to those of unminified files for sites that do
not minify.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from playwright.sync_api import Browser, Response

from harness.browser import await_online, chromium, log_in
from harness.demo_data import PRIVATE_PASSWORD
from harness.deployment import Deployment
from harness.modules import ENTRY, SOURCE, reached

HASH: Final = re.compile(r"\.[0-9a-f]{12}(?=\.\w+$)")
LATER_STYLES: Final = ("inbox.css", "banner.css")
OURS: Final = "/static/notifications/"


@dataclass(frozen=True)
class File:
    name: str
    size: int  # bytes sent
    is_first: bool  # loaded by every page

    @property
    def plain_size(self) -> int:
        """Bytes of the compressed source, for sites that do not minify."""
        return len(gzip.compress((SOURCE / self.name).read_bytes()))


def weigh(browser: Browser, deployment: Deployment) -> list[File]:
    """Return our files as the running deployment sends them to a logged-in account."""
    context = browser.new_context(base_url=deployment.server.url)
    log_in(context, "carol", PRIVATE_PASSWORD)
    page = context.new_page()
    responses: list[Response] = []

    def keep(response: Response) -> None:
        if OURS in response.url:
            responses.append(response)

    page.on("response", keep)
    page.goto("/")
    await_online(page)
    page.wait_for_load_state("networkidle")
    first = {response.url.partition(OURS)[2]: _size(response) for response in responses}
    directory = Path(deployment.env["STATIC_ROOT"]) / "notifications"
    entry = next(name for name in first if _plain(name) == ENTRY)
    files = [File(_plain(name), size, is_first=True) for name, size in first.items()]
    styles = [
        path.name
        for path in directory.glob("*.css")
        if HASH.search(path.name) and _plain(path.name) in LATER_STYLES
    ]
    for name in [*reached(directory, entry), *styles]:
        if name not in first:
            size = (directory / f"{name}.gz").stat().st_size
            files.append(File(_plain(name), size, is_first=False))
    context.close()
    return files


def _size(response: Response) -> int:
    headers = response.all_headers()
    assert headers["content-encoding"] == "gzip", response.url
    return int(headers["content-length"])


def _plain(name: str) -> str:
    return HASH.sub("", name)


def total(files: Iterable[File]) -> int:
    return sum(file.size for file in files)


def main() -> None:
    with TemporaryDirectory() as directory, chromium() as browser:
        deployment = Deployment(Path(directory), f"sqlite:///{directory}/site.sqlite3")
        with deployment.running():
            files = weigh(browser, deployment)
    print("   sent    plain")
    for file in sorted(files, key=lambda file: (not file.is_first, -file.size)):
        note = "" if file.is_first else "  (later)"
        print(f"{file.size:7,}  {file.plain_size:7,}  {file.name}{note}")
    for name, some in (("every page", [f for f in files if f.is_first]), ("in all", files)):
        print(f"{total(some):7,}  {sum(file.plain_size for file in some):7,}  {name}")


if __name__ == "__main__":
    main()
