"""Other apps must not hide ours by using the same names."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.checks import CheckMessage, Error, Warning
from django.template import Engine, engines
from django.template.backends.django import DjangoTemplates
from django.template.base import Origin
from django.template.library import import_library
from django.template.loaders import app_directories
from django.urls import get_resolver

DISTRIBUTION: Final = "notify-site-notifications"
PACKAGE: Final = Path(__file__).resolve().parent.parent


def check_names(**kwargs: Any) -> list[CheckMessage]:
    """Find distributions, files, URLs and tags that are used in place of ours."""
    return [
        *_check_distributions(),
        *_check_templates(),
        *_check_static_names(),
        *_check_url_namespace(),
        *_check_tag_library(),
    ]


def _check_distributions() -> list[CheckMessage]:
    # A distribution may be listed twice, with its name spelled in two ways.
    names = {
        re.sub(r"[-_.]+", "-", str(distribution.metadata["Name"])).lower()
        for distribution in importlib.metadata.distributions()
        if _has_our_package(distribution)
    }
    others = " ".join(sorted(names - {DISTRIBUTION}))
    if not others:
        return []
    return [
        Error(
            f"Another installed distribution has a package “notifications”: {others}.",
            hint="They overwrite or hide each other's files. Uninstall both, by “pip uninstall "
            f"{others} {DISTRIBUTION}”, and then install the one to keep.",
            id="notifications.E023",
        )
    ]


def _has_our_package(distribution: importlib.metadata.Distribution) -> bool:
    # packages_distributions() would read all packages, which takes eight times as long.
    packages = distribution.read_text("top_level.txt") or ""
    record = distribution.read_text("RECORD") or ""
    return "notifications" in packages.split() or "\nnotifications/" in f"\n{record}"


def _check_templates() -> list[CheckMessage]:
    hidden: dict[str, list[str]] = {}
    for name in _names_in("templates"):
        origin = _find_template(name)
        # A template in DIRS replaces ours on purpose.
        if origin and isinstance(origin.loader, app_directories.Loader):
            app = next(
                config.name
                for config in apps.get_app_configs()
                if Path(config.path, "templates", name).is_file()
            )
            hidden.setdefault(app, []).append(name)
    hidden.pop("notifications", None)
    return [
        Warning(
            f"The app “{app}” has templates that hide ours: {', '.join(names)}.",
            hint="Rename them. If they are meant to replace ours, move them to the DIRS of "
            "TEMPLATES, or silence this warning.",
            id="notifications.W024",
        )
        for app, names in hidden.items()
    ]


def _find_template(name: str) -> Origin | None:
    for engine in _template_engines():
        for loader in engine.template_loaders:
            for origin in loader.get_template_sources(name):
                if Path(origin.name).is_file():
                    return origin
    return None


def _check_static_names() -> list[CheckMessage]:
    if not apps.is_installed("django.contrib.staticfiles"):
        return []
    hidden: dict[Path, list[str]] = {}
    for name in _names_in("static"):
        found = finders.find(name)
        if found and not (PACKAGE / "static" / name).samefile(found):
            hidden.setdefault(Path(found.removesuffix(name)), []).append(name)
    return [
        Warning(
            f"Static files in {folder} hide ours: {', '.join(names)}.",
            hint="Rename them. If they are meant to replace ours, silence this warning.",
            id="notifications.W025",
        )
        for folder, names in hidden.items()
    ]


def _check_url_namespace() -> list[CheckMessage]:
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    root = get_resolver()
    # The instance that reverse() uses.
    instances = root.app_dict.get("notifications", ["notifications"])
    namespace = "notifications" if "notifications" in instances else instances[0]
    if namespace not in root.namespace_dict:
        return []
    _, resolver = root.namespace_dict[namespace]
    ours = get_resolver("notifications.urls").reverse_dict
    names = [name for name in ours if isinstance(name, str)]
    missing = sorted(name for name in names if name not in resolver.reverse_dict)
    if not missing:
        return []
    where = getattr(resolver.urlconf_module, "__name__", f"the list at “{resolver.pattern}”")
    return [
        Error(
            f"The URL namespace “notifications” is that of {where}, which has no "
            f"{', '.join(missing)}.",
            hint="Give it another app_name, and include “notifications.urls”.",
            id="notifications.E026",
        )
    ]


def _check_tag_library() -> list[CheckMessage]:
    ours = import_library("notifications.templatetags.notifications")
    for engine in _template_engines():
        library = engine.template_libraries["notifications"]
        missing = {*ours.tags, *ours.filters} - {*library.tags, *library.filters}
        if missing:
            return [
                Error(
                    f"The template tag library “notifications” is "
                    f"{engine.libraries['notifications']}, which has no "
                    f"{', '.join(sorted(missing))}.",
                    hint="Rename that module.",
                    id="notifications.E027",
                )
            ]
    return []


def _template_engines() -> list[Engine]:
    return [backend.engine for backend in engines.all() if isinstance(backend, DjangoTemplates)]


def _names_in(folder: str) -> list[str]:
    root = PACKAGE / folder
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))
