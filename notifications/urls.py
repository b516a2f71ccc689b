from django.urls import path

from . import views

app_name = "notifications"
urlpatterns = [
    path("", views.inbox_page, name="inbox"),
    path("items/", views.items, name="items"),
    path("changes/", views.changes, name="changes"),
    path("mark/", views.mark, name="mark"),
]
