"""The proxy does to a connection what a campaign asks for, and writes down what it saw."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from tests.faults.history import History
from tests.faults.proxy import Link, Proxy, Weather
from tests.faults.wire import API

COMPLETE = f"{API}/jobs/7/complete"


class Upstream(BaseHTTPRequestHandler):
    """Answers every POST and counts them."""

    protocol_version = "HTTP/1.1"
    bodies: list[bytes] = []

    def do_POST(self) -> None:
        """200 with a small object."""
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps({"status": "completed"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def link() -> Iterator[Link]:
    """A link to a server that answers everything."""
    Upstream.bodies = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    history = History()
    proxy = Proxy(history, seed=1)
    yield proxy.link("w1", server.server_port)
    proxy.stop()
    server.shutdown()
    server.server_close()
    history.close()


def post(link: Link, timeout: float = 5.0) -> requests.Response:
    """One completion."""
    return requests.post(link.address + COMPLETE, json={"attempt": 2}, timeout=timeout)


def last_record(link: Link) -> dict[str, object]:
    """What the proxy wrote down last."""
    found = link._proxy.history.wait_for(lambda record: True, after=0, seconds=5)
    assert found
    return link._proxy.history.records[-1]


def test_a_call_is_forwarded_and_recorded(link: Link) -> None:
    assert post(link).json() == {"status": "completed"}
    record = last_record(link)
    wanted = {"worker": "w1", "call": "complete", "job": 7, "attempt": 2, "status": 200, "delivered": True}
    assert wanted.items() <= record.items()


def test_a_dropped_answer_reaches_the_server_and_not_the_worker(link: Link) -> None:
    link.on("complete", "answer", "drop")
    with pytest.raises(requests.ConnectionError):
        post(link)
    assert (len(Upstream.bodies), last_record(link)["status"], last_record(link)["delivered"]) == (1, 200, False)


def test_a_dropped_request_never_reaches_the_server(link: Link) -> None:
    link.on("complete", "request", "drop")
    with pytest.raises(requests.ConnectionError):
        post(link)
    assert (Upstream.bodies, last_record(link)["status"]) == ([], None)


def test_a_repeated_request_reaches_the_server_twice_and_is_answered_once(link: Link) -> None:
    link.on("complete", "request", "repeat")
    assert post(link).status_code == 200
    assert len(Upstream.bodies) == 2


def test_a_held_request_waits_until_it_is_released(link: Link) -> None:
    rule = link.on("complete", "request", "hold")
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(post(link).status_code))
    thread.start()
    assert rule.reached.wait(5)
    assert Upstream.bodies == []
    rule.release()
    thread.join(5)
    assert answers == [200]


def test_a_cut_link_refuses_and_a_healed_one_forwards(link: Link) -> None:
    link.cut()
    with pytest.raises(requests.ConnectionError):
        post(link)
    link.heal()
    assert post(link).status_code == 200


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_black_hole_keeps_the_connection_and_swallows_the_bytes(link: Link, direction: str) -> None:
    link.black_hole(up=direction == "up", down=direction == "down")
    with pytest.raises(requests.ReadTimeout):
        post(link, timeout=0.5)
    assert len(Upstream.bodies) == (0 if direction == "up" else 1)


def test_a_sliced_and_slow_link_delivers_every_byte_late(link: Link) -> None:
    link.weather = Weather(delay_s=(0.1, 0.1), slice_bytes=1)
    began = time.monotonic()
    assert post(link).json() == {"status": "completed"}
    assert time.monotonic() - began > 0.2
