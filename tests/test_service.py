"""The service of the examples, as a real server on this machine: runs, their news, and how they end."""

from __future__ import annotations

import json
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
