"""All addresses of the server."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from config import health
from config.api import json_error
from config.csp import csp_override
from config.renderers import INLINE_STYLES
from runs_app.api.user_views import ApiRoot


def home(request: HttpRequest) -> HttpResponse:
    """People live in the admin."""
    return redirect("admin:index")


api: list[URLPattern | URLResolver] = [
    path("", include("datasets_app.api.urls")),
    path("", include("runs_app.api.urls")),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs", csp_override(INLINE_STYLES)(SpectacularSwaggerSplitView.as_view(url_name="schema")), name="docs"),
]

urlpatterns = [
    path("", home),
    path("bert-training", home, name="home"),
    path("bert-training/", home),
    path("bert-training/api", ApiRoot.as_view(), name="api-root"),  # one trailing slash is stripped by middleware
    path("bert-training/api/", include(api)),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
]

handler400 = json_error(400, "bad_request")
handler403 = json_error(403, "permission_denied")
handler404 = json_error(404, "not_found")
handler500 = json_error(500, "error")
