from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from django.views.i18n import set_language

from notify_site.shop.views import LoginView

urlpatterns = [
    path("", include("notify_site.shop.urls")),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("notifications/", include("notifications.urls")),
    path("language/", set_language, name="set_language"),
    path("admin/", admin.site.urls),
    path("", include("notifications.health")),
]

handler400 = "notify_site.errors.bad_request"
handler403 = "notify_site.errors.permission_denied"
handler404 = "notify_site.errors.page_not_found"
handler500 = "notify_site.errors.server_error"
