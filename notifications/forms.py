"""The operators' forms. The models' validators define what a message may contain."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from . import audiences
from .db import times
from .db.keys import MAX_KEY
from .models import Broadcast, Notification
from .texts import is_blank

MAX_BODY_LENGTH: Final = 2000  # characters; a longer text belongs on the page that the link opens

HELP_TEXTS: Final = {
    "type": _(
        "Lets the site's scripts tell messages apart. Change it only if they expect another."
    ),
    "url": _("Optional. Opens when clicked: /path or https://…"),
    "expires_at": _("Removed from all inboxes at this time."),
}

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Any]
else:
    ModelForm = forms.ModelForm


class MessageForm(ModelForm):
    """The fields that every message has."""

    body = forms.CharField(
        label=_("Body"),
        max_length=MAX_BODY_LENGTH,
        widget=forms.Textarea(attrs={"rows": 4, "class": "vLargeTextField"}),
        help_text=_("Plain text."),
    )

    def clean_body(self) -> str:
        body: str = self.cleaned_data["body"]
        if is_blank(body):
            raise ValidationError(forms.Field.default_error_messages["required"])
        return body.replace("\r\n", "\n")


class NotificationForm(MessageForm):
    class Meta:
        model = Notification
        fields = ["body", "level", "url", "type"]
        help_texts = HELP_TEXTS
        widgets = {
            "url": forms.TextInput(attrs={"class": "vTextField"}),
            "type": forms.TextInput(attrs={"class": "vTextField"}),
        }


def audience_choices() -> list[tuple[Any, Any]]:
    choices: list[tuple[Any, Any]] = [
        (audiences.EVERYONE, _("Everyone")),
        (audiences.STAFF, _("Staff")),
    ]
    if audiences.groups_field() is None:
        return choices
    groups = [
        (audiences.audience_key(group), group.name) for group in Group.objects.order_by("name")
    ]
    return [*choices, (_("Groups"), groups)] if groups else choices


class BroadcastForm(MessageForm):
    audience = forms.ChoiceField(
        label=_("Audience"),
        choices=audience_choices,
        help_text=_(
            "Sent to all active accounts in this audience. Accounts created later won't get it."
        ),
    )

    class Meta:
        model = Broadcast
        fields = ["audience", "body", "level", "url", "type", "expires_at"]
        help_texts = HELP_TEXTS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "expires_at" not in self.fields:  # the operator may only view
            return
        # The admin has two inputs for it, and its visible text labels neither.
        parts = getattr(self.fields["expires_at"].widget, "widgets", [])
        for part, label in zip(parts, (_("Expires: date"), _("Expires: time")), strict=False):
            part.attrs["aria-label"] = label

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is None:
            return None
        if not times.is_storable(expires_at):  # the last hours of the year 9999, west of Greenwich
            raise ValidationError(forms.DateTimeField.default_error_messages["invalid"])
        if times.aware(expires_at) <= times.now():
            raise ValidationError(_("Choose a time in the future."))
        return times.aware(expires_at)

    @property
    def chosen_audience(self) -> str | Group:
        """The audience of a valid form, as `broadcast()` takes it."""
        key: str = self.cleaned_data["audience"]
        pk = audiences.group_id(key)
        return key if pk is None else Group.objects.get(pk=pk)


class RetractionForm(forms.Form):
    """Confirms that the messages listed on a page are to be retracted."""

    # The newest one on the page: “all” may include newer ones by now, which nobody confirmed.
    newest = forms.IntegerField(min_value=0, max_value=MAX_KEY, widget=forms.HiddenInput)
