"""Routes of runs, queue and workers, below /bert-training/api."""

from django.urls import path

import config.converters  # noqa: F401  registers <id:…>
from runs_app.api import files, streams, user_views, worker_views

urlpatterns = [
    path("datasets/<id:pk>/download", files.DatasetDownloadView.as_view(), name="dataset-download"),
    path("runs", user_views.RunListView.as_view(), name="runs"),
    path("runs/<id:pk>", user_views.RunDetailView.as_view(), name="run"),
    path("runs/<id:pk>/metrics", user_views.RunMetricsView.as_view(), name="run-metrics"),
    path("runs/<id:pk>/logs", streams.RunLogsView.as_view(), name="run-logs"),
    path("runs/<id:pk>/reproduce", user_views.ReproduceView.as_view(), name="run-reproduce"),
    path("runs/<id:pk>/cancel", user_views.CancelView.as_view(), name="run-cancel"),
    path("runs/<id:pk>/pause", user_views.PauseView.as_view(), name="run-pause"),
    path("runs/<id:pk>/resume", user_views.ResumeView.as_view(), name="run-resume"),
    path("queue/status", user_views.QueueStatusView.as_view(), name="queue-status"),
    path("workers", user_views.WorkerListView.as_view(), name="workers"),
    path("workers/register", worker_views.RegisterView.as_view(), name="worker-register"),
    path("workers/heartbeat", worker_views.HeartbeatView.as_view(), name="worker-heartbeat"),
    path("jobs/claim", worker_views.ClaimView.as_view(), name="job-claim"),
    path("jobs/<id:pk>/progress", worker_views.ProgressView.as_view(), name="job-progress"),
    path("jobs/<id:pk>/events", worker_views.EventsView.as_view(), name="job-events"),
    path("jobs/<id:pk>/complete", worker_views.CompleteView.as_view(), name="job-complete"),
    path("jobs/<id:pk>/fail", worker_views.FailView.as_view(), name="job-fail"),
    path("jobs/<id:pk>/release", worker_views.ReleaseView.as_view(), name="job-release"),
    path("metrics", worker_views.MetricsView.as_view(), name="metrics"),
    path("logs/batch", worker_views.LogsView.as_view(), name="logs-batch"),
]
