"""Receivers of a model's signals that hear of its proxies as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import ModelSignal, class_prepared


def connect(signal: ModelSignal, receiver: Callable[..., None], model: type[Model]) -> None:
    """
    Connect a receiver to a signal of all models with the rows of `model`: itself and its proxies.

    Also to those that are defined later. A receiver without a sender would be called for every
    model, and with one for deletions, Django loads the rows of all of them to delete any.
    """
    concrete = model._meta.concrete_model

    def connect_to(sender: type[Model], **kwargs: Any) -> None:
        if sender._meta.concrete_model is concrete:
            signal.connect(receiver, sender=sender)

    for each in apps.get_models(include_auto_created=True):
        connect_to(each)
    class_prepared.connect(connect_to, weak=False)
