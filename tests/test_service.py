"""The service of the examples, as a real server on this machine: runs, their news, and how they end."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import torch
from tiny import own_loop

from typedcb import Loop

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    for name in [name for name in sys.modules if name.partition(".")[0] == "service"]:
        del sys.modules[name]


class Client:
    """What a browser would do."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"

    def ask(self, path: str, body: object = None, method: str = "GET") -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(self._root + path, data, method=method), timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)
        except HTTPError as refused:
            with refused:
                text = refused.read()
                return refused.code, json.loads(text) if text.startswith(b"{") else text.decode()

    def begin(self, n_epochs: int) -> int:
        status, receipt = self.ask("/runs", {"n_epochs": n_epochs}, "POST")
        assert status == 201
        return int(receipt["run"])

    def news(self, run: int) -> Iterator[dict[str, Any]]:
        """A run's news, as they come."""
        with urlopen(f"{self._root}/runs/{run}/events", timeout=PATIENCE) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for line in stream:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))


@contextmanager
def serving(fit: Any = None) -> Iterator[tuple[Client, Any]]:
    app: Any = import_module("service.app")  # the folder of examples is on the path in a test alone
    up = app.server(fit or app.fit_digits, port=0)
    thread = threading.Thread(target=up.run, name="server")
    thread.start()
    until(lambda: up.started)
    try:
        yield Client(up.servers[0].sockets[0].getsockname()[1]), up
    finally:
        up.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive(), "it shuts down, whatever its runs are at"
        assert not [one.name for one in threading.enumerate() if one.name.startswith("run ")], "and so do they"


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.01)


def test_two_runs_train_beside_each_other_and_tell_of_it() -> None:
    with serving() as (client, _):
        runs = [client.begin(2), client.begin(3)]
        assert runs == [1, 2]
        for run, n_epochs in zip(runs, (2, 3), strict=True):
            news = list(client.news(run))
            assert news[0] == {"type": "begun", "n_epochs": n_epochs}
            assert [item["epoch"] for item in news if item["type"] == "validated"] == list(range(n_epochs))
            trained = [item for item in news if item["type"] == "trained"]
            assert [(item["batch"], item["n_batches"]) for item in trained] == [
                (batch, 80) for _ in range(n_epochs) for batch in range(0, 80, 10)
            ]
            assert trained[-1]["loss"] < trained[1]["loss"] / 2, "it really trains"
            assert news[-1] == {"type": "ended", "how": "completed", "why": ""}
            assert client.ask(f"/runs/{run}") == (200, {"run": run, "over": True, "latest": news[-1]})
            assert list(client.news(run)) == news, "who comes later is told all of it too"


def test_a_request_cancels_one_run_in_the_middle_of_an_epoch_and_no_other() -> None:
    with serving() as (client, _):
        long, short = client.begin(100_000), client.begin(1)
        stream = client.news(long)
        assert next(item for item in stream if item["type"] == "trained")
        status, latest = client.ask(f"/runs/{long}")
        assert (status, latest["over"]) == (200, False)
        assert client.ask(f"/runs/{long}/cancel", method="POST") == (202, {"run": long})
        rest = list(stream)
        assert rest[-1] == {"type": "ended", "how": "cancelled", "why": "asked for by a request"}
        assert list(client.news(short))[-1]["how"] == "completed"
        assert client.ask(f"/runs/{long}/cancel", method="POST")[0] == 202, "again does no harm"


def test_a_cancel_takes_hold_at_the_next_batch() -> None:
    asked = threading.Event()
    cancellable = import_module("service.runs").Cancellable(asked)
    asked.set()
    own_loop(Loop[Any, Any, Any]([cancellable]), n_epochs=3)
    assert cancellable.batches.value == 1


def test_a_run_that_fails_says_how_and_the_service_goes_on() -> None:
    def fit(n_epochs: int, stats: Any, smooth: Any, callbacks: Any) -> None:
        with Loop[Any, Any, Any]([stats, smooth, *callbacks]).fit(n_epochs):
            raise ValueError("no data")

    with serving(fit) as (client, _):
        news = list(client.news(client.begin(1)))
        assert [item["type"] for item in news] == ["begun", "ended"]
        assert news[-1] == {"type": "ended", "how": "failed", "why": "ValueError: no data"}
        early = list(client.news(client.begin(-1)))
        assert [item["type"] for item in early] == ["ended"], "it never began"
        assert early[0]["how"] == "failed"
        assert early[0]["why"].startswith("ValueError: n_epochs=-1")


def test_what_is_no_sensible_request_is_refused() -> None:
    with serving() as (client, _):
        assert client.ask("/runs/1") == (404, {"problem": "there is no run 1"})
        assert client.ask("/runs/0/cancel", method="POST")[0] == 404
        status, answer = client.ask("/runs", {"epochs": 3}, "POST")
        assert (status, answer["problem"]) == (400, "Object contains unknown field `epochs`")
        assert client.ask("/runs", {"n_epochs": "3"}, "POST")[0] == 400
        assert client.ask("/runs")[0] == 405


def test_the_service_ends_in_order_while_a_run_is_watched() -> None:
    with serving() as (client, up):
        stream = client.news(client.begin(100_000))
        assert next(item for item in stream if item["type"] == "trained")
        up.should_exit = True
        assert list(stream)[-1]["how"] == "cancelled", "after_fit came, and whoever watched was told"


def test_a_run_is_over_when_all_that_it_does_is_and_not_when_a_fit_in_it_is() -> None:
    def fit(n_epochs: int, stats: Any, smooth: Any, callbacks: Any) -> Any:
        loop = Loop[Any, Any, Any]([stats, smooth, *callbacks])
        own_loop(loop, n_epochs)
        with loop.fit(n_epochs, start_epoch=n_epochs) as more:
            list(more.epochs())
        return more.outcome

    with serving(fit) as (client, _):
        news = list(client.news(client.begin(1)))
        assert [item["type"] for item in news] == ["begun", "trained", "validated", "begun", "ended"]
        assert news[-1]["how"] == "completed"


@pytest.mark.parametrize("error", [OSError("the disk is full"), SystemExit(3)])
def test_an_error_outside_of_the_fit_is_told_and_logged(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    def fit(n_epochs: int, stats: Any, smooth: Any, callbacks: Any) -> Any:
        own_loop(Loop[Any, Any, Any]([stats, smooth, *callbacks]), n_epochs)
        raise error

    with serving(fit) as (client, _):
        news = list(client.news(client.begin(1)))
        assert news[-1] == {"type": "ended", "how": "failed", "why": f"{type(error).__name__}: {error}"}
        logged = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert [record.getMessage() for record in logged] == ["run 1 failed"]
        assert logged[0].exc_info is not None
        assert logged[0].exc_info[1] is error


def test_however_many_watch_a_run_that_is_silent_others_are_told_of_theirs_at_once() -> None:
    go_on = threading.Event()

    def fit(n_epochs: int, stats: Any, smooth: Any, callbacks: Any) -> Any:
        loop = Loop[Any, Any, Any]([stats, smooth, *callbacks])
        with loop.fit(n_epochs) as scope:
            for _ in scope.epochs():
                if n_epochs > 1:
                    go_on.wait(PATIENCE)
        return scope.outcome

    with serving(fit) as (client, _):
        silent = client.begin(2)
        watching = [client.news(silent) for _ in range(60)]
        assert {next(one)["type"] for one in watching} == {"begun"}
        rest: list[list[dict[str, Any]]] = []
        threads = [threading.Thread(target=lambda one=one: rest.append(list(one))) for one in watching]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        assert list(client.news(client.begin(1)))[-1]["how"] == "completed"
        assert time.monotonic() - begun < 3
        go_on.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(rest) == 60
        assert {one[-1]["how"] for one in rest} == {"completed"}


def test_who_sends_half_of_a_request_keeps_the_service_from_its_end_for_a_while_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_module("service.app"), "PATIENCE", 1)
    with socket.socket() as half, serving() as (_, up):
        half.connect(up.servers[0].sockets[0].getsockname())
        half.sendall(b"POST /runs HTTP/1.1\r\nHost: here\r\nContent-Length: 20\r\n\r\n{")
        until(lambda: up.server_state.tasks)
        up.should_exit = True


def test_a_request_that_comes_while_the_service_ends_begins_no_run() -> None:
    body = b'{"n_epochs": 100000}'
    head = b"POST /runs HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.socket() as late, serving() as (_, up):
        late.settimeout(PATIENCE)
        late.connect(up.servers[0].sockets[0].getsockname())
        late.sendall(head + body[:1])
        until(lambda: up.server_state.tasks)
        sockets = up.servers[0].sockets[0]
        up.should_exit = True
        until(lambda: sockets.fileno() < 0)
        late.sendall(body[1:])
        assert late.recv(100).startswith(b"HTTP/1.1 503 ")


def test_a_run_that_does_not_end_is_given_up_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(import_module("service.app"), "PATIENCE", 1)
    go_on = threading.Event()

    def fit(n_epochs: int, stats: Any, smooth: Any, callbacks: Any) -> Any:
        with Loop[Any, Any, Any]([stats, smooth, *callbacks]).fit(n_epochs) as scope:
            go_on.wait(PATIENCE)
        return scope.outcome

    with serving(fit) as (client, up):
        client.begin(1)
        up.should_exit = True
        until(lambda: caplog.records)
        go_on.set()
        until(lambda: not any(one.name == "run 1" for one in threading.enumerate()))
    assert [record.getMessage() for record in caplog.records] == ["run 1 has not ended in 1 seconds, and is given up"]
