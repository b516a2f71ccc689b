"""store.js and pages.js: the rules of the protocol as pure functions, run by Deno."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.modules import SOURCE

Run = Callable[[str], Any]

DENO = Path(sys.executable).parent / "deno"
# Runs scripts read as lines of JSON, and answers each with a line.
RUNNER = f"""
import {{ createInterface }} from "node:readline"
import * as store from {json.dumps((SOURCE / "store.js").as_uri())}
import * as pages from {json.dumps((SOURCE / "pages.js").as_uri())}

const given = {{ ...store, ...pages }}
for await (const line of createInterface({{ input: process.stdin }})) {{
  let answer
  try {{
    const run = new Function(...Object.keys(given), JSON.parse(line))
    answer = {{ result: run(...Object.values(given)) }}
  }} catch (error) {{
    answer = {{ failure: error.stack }}
  }}
  console.log(JSON.stringify(answer))
}}
"""
# Functions for the scripts below, in addition to those of the modules.
HELPERS = """
const start = (more = {}) => initialState({
  position: { seq: 10, broadcast_seq: 5, epoch: 1, scope: "s" },
  unread: 3, unread_broadcasts: 1, ...more
})
const time = (minute) => `2026-01-01T00:${String(minute).padStart(2, "0")}:00.000000+00:00`
const own = (number, more = {}) => ({
  type: "news", content: { body: `n${number}`, meta_data: "" },
  id: `n${number}`, number, seq: number,
  state: "unread", created_at: time(number), replaces: null, ...more
})
const cast = (number, more = {}) => ({
  type: "news", content: { body: `b${number}`, meta_data: "" },
  id: `b${number}`, number, broadcast_seq: number,
  state: "unread", created_at: time(number), ...more
})
const marked = (as, ids, seq, more = {}) => ({ type: "state", as, ids, seq, ...more })
const upTo = (as, range) => ({ type: "state", as, range, seq: range.seq })
const answer = (as, ids, seq, counts) => ({ range: { as, from: seq, seq }, ids, ...counts })
const page = (items, more = {}) => ({
  items, next: null, seq: 10, broadcast_seq: 5, epoch: 1, scope: "s",
  unread: 3, unread_broadcasts: 1, ...more
})
const after = (state, ...frames) => frames.reduce(applyFrame, state)
const list = (state, folder = "inbox") => itemsIn(state, folder).map(({ id }) => id)
const states = (state) => Object.fromEntries([...state.items].map(([id, { state }]) => [id, state]))
const counts = ({ unread, unread_broadcasts }) => [unread, unread_broadcasts]
const position = ({ seq, broadcast_seq }) => [seq, broadcast_seq]
"""


@pytest.fixture(scope="module")
def deno(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """One process for all tests: they share nothing that they change, as one of them proves."""
    runner = tmp_path_factory.mktemp("deno") / "runner.js"
    runner.write_text(RUNNER)
    command = [DENO, "run", "--no-remote", "--no-prompt", runner]
    environment = {**os.environ, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        yield process


@pytest.fixture
def run(deno: subprocess.Popen[str]) -> Run:
    """Run a script with the store's functions; return what it returns."""

    def run(script: str) -> Any:
        assert deno.stdin and deno.stdout
        deno.stdin.write(f"{json.dumps(HELPERS + script)}\n")
        deno.stdin.flush()
        answer = json.loads(deno.stdout.readline())
        assert "failure" not in answer, answer["failure"]
        return answer["result"]

    return run


def test_own_items_and_broadcasts_merge_by_the_time_of_the_next_one(run: Run) -> None:
    # The time of n12 is wrong: within a kind only the number counts.
    assert run(
        """return list(after(start(),
          own(11, { created_at: time(30) }), cast(6, { created_at: time(20) }),
          own(12, { created_at: time(10) }), cast(7, { created_at: time(15) })))"""
    ) == ["b7", "b6", "n12", "n11"]


def test_items_of_pages_and_frames_form_one_list(run: Run) -> None:
    assert run(
        """let state = after(start(), own(11))
        state = applyPage(state, page([own(11), own(10), own(9)], { seq: 11, next: "x" }), "inbox")
        state = after(state, own(12))
        state = applyPage(state, page([own(8), own(7)], { seq: 12 }), "inbox")
        return [list(state), state.folders.inbox.next, position(state)]"""
    ) == [["n12", "n11", "n10", "n9", "n8", "n7"], None, [12, 5]]


def test_a_frame_that_is_not_above_the_position_is_old(run: Run) -> None:
    assert run(
        """const state = after(start(), own(11, { unread: 4 }))
        const old = [own(11, { unread: 9 }), own(3), cast(5), marked("read", ["n11"], 11)]
        const again = after(state, ...old)
        return [again === state, isNew(state, own(11)), isNew(state, own(12)), counts(again)]"""
    ) == [True, False, True, [4, 1]]


def test_an_item_is_applied_only_above_the_seq_held_for_it(run: Run) -> None:
    # The page's rows were read after the frames below were sent.
    assert run(
        """let state = applyPage(start(), page([own(11, { seq: 13, state: "read" })]), "inbox")
        state = after(state, own(11))
        const early = states(state)
        state = after(state, marked("read", ["n11"], 12), marked("unread", ["n11"], 14))
        return [early, states(state)]"""
    ) == [{"n11": "read"}, {"n11": "unread"}]


def test_an_item_sent_late_has_the_state_of_its_last_change(run: Run) -> None:
    # The page's rows were read before that change.
    assert run(
        """const state = applyPage(start(), page([own(11)]), "inbox")
        const late = after(state, own(11, { state: "read", changed: 13 }))
        const range = upTo("unread", { from: 14, seq: 14, upto: { seq: 12, broadcast_seq: 5 } })
        return [states(late), states(after(late, range))]"""
    ) == [{"n11": "read"}, {"n11": "read"}]


def test_an_item_first_seen_on_a_page_is_still_new_when_its_frame_arrives(run: Run) -> None:
    assert run(
        """let state = applyPage(start(), page([own(11), own(10)]), "inbox")
        const first = isNew(state, own(11))
        state = after(state, own(11))
        return [first, isNew(state, own(11)), isNew(state, own(10, { seq: 12 }))]"""
    ) == [True, False, False]


def test_a_replacement_replaces_the_older_item(run: Run) -> None:
    assert run("return list(after(start(), own(11), own(13, { replaces: 'n11' })))") == ["n13"]


def test_a_replacement_that_arrives_before_the_page_with_the_older_item_is_remembered(
    run: Run,
) -> None:
    assert run(
        """const state = after(start(), own(12, { replaces: "n9" }))
        return list(applyPage(state, page([own(10), own(9)]), "inbox"))"""
    ) == ["n12", "n10"]


def test_a_receipt_that_arrives_before_its_broadcast_is_remembered(run: Run) -> None:
    assert run(
        """const state = after(start(), marked("read", ["b6"], 11), cast(6), cast(7))
        return [states(state), counts(state)]"""
    ) == [{"b6": "read", "b7": "unread"}, [3, 2]]


def test_a_retraction_that_arrives_before_its_page_is_remembered(run: Run) -> None:
    assert run(
        """const state = after(start(), marked("gone", ["n8"], 11), marked("read", ["n7"], 12),
          { type: "state", as: "gone", ids: ["b4"], broadcast_seq: 6 })
        return states(applyPage(state, page([own(9), own(8), own(7), cast(4)]), "inbox"))"""
    ) == {"n9": "unread", "n7": "read"}


def test_a_newer_page_overrides_an_early_state(run: Run) -> None:
    assert run(
        """const state = after(start(), marked("read", ["b4"], 11))
        return states(applyPage(state, page([cast(4)], { seq: 12 }), "inbox"))"""
    ) == {"b4": "unread"}


def test_a_page_that_frames_have_overtaken_does_not_override_them(run: Run) -> None:
    assert run(
        """const overtaken = page([own(11), cast(6)], { seq: 11, broadcast_seq: 6 })
        const state = after(start(), own(11), cast(6), marked("read", ["n11", "b6"], 13))
        return states(applyPage(state, overtaken, "inbox"))"""
    ) == {"n11": "read", "b6": "read"}


def test_the_states_of_unknown_items_do_not_pile_up(run: Run) -> None:
    assert (
        run(
            """let state = start()
        for (let n = 11; n < 3000; n++) state = applyFrame(state, marked("read", [`x${n}`], n))
        return state.early.size"""
        )
        == 1000
    )


def test_a_range_marks_the_items_it_covers(run: Run) -> None:
    assert run(
        """const range = { from: 15, seq: 16, upto: { seq: 13, broadcast_seq: 6 } }
        const state = after(start(), own(11), own(12), cast(6), own(13), cast(7),
          marked("unread", ["n11"], 14),
          { ...upTo("read", range), unread: 1, unread_broadcasts: 1 })
        return [states(state), counts(state), position(state)]"""
    ) == [
        {"n11": "unread", "n12": "read", "n13": "read", "b6": "read", "b7": "unread"},
        [1, 1],
        [16, 7],
    ]


def test_a_range_also_marks_items_that_arrive_after_it(run: Run) -> None:
    assert run(
        """const range = { from: 11, seq: 12, upto: { seq: 10, broadcast_seq: 6 } }
        const state = after(start(), upTo("read", range), cast(6), cast(7), own(13))
        return states(applyPage(state, page([own(9)]), "inbox"))"""
    ) == {"b6": "read", "b7": "unread", "n13": "unread", "n9": "read"}


def test_archived_items_leave_the_lists_and_removed_items_the_store(run: Run) -> None:
    assert run(
        """const state = after(start(), own(11), own(12), own(13),
          marked("archived", ["n11"], 14), marked("gone", ["n12"], 15))
        return [list(state), states(state)]"""
    ) == [["n13"], {"n11": "archived", "n13": "unread"}]


def test_the_server_owns_the_counts(run: Run) -> None:
    assert run(
        """let state = after(start(), cast(6), cast(7))
        const counted = [counts(state)]
        const reached = { seq: 11, broadcast_seq: 7, unread: 8, unread_broadcasts: 0 }
        state = after(state, { type: "heartbeat", ...reached })
        counted.push(counts(state))
        // The answer to a mark overtakes the frame of an earlier change.
        state = after(state, own(12, { unread: 9 }))
        state = applyMark(state, answer("read", ["n12"], 14, { unread: 7, unread_broadcasts: 0 }))
        counted.push(counts(after(state, own(13, { unread: 10 }))))
        return counted"""
    ) == [[3, 3], [8, 0], [7, 0]]


def test_broadcasts_that_the_page_counted_are_not_counted_again(run: Run) -> None:
    # It connects with an older position than that of the page and its counts.
    assert run(
        """const resumeFrom = { seq: 8, broadcast_seq: 3 }
        const state = after(start({ resumeFrom }), own(9), cast(4), cast(5), cast(6))
        return [counts(state), list(state)]"""
    ) == [[3, 2], ["n9", "b6", "b5", "b4"]]


def test_a_mark_does_not_move_the_position(run: Run) -> None:
    assert run(
        """let state = after(start(), own(11))
        state = applyMark(state, answer("read", ["n11"], 13, { unread: 3 }))
        const read = states(state)
        const undone = after(state, own(12), marked("unread", ["n11"], 14))
        return [read, position(state), states(undone)]"""
    ) == [{"n11": "read"}, [11, 5], {"n11": "unread", "n12": "unread"}]


def test_the_answer_to_a_mark_in_parts_undoes_no_change_in_between(run: Run) -> None:
    # Items 11 to 13 are marked in two parts, and the first is marked as unread before the second.
    assert run(
        """let state = after(start(), own(11), own(12), own(13))
        state = after(state, marked("read", ["n11"], 14), marked("unread", ["n11"], 15))
        const range = { as: "read", from: 14, seq: 17 }
        const ids = ["n11", "n12", "n13"]
        return states(applyMark(state, { range, ids, unread: 1, unread_broadcasts: 0 }))"""
    ) == {"n11": "unread", "n12": "read", "n13": "read"}


def test_an_item_moved_out_of_the_archive_gets_the_state_of_its_frame(run: Run) -> None:
    assert run(
        """let state = after(start(), own(11), own(12), marked("archived", ["n11", "n12"], 14))
        state = applyMark(state, answer("inbox", ["n11", "n12"], 16, { unread: 4 }))
        const early = list(state)
        state = after(state, marked("read", ["n12"], 15), marked("unread", ["n11"], 16))
        return [early, states(state)]"""
    ) == [[], {"n11": "unread", "n12": "read"}]


def test_without_a_position_the_first_frame_sets_it(run: Run) -> None:
    assert run(
        """const latest = { seq: 4, broadcast_seq: 2, epoch: 1, scope: "s" }
        const state = after(initialState(), { type: "register", ...latest })
        return [positionOf(initialState()), positionOf(state)]"""
    ) == [None, {"seq": 4, "broadcast_seq": 2, "epoch": 1, "scope": "s"}]


def test_a_resync_keeps_only_items_that_arrive_after_it(run: Run) -> None:
    assert run(
        """let state = after(start(), own(11), cast(6),
          { type: "resync", seq: 4, broadcast_seq: 2, epoch: 2, scope: "s" }, own(5))
        const meanwhile = list(state)
        const latest = { seq: 4, broadcast_seq: 2, epoch: 2, unread: 2 }
        state = applyPage(state, page([own(4), own(3)], latest), "inbox")
        return [meanwhile, list(state), position(state), state.isOutdated, counts(state)]"""
    ) == [["n11", "b6", "n5"], ["n5", "n4", "n3"], [5, 2], False, [2, 1]]


def test_items_between_a_resync_and_its_page_are_still_new(run: Run) -> None:
    assert run(
        """const latest = { seq: 4, broadcast_seq: 2, epoch: 1, scope: "s" }
        let state = after(start(), { type: "resync", ...latest })
        state = applyPage(state, page([own(5), own(4)], { ...latest, seq: 5, unread: 2 }), "inbox")
        const first = isNew(state, own(5))
        state = after(state, own(5))
        return [first, isNew(state, own(5)), list(state), position(state)]"""
    ) == [True, False, ["n5", "n4"], [5, 2]]


def test_a_page_of_another_scope_is_a_new_start(run: Run) -> None:
    assert run(
        """const latest = { seq: 12, broadcast_seq: 6, scope: "t", unread: 2, unread_broadcasts: 0 }
        const items = page([own(12), own(11)], latest)
        const state = applyPage(after(start(), own(11), cast(6)), items, "inbox")
        return [list(state), positionOf(state), counts(state), isNew(state, own(12))]"""
    ) == [["n12", "n11"], {"seq": 11, "broadcast_seq": 6, "epoch": 1, "scope": "t"}, [2, 0], True]


def test_a_page_of_another_epoch_has_other_numbers(run: Run) -> None:
    assert run(
        """const items = page([own(3)], { seq: 3, broadcast_seq: 2, epoch: 2 })
        const state = applyPage(after(start(), own(11), cast(6)), items, "inbox")
        return [list(state), positionOf(state)]"""
    ) == [["n3"], {"seq": 3, "broadcast_seq": 2, "epoch": 2, "scope": "s"}]


def test_an_overtaken_page_of_another_scope_is_no_new_start(run: Run) -> None:
    assert run(
        """const state = after(start(), own(11), cast(6))
        const positions = [[11, 6], [10, 6], [11, 5]]
        const isNoStart = (more) => positions.map(([seq, broadcast_seq]) =>
          isOvertaken(state, page([], { seq, broadcast_seq, ...more })))
        return [isNoStart({ scope: "t" }), isNoStart({}), isNoStart({ epoch: 2, scope: "t" })]"""
    ) == [[False, True, True], [False] * 3, [False] * 3]


def test_the_store_changes_no_state_in_place(run: Run) -> None:
    assert run(
        """const freeze = (value) => {
          if (value instanceof Map || value instanceof Set) {
            for (const name of ["set", "add", "delete", "clear"]) {
              value[name] = () => { throw new Error(name) }
            }
          }
          for (const part of value instanceof Map ? value.values() : Object.values(value)) {
            if (part && typeof part === "object") freeze(part)
          }
          return Object.freeze(value)
        }
        let state = freeze(start())
        const range = { from: 18, seq: 18, upto: { seq: 12, broadcast_seq: 6 } }
        const end = { seq: 1, broadcast_seq: 1, epoch: 2 }
        for (const frame of [own(11), own(12, { replaces: "n11" }), cast(6),
          marked("read", ["n12", "b9"], 13),
          upTo("read", range),
          { type: "state", as: "gone", ids: ["b6"], broadcast_seq: 7 },
          { type: "heartbeat", seq: 18, broadcast_seq: 7, unread: 0, unread_broadcasts: 0 },
          { type: "resync", ...end, scope: "s" }]) {
          state = freeze(applyFrame(state, frame))
        }
        state = freeze(applyPage(state, page([own(1)], end), "inbox"))
        state = freeze(applyMark(state, answer("read", ["n1"], 2, { unread: 0 })))
        return states(state)"""
    ) == {"n1": "read"}
