"""All our strings are translated, and pages are in the language of the browser."""

from __future__ import annotations

import gettext
import re
from datetime import timedelta
from typing import Any

import pytest
from babel.messages import Message
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone, translation

from notifications import notify_accounts
from notifications.models import Notification
from tests.messages import ALL, Strings, extracted, is_translated, read

EACH = pytest.mark.parametrize("strings", ALL, ids=lambda strings: strings.folder)
# A translation must have the same placeholders, tags and entities.
FIXED = re.compile(r"%\(\w+\)[ds]|\{\w+\}|</?\w+>|&\w+;")


def messages(strings: Strings) -> list[Message]:
    found = [message for message in read(strings) if message.id]
    assert found
    return found


def forms(text: Any) -> list[str]:
    return list(text) if isinstance(text, tuple | list) else [text]


# --- The catalogs


@EACH
def test_the_catalog_has_the_strings_of_the_source_and_no_others(strings: Strings) -> None:
    """If it fails: run `make messages`, translate the new strings, and run it again."""
    in_source = {(message.id, message.context) for message in extracted(strings) if message.id}

    assert {(message.id, message.context) for message in messages(strings)} == in_source


@EACH
def test_everything_is_translated(strings: Strings) -> None:
    assert [message.id for message in messages(strings) if not is_translated(message)] == []
    assert [message.id for message in messages(strings) if message.fuzzy] == []


@EACH
def test_a_translation_keeps_placeholders_and_markup(strings: Strings) -> None:
    for message in messages(strings):
        for form in forms(message.string):
            original = forms(message.id)[-1]
            assert sorted(FIXED.findall(form)) == sorted(FIXED.findall(original)), form


@EACH
def test_the_compiled_catalog_matches_the_written_one(strings: Strings) -> None:
    with strings.mo.open("rb") as file:
        compiled = gettext.GNUTranslations(file)

    for message in messages(strings):
        for n, form in enumerate(forms(message.string)):
            if isinstance(message.id, tuple):
                assert compiled.ngettext(*message.id, n) == form
            elif message.context:
                assert compiled.pgettext(message.context, message.id) == form
            else:
                assert compiled.gettext(message.id) == form
    assert len(messages(strings)) == len(compiled._catalog) - 1  # type: ignore[attr-defined]


# --- The language of a page


@pytest.fixture
def alices_client(alice: User) -> Client:
    client = Client(headers={"accept-language": "zh-CN,zh;q=0.9,en;q=0.8"})
    client.force_login(alice)
    return client


def test_the_browser_chooses_the_language(alices_client: Client) -> None:
    page = alices_client.get("/notifications/").content.decode()

    assert 'lang="zh-hans"' in page
    assert "全部标为已读" in page


def test_a_chosen_language_is_kept_on_other_pages(alices_client: Client) -> None:
    alices_client.post(
        "/language/", {"language": "en"}, headers={"referer": "http://testserver/notifications/"}
    )

    page = alices_client.get("/notifications/").content.decode()

    assert 'lang="en"' in page
    assert "全部标为已读" not in page


def test_english_is_used_for_an_unsupported_language(alice: User) -> None:
    client = Client(headers={"accept-language": "de"})
    client.force_login(alice)

    assert 'lang="en"' in client.get("/notifications/").content.decode()


@pytest.mark.parametrize(
    ("language", "expected"), [("en", "3\xa0hours ago"), ("zh-hans", "3\xa0小时前")]
)
def test_an_age_is_in_the_language_of_the_page(
    alice: User, django_capture_on_commit_callbacks: Any, language: str, expected: str
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        notify_accounts(alice, "note", "Hello")
    hours_ago = timezone.now() - timedelta(hours=3, minutes=5)
    User.objects.update(date_joined=hours_ago)  # or it would be another account's
    Notification.objects.update(created_at=hours_ago)
    client = Client(headers={"accept-language": language})
    client.force_login(alice)

    assert expected in client.get("/notifications/").content.decode()


def test_texts_for_developers_stay_english(alice: User) -> None:
    with translation.override("zh-hans"), pytest.raises(ValueError, match="level must be"):
        notify_accounts(alice, "note", "Hello", level="loud")
