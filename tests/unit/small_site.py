"""Small sites with settings, user models and databases of their own, each in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent

SETTINGS = """
from notify_site.settings import *

INSTALLED_APPS = ["people", *INSTALLED_APPS]
INSTALLED_APPS.remove("notify_site.shop")
AUTH_USER_MODEL = "people.Person"
ROOT_URLCONF = "urls"
ALLOWED_HOSTS = ["testserver"]
TEMPLATES[0]["DIRS"] = []
DATABASES = {"default": {**DATABASES["default"], "NAME": "db.sqlite3"}}
"""
URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("notifications/", include("notifications.urls")),
    path("admin/", admin.site.urls),
]
"""
MODELS = """
from django.contrib.auth.models import (
    AbstractBaseUser, AbstractUser, BaseUserManager, Group, PermissionsMixin,
)
from django.db import models
from django.utils import timezone

class Manager(BaseUserManager):
    def create_user(self, username, **fields):
        user = self.model(username=username, **fields)
        user.set_unusable_password()
        user.save()
        return user

    create_superuser = create_user

class Account(AbstractBaseUser):
    username = models.CharField(max_length=50, unique=True)
    date_joined = models.DateTimeField(default=timezone.now)
    is_staff = models.BooleanField(default=True)
    is_active = models.BooleanField(default=True)
    USERNAME_FIELD = "username"
    objects = Manager()

    def has_perm(self, name, row=None): return True
    def has_module_perms(self, app): return True

    class Meta:
        abstract = True
"""


def run_site(folder: Path, models: str, program: str, settings: str = "") -> list[str]:
    """
    Run a program on a site whose accounts are `Person`; return the lines that it printed.

    models: the code of `Person`, which may derive from the abstract `Account`.
    settings: further ones, as code.
    """
    for name, text in {
        "settings.py": SETTINGS + settings,
        "urls.py": URLS,
        "people/__init__.py": "",
        "people/models.py": MODELS + models,
        "program.py": program,
    }.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    result = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env={
            **kept,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "settings",
            "DJANGO_DEBUG": "1",
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()
