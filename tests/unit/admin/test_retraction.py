"""Messages are retracted, once the operator has confirmed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import display_for_value
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from notifications import broadcast, notify_accounts, retract
from notifications.audiences import Recipient
from notifications.inbox import pages
from notifications.lifecycle import retraction as lifecycle
from notifications.models import Broadcast, Inbox, Notification
from tests.unit.conftest import Commit

from .pages import BROADCASTS, NOTIFICATIONS, row, text


def retraction(*pks: int, **fields: Any) -> dict[str, Any]:
    """Return the form that the list posts for these chosen messages."""
    return {"action": "retract", "_selected_action": pks, **fields}


def confirmation(page: Any) -> dict[str, Any]:
    """Return the form that the confirmation page posts."""
    shown = page.content.decode()
    fields: dict[str, Any] = {}
    for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', shown):
        fields.setdefault(name, []).append(value)
    return fields


def test_retracting_first_lists_the_messages_and_asks_for_confirmation(
    admin: Client, alice: User, bob: User, commit: Commit
) -> None:
    with commit():
        everyones = broadcast("news", "Wrong <b>price</b>")
        staffs = broadcast("news", "Wrong time", audience="staff")
        other = broadcast("news", "Right")

    with commit():
        page = admin.post(f"{BROADCASTS}?o=1", retraction(everyones.pk, staffs.pk))

    assert "retract the selected broadcasts?" in text(page)
    assert "Summary Broadcasts: 2" in text(page)
    assert "Wrong time ( Staff, 1 account )" in text(page).replace("(", "( ").replace(")", " )")
    assert "Wrong &lt;b&gt;price&lt;/b&gt; (Everyone, 3 accounts)" in text(page)
    assert "Right" not in text(page)
    assert f'href="{BROADCASTS}?o=1" class="button cancel-link"' in page.content.decode()
    assert {*Broadcast.objects.present()} == {everyones, staffs, other}
    assert not LogEntry.objects.exists()


def test_the_confirmation_lists_ten_messages_and_counts_the_rest(
    admin: Client, alice: User, commit: Commit
) -> None:
    with commit():
        for number in range(12):
            notify_accounts(alice, "hello", f"Hello {number}.")
    pks = Notification.objects.values_list("pk", flat=True)

    page = admin.post(NOTIFICATIONS, retraction(*pks))

    assert "Notifications: 12" in text(page)
    assert text(page).count("(alice)") == 10
    assert "Hello 11." in text(page)
    assert "Hello 1." not in text(page)
    assert "and 2 more" in text(page)


def test_retracting_a_broadcast_removes_it_from_all_inboxes(
    admin: Client, alice: User, operator: User, commit: Commit
) -> None:
    with commit():
        wrong, right = broadcast("news", "Wrong"), broadcast("news", "Right")
    page = admin.post(BROADCASTS, retraction(wrong.pk))

    with commit():
        answer = admin.post(BROADCASTS, confirmation(page), follow=True)

    assert "1 message retracted. It is gone from all inboxes and open tabs." in text(answer)
    items = pages.read_page(Recipient.of(alice)).items
    assert [item["id"] for item in items] == [right.wire_id]
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id, entry.change_message) == (
        operator,
        str(wrong.pk),
        "Retracted.",
    )
    page = admin.get(BROADCASTS).content.decode()
    newest, other = re.findall(r'field-status">(.*?)</td>', page)
    assert newest == "Sent"
    assert re.fullmatch("Retracted by <bdi[^>]*>operator</bdi>, .+", other)


def test_the_result_counts_only_messages_not_retracted_before(
    admin: Client, alice: User, bob: User, commit: Commit
) -> None:
    with commit():
        ids = notify_accounts([alice, bob], "hello", "Hello").ids
        ids += notify_accounts(bob, "hello", "Again").ids
    page = admin.post(NOTIFICATIONS, retraction(*ids))
    with commit():
        admin.post(NOTIFICATIONS, confirmation(admin.post(NOTIFICATIONS, retraction(ids[0]))))

    with commit():
        answer = admin.post(NOTIFICATIONS, confirmation(page), follow=True)

    assert "2 messages retracted. They are gone from" in text(answer)
    assert not Notification.objects.present().exists()
    assert set(Inbox.objects.values_list("unread", flat=True)) == {0}
    assert LogEntry.objects.count() == 3
    # A second click.
    assert "are already gone from all inboxes" in text(
        admin.post(NOTIFICATIONS, confirmation(page), follow=True)
    )
    assert LogEntry.objects.count() == 3


def test_retracting_a_whole_search_leaves_messages_sent_after_the_confirmation_was_shown(
    admin: Client, alice: User, bob: User, commit: Commit
) -> None:
    with commit():
        (bobs,) = notify_accounts(bob, "hello", "Hello").ids
        notify_accounts(alice, "hello", "Hello")
        (last,) = notify_accounts(alice, "hello", "Again").ids
    address = f"{NOTIFICATIONS}?q=alice"
    page = admin.post(address, retraction(last, select_across="1"))
    assert "Notifications: 2" in text(page)
    with commit():
        (late,) = notify_accounts(alice, "hello", "Later").ids

    with commit():
        admin.post(address, confirmation(page))

    left = Notification.objects.present().values_list("pk", flat=True)
    assert {*left} == {bobs, late}


@pytest.mark.parametrize("newest", ["", "x"])
def test_a_confirmation_without_a_valid_newest_message_retracts_nothing(
    admin: Client, alice: User, commit: Commit, newest: str
) -> None:
    with commit():
        (pk,) = notify_accounts(alice, "hello", "Hello").ids

    with commit():
        answer = admin.post(NOTIFICATIONS, retraction(pk, newest=newest))

    assert "Are you sure" in text(answer)
    assert Notification.objects.present().exists()


@pytest.mark.parametrize("kind", ["notification", "broadcast"])
def test_retracting_needs_the_permission_to_delete(
    staff: Callable[..., Client], alice: User, commit: Commit, kind: str
) -> None:
    with commit():
        notify_accounts(alice, "hello", "Hello")
        broadcast("news", "News")
    browser = staff(f"view_{kind}", f"change_{kind}", "send_broadcast")
    model = {"notification": Notification, "broadcast": Broadcast}[kind]
    pk = model.objects.get().pk
    answer = retraction(pk, newest=pk)
    address = f"/admin/site_notifications/{kind}/"

    with commit():
        browser.post(address, answer)

    assert "retract" not in browser.get(address).content.decode()
    assert model.objects.get().removed_at is None
    User.objects.get(username="sam").user_permissions.add(
        Permission.objects.get(codename=f"delete_{kind}")
    )
    with commit():
        browser.post(address, answer)
    assert model.objects.get().removed_at


@pytest.mark.parametrize("address", [NOTIFICATIONS, BROADCASTS])
def test_the_pages_show_how_a_message_was_removed(
    admin: Client, operator: User, alice: User, commit: Commit, address: str
) -> None:
    model = Notification if address == NOTIFICATIONS else Broadcast

    def shown_after(change: Callable[[], Any], expires_at: Any = None) -> str:
        model.objects.all().delete()
        with commit():
            notify_accounts(alice, "hello", "Hello", expires_at=expires_at)
            broadcast("news", "News", expires_at=expires_at)
        with commit():
            change()
        shown = row(admin.get(address).content.decode())["status"]
        page = admin.get(f"{address}{model.objects.get().pk}/change/")
        assert f"Status: {shown}" in text(page)
        words, _, time = shown.partition(", ")
        removed = model.objects.get()
        # The helpers that read the pages turn its no-break spaces into spaces.
        assert time == " ".join(
            display_for_value(removed.retracted_at or removed.removed_at, "").split()
        )
        return words

    deleted = alice.pk
    retract_all = lambda **by: retract(model.objects.all(), **by)  # noqa: E731
    assert shown_after(lambda: retract_all(by=operator)) == "Retracted by operator"
    assert shown_after(retract_all) == "Retracted"
    assert shown_after(lambda: lifecycle.expire("default"), timezone.now()) == "Expired"
    now = timezone.now()
    assert shown_after(lambda: model.objects.update(removed_at=now)) == "Removed"
    # Retracted by release 0.2.0.
    assert shown_after(lambda: model.objects.update(removed_at=now, expires_at=now)) == "Expired"
    assert shown_after(lambda: retract_all(by=alice)) == "Retracted by alice"
    alice.delete()
    assert row(admin.get(address).content.decode())["status"].startswith(
        f"Retracted by deleted account {deleted}"
    )
    User.objects.create_user("mallory", pk=deleted)
    assert row(admin.get(address).content.decode())["status"].startswith(
        f"Retracted by deleted account {deleted}"
    )


def test_the_operator_who_retracts_is_recorded(
    admin: Client, operator: User, alice: User, commit: Commit
) -> None:
    with commit():
        (pk,) = notify_accounts(alice, "hello", "Hello").ids

    with commit():
        admin.post(NOTIFICATIONS, retraction(pk, newest=pk))

    assert Notification.objects.get().retracted_by == operator
