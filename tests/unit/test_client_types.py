"""
client.d.ts: TypeScript accepts it, and it agrees with client.js.

`make types` compares it with the types generated from the JSDoc of client.js.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from harness.modules import SOURCE
from tests.javascript import deno

TYPES = SOURCE / "client.d.ts"
OPTIONS = {"strict": True, "lib": ["dom", "dom.iterable", "esnext"]}
DOCUMENTED = (SOURCE.parents[2] / "docs/client.md").read_text()
IMPORT = '"../notifications/client.js"'

RIGHT = """
import { connect } from "../notifications/client.js";
import type {
  Announcement, ApiError, Config, Counts, Folder, Item, Level, Mark, MarkAnswer, Notification,
  NotificationsClient, NotificationsEventMap, Range, StateChange, Status,
} from "../notifications/client.js";
const client: NotificationsClient = connect()!
const target: EventTarget = client
const listener = (event: CustomEvent<Notification>) => event.detail.content.body
client.addEventListener("order_paid", listener)
client.removeEventListener("order_paid", listener)
const content = { body: "", meta_data: { order: 1 } }
const item: Item<{ order: number }> = { ...client.items()[0], content }
const id: string = item.id
const status: Status = client.status
client.mark([id], "archived").then(({ range, unread }: MarkAnswer) => range && client.undo(range))
"""

WRONG = """
import { connect } from "../notifications/client.js";
const client = connect()
// @ts-expect-error: null without a logged-in account
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
// @ts-expect-error
if (client) client.config = client.config
// @ts-expect-error
client?.load(1)
// @ts-expect-error
client?.undo({})
// @ts-expect-error
client?.recordHidden({ id: 1 })
"""


def output(*arguments: str | Path) -> str:
    done = deno(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(directory: Path, script: str) -> None:
    """Check the script as TypeScript, with the types in place of the module."""
    assert IMPORT in script
    file = directory / "script.ts"
    file.write_text(script.replace(IMPORT, json.dumps(TYPES.as_uri())))
    options = directory / "deno.json"
    options.write_text(json.dumps({"compilerOptions": OPTIONS}))
    output("check", "--no-remote", "--config", options, file)


def test_the_documented_scripts_have_the_right_types(tmp_path: Path) -> None:
    scripts = re.findall(r"^```js\n(.*?)^```", DOCUMENTED, re.DOTALL | re.MULTILINE)

    assert scripts
    for script in scripts:
        check(tmp_path, script)


def test_each_type_can_be_imported_by_name(tmp_path: Path) -> None:
    check(tmp_path, RIGHT)


def test_the_types_find_mistakes(tmp_path: Path) -> None:
    check(tmp_path, WRONG)


def test_the_types_have_all_members_of_the_client() -> None:
    script = f"""
        import {{ NotificationsClient }} from {json.dumps((SOURCE / "client.js").as_uri())};
        console.log(Object.getOwnPropertyNames(NotificationsClient.prototype).join(" "))
    """

    names = output("eval", script).split()

    described = TYPES.read_text().partition("class NotificationsClient")[2].partition("\n}")[0]
    typed = re.findall(r"^    (?:readonly |get )?(\w+)[(:<]", described, re.MULTILINE)
    assert set(names) == set(typed)


def test_the_entry_module_exports_all_names_of_the_client() -> None:
    """index.d.ts says so; it is not generated, because re-exported names have no types."""
    client = (SOURCE / "client.js").read_text()
    exported = re.findall(
        r"^export (?:async )?(?:class|function|const) (\w+)", client, re.MULTILINE
    )

    assert f"export {{ {', '.join(sorted(exported, key=str.lower))} }}" in (
        (SOURCE / "index.js").read_text().splitlines()
    )
    assert (SOURCE / "index.d.ts").read_text() == 'export * from "./client.js"\n'


def test_every_public_member_has_a_type() -> None:
    declared = re.sub(r"/\*.*?\*/", "", TYPES.read_text(), flags=re.DOTALL)

    # A listener of any event can be removed.
    assert re.findall(r"^.*\bany\b", declared, re.MULTILINE) == [
        "    removeEventListener(type: string, listener: ((event: CustomEvent<any"
    ]
