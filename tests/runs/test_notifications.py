"""E-mail and webhook: what is told, to whom, how often it is tried, and what is never told or asked."""

import hashlib
import hmac
import json
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from django.conf import LazySettings
from django.core import mail
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from runs_app.choices import FailureReason, NotificationChannel, ReleaseReason
from runs_app.models import Job, Notification
from runs_app.services import delivery, queue, runs, transitions
from runs_app.services.webhook import _is_public
from tests.factories import after_lease, make_dataset, make_run, make_running_job, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

SECRET = "a-secret-of-more-than-32-characters-for-tests"


class Receiver:
    """A small HTTP server that remembers what it was sent and answers with `status`."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 204
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers.items()), body))
                self.send_response(receiver.status)
                self.send_header("Location", f"{receiver.url}elsewhere")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_args: Any) -> None:
                """Tests are quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _path, _headers, body in self.requests]


@pytest.fixture
def receiver(settings: LazySettings) -> Iterator[Receiver]:
    """A receiver on this machine, as a developer would have it."""
    found = Receiver()
    settings.DEBUG = settings.WEBHOOK_ALLOW_PRIVATE = True
    settings.WEBHOOK_URL, settings.WEBHOOK_SECRET = f"{found.url}hook?room=1", SECRET
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def by_email(settings: LazySettings) -> None:
    settings.NOTIFY_EMAIL = True


def complete(job: Job, **values: Any) -> None:
    result = queue.Result(model_path="m", **{"metrics": {"f1": 0.9123}, **values})
    queue.complete_job(job_id=job.pk, attempt=1, worker=held_by(job), result=result, now=timezone.now())


def fail(job: Job, message: str = "") -> None:
    words = {"reason": FailureReason.NAN_LOSS, "message": message, "traceback": message}
    queue.fail_job(job_id=job.pk, attempt=1, worker=held_by(job), now=timezone.now(), **words)


def held_by(job: Job) -> Any:
    assert job.worker is not None
    return job.worker


def deliver(**later: float) -> int:
    return delivery.deliver_due(now=timezone.now() + timedelta(**later))


def told() -> list[tuple[str, str]]:
    return list(Notification.objects.order_by("created_at", "channel").values_list("event", "channel"))


# What is told


def test_nothing_is_written_or_asked_while_it_is_off(django_assert_num_queries: Any) -> None:
    complete(make_running_job())
    assert not Notification.objects.exists()
    with django_assert_num_queries(0):
        delivery.look_for_due(timezone.now())


def test_a_completed_run_is_told_on_each_channel(receiver: Receiver, by_email: None) -> None:
    complete(make_running_job())
    assert told() == [("run.completed", "email"), ("run.completed", "webhook")]


def test_a_failed_run_is_told(receiver: Receiver) -> None:
    fail(make_running_job())
    assert told() == [("run.failed", "webhook")]


def test_a_lost_worker_is_told_and_at_the_last_loss_the_failure_alone(receiver: Receiver, settings: Any) -> None:
    queue.requeue_expired(now=after_lease(make_running_job()))
    assert told() == [("run.worker_lost", "webhook")]
    Notification.objects.all().delete()
    Job.objects.all().update(status="cancelled")
    settings.JOB_MAX_ATTEMPTS = 1
    queue.requeue_expired(now=after_lease(make_running_job()))
    assert told() == [("run.failed", "webhook")]


def test_what_a_person_did_is_no_news(receiver: Receiver) -> None:
    run = make_run()
    for step in (runs.request_pause, runs.resume_run, runs.request_cancel):
        step(run=run, user=None, now=timezone.now())
    job = make_running_job()
    queue.release_job(job_id=job.pk, attempt=1, worker=held_by(job), reason=ReleaseReason.SHUTDOWN, now=timezone.now())
    assert told() == []


def test_the_message_and_the_state_are_one_transaction(receiver: Receiver) -> None:
    job = make_running_job()

    class Undone(Exception):
        pass

    with pytest.raises(Undone), transaction.atomic():
        complete(job)
        assert Notification.objects.exists()
        raise Undone
    assert not Notification.objects.exists()


def test_it_is_sent_after_the_commit_and_not_before(
    receiver: Receiver, monkeypatch: Any, django_capture_on_commit_callbacks: Any
) -> None:
    started = []
    monkeypatch.setattr(transitions, "deliver_soon", lambda: started.append(1))
    job = make_running_job()
    with django_capture_on_commit_callbacks(execute=True):
        complete(job)
        assert started == []
    assert started == [1]


def test_a_message_holds_no_text_of_the_dataset_and_no_word_of_the_worker(receiver: Receiver, by_email: None) -> None:
    dataset = make_dataset(labels=[{"name": "segredo de justiça", "count": 5}])
    fail(make_running_job(dataset=dataset, user=make_user()), message="João da Silva, CPF 111.444.777-35")
    for payload in Notification.objects.values_list("payload", flat=True):
        assert not any(word in json.dumps(payload, ensure_ascii=False) for word in ("João", "CPF", "segredo"))


def test_only_known_figures_are_told(receiver: Receiver) -> None:
    complete(make_running_job(), metrics={"f1": 0.5, "loss": None, "accuracy": "João", "precision": True, "nota": 1})
    deliver()
    assert receiver.bodies()[0]["run"]["metrics"] == {"f1": 0.5}


# E-mail


def test_the_author_gets_one_sentence_and_the_address(by_email: None, settings: LazySettings) -> None:
    settings.PUBLIC_URL = "https://treino.pge.example"
    author = make_user()
    author.email = "ana@pge.example"
    author.save()
    job = make_running_job(name="Recursos\nBcc: todos", user=author)
    complete(job)
    assert deliver() == 1
    message = mail.outbox[0]
    assert message.to == ["ana@pge.example"]
    assert message.subject == f"[BERT Training] Treinamento #{job.run_id} “Recursos Bcc: todos” concluído, F1 0,9123."
    assert f"https://treino.pge.example/admin/runs_app/run/{job.run_id}/change/" in message.body


@pytest.mark.parametrize("changes", [{"email": ""}, {"email": "ana@pge.example", "is_active": False}])
def test_an_author_without_an_address_is_given_up_at_once(changes: dict[str, Any], by_email: None) -> None:
    author = make_user()
    for name, value in changes.items():
        setattr(author, name, value)
    author.save()
    complete(make_running_job(user=author))
    assert deliver() == 0
    assert mail.outbox == []
    assert Notification.objects.get().given_up_at is not None


# Webhook


def test_the_webhook_is_signed_over_timestamp_and_body(receiver: Receiver) -> None:
    complete(make_running_job(name="Recursos"))
    assert deliver() == 1
    path, headers, body = receiver.requests[0]
    assert path == "/hook?room=1"
    expected = hmac.new(SECRET.encode(), headers["X-Bert-Timestamp"].encode() + b"." + body, hashlib.sha256)
    assert headers["X-Bert-Signature"] == f"sha256={expected.hexdigest()}"
    assert abs(int(headers["X-Bert-Timestamp"]) - time.time()) < 60
    sent = json.loads(body)
    assert headers["X-Bert-Event-Id"] == sent["id"] == str(Notification.objects.get().pk)
    assert headers["X-Bert-Event"] == sent["event"] == "run.completed"
    assert (sent["run"]["name"], sent["run"]["status"]) == ("Recursos", "completed")
    assert "concluído, F1 0,9123" in sent["text"]


def test_a_delivered_message_is_not_sent_again(receiver: Receiver) -> None:
    complete(make_running_job())
    assert [deliver(), deliver(days=3)] == [1, 0]
    assert len(receiver.requests) == 1


def test_a_refused_message_is_tried_again_later_under_the_same_id(receiver: Receiver) -> None:
    complete(make_running_job())
    receiver.status = 503
    assert [deliver(), deliver(seconds=30)] == [0, 0]
    assert len(receiver.requests) == 1
    assert Notification.objects.get().error == "HTTP 503"
    receiver.status = 200
    assert deliver(seconds=61) == 1
    assert len({headers["X-Bert-Event-Id"] for _path, headers, _body in receiver.requests}) == 1


def test_the_pauses_grow_and_the_attempts_end(receiver: Receiver) -> None:
    complete(make_running_job())
    receiver.status = 500
    now, pauses = timezone.now() + timedelta(seconds=1), []
    for _attempt in range(delivery.MAX_ATTEMPTS + 3):
        delivery.deliver_due(now=now)
        message = Notification.objects.get()
        pauses.append(round((message.due_at - now).total_seconds() / 60))
        now = max(message.due_at, now)
    assert len(receiver.requests) == delivery.MAX_ATTEMPTS == 8
    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert message.given_up_at is not None


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    complete(make_running_job())
    receiver.status = 307
    assert deliver() == 0
    assert [path for path, _headers, _body in receiver.requests] == ["/hook?room=1"]
    assert Notification.objects.get().error == "HTTP 307"


def test_a_private_address_is_asked_only_by_setting(receiver: Receiver, settings: LazySettings) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = False
    complete(make_running_job())
    assert deliver() == 0
    assert receiver.requests == []
    assert "private" in Notification.objects.get().error


def has_addresses(receiver: Receiver, settings: LazySettings, monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """The receiver has a name, which has these addresses."""
    look_up = socket.getaddrinfo

    def answer(host: str, *args: Any, **options: Any) -> Any:
        asked = addresses if host == "hook.example" else [host]
        return [entry for address in asked for entry in look_up(address, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    settings.WEBHOOK_URL = f"http://hook.example:{receiver.server.server_port}/"


def test_the_next_address_is_tried_where_nobody_answers(
    receiver: Receiver, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_addresses(receiver, settings, monkeypatch, "127.0.0.2", "127.0.0.1")
    complete(make_running_job())
    assert deliver() == 1
    assert len(receiver.requests) == 1


def test_one_private_address_among_others_keeps_it_from_all_of_them(
    receiver: Receiver, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = False
    has_addresses(receiver, settings, monkeypatch, "8.8.8.8", "127.0.0.1")
    complete(make_running_job())
    assert deliver() == 0
    assert receiver.requests == []
    assert "private" in Notification.objects.get().error


def test_plain_http_is_for_developers(receiver: Receiver, settings: LazySettings) -> None:
    settings.DEBUG = False
    complete(make_running_job())
    assert deliver() == 0
    assert receiver.requests == []


def test_a_receiver_that_cannot_prove_who_it_is_gets_nothing(receiver: Receiver, settings: LazySettings) -> None:
    settings.WEBHOOK_URL = receiver.url.replace("http://", "https://")
    complete(make_running_job())
    assert deliver() == 0
    assert receiver.requests == []
    assert "SSL" in Notification.objects.get().error


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("224.0.0.1", False),
        ("::1", False),
        ("fd00::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
    ],
)
def test_which_addresses_are_public(address: str, is_public: bool) -> None:
    assert _is_public(address) is is_public


def test_a_receiver_that_is_not_there_is_no_error_of_the_server(settings: LazySettings, receiver: Receiver) -> None:
    settings.WEBHOOK_URL = "http://127.0.0.1:9/"
    complete(make_running_job())
    assert deliver() == 0
    assert Notification.objects.get().attempts == 1


# By whom it is sent


def test_two_that_deliver_at_once_send_each_message_once(receiver: Receiver, monkeypatch: Any) -> None:
    complete(make_running_job())
    sent = []

    def send(message: Notification) -> None:
        sent.append(message.pk)
        assert deliver() == 0

    monkeypatch.setitem(delivery.SENDERS, NotificationChannel.WEBHOOK, send)
    assert deliver() == 1
    assert len(sent) == 1


def test_an_attempt_in_which_the_process_died_counts(receiver: Receiver, monkeypatch: Any) -> None:
    class Died(BaseException):
        pass

    def die(_message: Notification) -> None:
        raise Died

    complete(make_running_job())
    monkeypatch.setitem(delivery.SENDERS, NotificationChannel.WEBHOOK, die)
    with pytest.raises(Died):
        deliver()
    message = Notification.objects.get()
    assert (message.attempts, message.delivered_at) == (1, None)
    assert message.due_at > timezone.now()


def test_what_is_due_is_seen_to_at_each_look_at_the_queue(receiver: Receiver, monkeypatch: Any) -> None:
    started = []
    monkeypatch.setattr(delivery, "deliver_soon", lambda: started.append(1))
    queue.requeue_expired(now=timezone.now())
    assert started == []
    complete(make_running_job())
    queue.requeue_expired(now=timezone.now())
    assert started == [1]


def test_the_command_sends_what_is_due_and_says_how_much(receiver: Receiver, capsys: Any) -> None:
    complete(make_running_job())
    call_command("deliver_notifications")
    assert capsys.readouterr().out == "1\n"
    assert len(receiver.requests) == 1


def test_a_channel_that_was_switched_off_meanwhile_sends_nothing(receiver: Receiver, settings: LazySettings) -> None:
    complete(make_running_job())
    settings.WEBHOOK_URL = ""
    assert deliver() == 0
    assert receiver.requests == []


def test_one_thread_of_a_process_sends_at_a_time(monkeypatch: Any) -> None:
    started = []
    monkeypatch.setattr(delivery, "Thread", lambda **_words: started.append(1))
    with delivery._at_work:
        delivery.deliver_soon()
    assert started == []


@pytest.mark.django_db(transaction=True)
def test_the_server_sends_by_itself_once_the_run_is_over(receiver: Receiver) -> None:
    complete(make_running_job())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not Notification.objects.filter(delivered_at__isnull=False).exists():
        time.sleep(0.05)
    assert receiver.bodies()[0]["event"] == "run.completed"
    with delivery._at_work:  # the thread is done before the tables are emptied
        pass


def test_a_message_behind_a_slow_one_is_not_due_for_others_while_it_is_sent(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        complete(make_running_job())
    clock = iter([0.0, 0.0, 90.0])
    monkeypatch.setattr(delivery, "monotonic", lambda: next(clock))
    receiver.status = 500
    began = timezone.now()
    delivery.deliver_due(now=began)
    pauses = sorted((due - began).total_seconds() for due in Notification.objects.values_list("due_at", flat=True))
    assert pauses == [60, 150]


def test_a_thread_that_cannot_be_had_leaves_the_message_due(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_args: Any, **_named: Any) -> Any:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(delivery, "Thread", none_left)
    delivery.deliver_soon()
    monkeypatch.undo()
    delivery.wait_for_delivery()  # nobody holds it
