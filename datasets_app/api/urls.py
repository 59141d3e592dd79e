"""Routes of datasets, below /bert-training/api. The download is in runs_app: whether a worker may read is a lease."""

from django.urls import path

import config.converters  # noqa: F401  registers <id:…>
from datasets_app.api import views

urlpatterns = [
    path("datasets", views.DatasetListView.as_view(), name="datasets"),
    path("datasets/validate", views.ValidateView.as_view(), name="dataset-validate"),
    path("datasets/annotate", views.AnnotateView.as_view(), name="dataset-annotate"),
    path("datasets/upload", views.UploadView.as_view(), name="dataset-upload"),
    path("datasets/<id:pk>", views.DatasetDetailView.as_view(), name="dataset"),
]
