"""
What our scripts and styles weigh as a browser gets them: `python -m harness.benchmarks.weight`.

The demo site runs as in production; a real Chromium loads a page, which shows
what every page loads. The rest is what these modules import later. Sizes are
those of the compressed bodies that the server sent, and beside them what the
files would weigh as they are, for sites that do not minify.
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

from harness.browser import await_online, chromium, log_in_there
from harness.deployment import Deployment
from harness.modules import ENTRY, SOURCE, reached

HASH: Final = re.compile(r"\.[0-9a-f]{12}(?=\.\w+$)")
LATER_STYLES: Final = ("inbox.css", "banner.css")
OURS: Final = "/static/notifications/"


@dataclass(frozen=True)
class File:
    name: str
    size: int  # bytes, as it was sent
    is_first: bool  # loaded by every page

    @property
    def plain_size(self) -> int:
        """Bytes of the source, compressed: of a site that does not minify."""
        return len(gzip.compress((SOURCE / self.name).read_bytes()))


def weigh(browser: Browser, deployment: Deployment) -> list[File]:
    """Return our files as the deployment, which is running, sends them to an account's page."""
    context = browser.new_context(base_url=deployment.server.url)
    log_in_there(context, "carol")
    page = context.new_page()
    answers: list[Response] = []

    def keep(answer: Response) -> None:
        if OURS in answer.url:
            answers.append(answer)

    page.on("response", keep)
    page.goto("/")
    await_online(page)
    page.wait_for_load_state("networkidle")
    first = {answer.url.partition(OURS)[2]: _size(answer) for answer in answers}
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


def _size(answer: Response) -> int:
    headers = answer.all_headers()
    assert headers["content-encoding"] == "gzip", answer.url
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
        late = "" if file.is_first else "  (later)"
        print(f"{file.size:7,}  {file.plain_size:7,}  {file.name}{late}")
    for name, some in (("every page", [f for f in files if f.is_first]), ("in all", files)):
        print(f"{total(some):7,}  {sum(file.plain_size for file in some):7,}  {name}")


if __name__ == "__main__":
    main()
