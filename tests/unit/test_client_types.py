"""client.d.ts: what it says is what client.js has, and TypeScript takes it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from harness.modules import SOURCE

DENO = Path(sys.executable).parent / "deno"
TYPES = SOURCE / "client.d.ts"
OPTIONS = {"strict": True, "lib": ["dom", "dom.iterable", "esnext"]}
DOCUMENTED = (SOURCE.parents[2] / "docs/client.md").read_text()
IMPORT = '"../notifications/client.js"'

WRONG = """
import { connect } from "../notifications/client.js";
const client = connect()
// @ts-expect-error: null where nobody is logged in
client.now()
// @ts-expect-error
client?.mark("n1", "read")
// @ts-expect-error
client?.mark(["n1"], "gone")
// @ts-expect-error
client?.markAll("unread")
// @ts-expect-error
client?.items("all")
// @ts-expect-error
if (client?.status === "asleep") {}
// @ts-expect-error
client?.addEventListener("unread", ({ detail }) => detail.read)
"""


def deno(*arguments: str | Path) -> str:
    environment = {**os.environ, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    command = [DENO, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(directory: Path, script: str) -> None:
    """Check the script as TypeScript, with the types in place of the module."""
    assert IMPORT in script
    file = directory / "script.ts"
    file.write_text(script.replace(IMPORT, json.dumps(TYPES.as_uri())))
    options = directory / "deno.json"
    options.write_text(json.dumps({"compilerOptions": OPTIONS}))
    deno("check", "--no-remote", "--config", options, file)


def test_the_documented_scripts_have_the_right_types(tmp_path: Path) -> None:
    scripts = re.findall(r"^```js\n(.*?)^```", DOCUMENTED, re.DOTALL | re.MULTILINE)

    assert scripts
    for script in scripts:
        check(tmp_path, script)


def test_mistakes_are_found(tmp_path: Path) -> None:
    check(tmp_path, WRONG)


def test_the_types_name_what_the_client_has() -> None:
    script = f"""
        import {{ NotificationsClient }} from {json.dumps((SOURCE / "client.js").as_uri())};
        console.log(Object.getOwnPropertyNames(NotificationsClient.prototype).join(" "))
    """

    names = deno("eval", script).split()

    described = TYPES.read_text().partition("class NotificationsClient")[2].partition("\n}")[0]
    typed = re.findall(r"^  (?:readonly )?(\w+)[(:<]", described, re.MULTILINE)
    # `config` is given to each object; the listeners are those of every EventTarget.
    inherited = {"config", "addEventListener", "removeEventListener"}
    assert set(names) == set(typed) - inherited
