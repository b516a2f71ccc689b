"""The URLs of the demo site, and one that runs code of the tests."""

from django.urls import path

from notify_site.urls import urlpatterns as of_the_site

from .inside import run

urlpatterns = [*of_the_site, path("tests/run/", run)]
