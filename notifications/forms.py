"""What operators fill in; the models' validators say what a message may be."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from . import audiences
from .models import Broadcast, Notification

MAX_BODY_LENGTH: Final = 2000  # characters; a longer text belongs on the page that the link opens

HELP_TEXTS: Final = {
    "type": _("By it the site's scripts tell messages apart. Leave it unless they expect another."),
    "url": _(
        "Where the message leads: a path on this site, such as /orders/, or an http(s) address."
    ),
    "expires_at": _("At this time it leaves all inboxes."),
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
    groups = [
        (audiences.audience_key(group), group.name) for group in Group.objects.order_by("name")
    ]
    return [*choices, (_("Groups"), groups)] if groups else choices


class BroadcastForm(MessageForm):
    audience = forms.ChoiceField(
        label=_("Audience"),
        choices=audience_choices,
        help_text=_("Its active accounts; those created later don't get the message."),
    )

    class Meta:
        model = Broadcast
        fields = ["audience", "body", "level", "url", "type", "expires_at"]
        help_texts = HELP_TEXTS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "expires_at" not in self.fields:  # who may only look has none
            return
        # The admin has two inputs for it, and its words beside them label neither.
        parts = getattr(self.fields["expires_at"].widget, "widgets", [])
        for part, label in zip(parts, (_("Expires: date"), _("Expires: time")), strict=False):
            part.attrs["aria-label"] = label

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at and expires_at <= timezone.now():
            raise ValidationError(_("This time has passed."))
        return expires_at

    @property
    def chosen_audience(self) -> str | Group:
        """The audience of a valid form, as `broadcast()` takes it."""
        key: str = self.cleaned_data["audience"]
        pk = audiences.group_id(key)
        return key if pk is None else Group.objects.get(pk=pk)


class RetractionForm(forms.Form):
    """The answer to the question whether to retract what a page shows."""

    # The newest that was shown: what came since may be among “all” now, but nobody agreed to it.
    newest = forms.IntegerField(widget=forms.HiddenInput)
