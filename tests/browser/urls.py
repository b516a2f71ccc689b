"""The demo site, and a way in for its tests: the settings name this module only for them."""

from django.urls import path

from notify_site.urls import urlpatterns as of_the_site

from .inside import run

urlpatterns = [*of_the_site, path("tests/run/", run)]
