"""
What our scripts and styles weigh as a browser gets them: `python -m benchmarks.weight`.

The demo site runs as in production; a real Chromium loads a page, which shows
what every page loads. The rest is what these modules import later. Sizes are
those of the compressed bodies that the server sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from playwright.sync_api import Browser, Response, sync_playwright

from tests.browser.conftest import FLAGS, SETTINGS, log_in_there, make_demo_data
from tests.browser.elements import expect_online
from tests.browser.production import Deployment
from tests.modules import ENTRY, reached
from tests.services import chromium_executable

OURS: Final = "/static/notifications/"


@dataclass(frozen=True)
class File:
    name: str
    size: int  # bytes
    is_first: bool  # loaded by every page


def weigh(browser: Browser, deployment: Deployment) -> list[File]:
    """Return our files as the deployment, which is running, sends them to an account's page."""
    context = browser.new_context(base_url=deployment.server.url)
    log_in_there(context, "carol")
    page = context.new_page()
    answers: list[Response] = []
    page.on("response", lambda answer: OURS in answer.url and answers.append(answer))
    page.goto("/")
    expect_online(page)
    page.wait_for_load_state("networkidle")
    first = {answer.url.partition(OURS)[2]: _size(answer) for answer in answers}
    directory = Path(deployment.env["STATIC_ROOT"]) / "notifications"
    entry = next(name for name in first if _plain(name) == ENTRY)
    files = [File(_plain(name), size, is_first=True) for name, size in first.items()]
    for name in reached(directory, entry):
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
    return re.sub(r"\.[0-9a-f]{12}(\.\w+)$", r"\1", name)


def total(files: Iterable[File]) -> int:
    return sum(file.size for file in files)


def main() -> None:
    with TemporaryDirectory() as directory, sync_playwright() as playwright:
        database_url = f"sqlite:///{directory}/site.sqlite3"
        make_demo_data({**SETTINGS, "DATABASE_URL": database_url})
        deployment = Deployment(Path(directory), database_url)
        browser = playwright.chromium.launch(executable_path=chromium_executable(), args=FLAGS)
        with deployment.running():
            files = weigh(browser, deployment)
        browser.close()
    for file in sorted(files, key=lambda file: (not file.is_first, -file.size)):
        print(f"{file.size:7,}  {file.name}{'' if file.is_first else '  (later)'}")
    print(f"{total(file for file in files if file.is_first):7,}  every page")
    print(f"{total(files):7,}  in all")


if __name__ == "__main__":
    main()
