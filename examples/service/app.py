"""The service: starts runs, tells of them, and cancels them.

    POST /runs {"n_epochs": 3}      begins a run, and gives its number
    GET  /runs/1                    the latest that it has told of itself
    GET  /runs/1/events             all of it, as server-sent events, until it is over
    POST /runs/1/cancel             asks it to end at its next batch

Run it by `python -m service.app` in the folder `examples`, and look at a run with `curl -N`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from socket import socket
from typing import AsyncGenerator, AsyncIterator, Callable, Optional

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from typing_extensions import override

from .runs import Ended, Fit, News, Run
from .training import fit_digits

PATIENCE = 10
"""For how many seconds the service waits, as it ends, for its requests to end, and then for its runs."""

_LOG = logging.getLogger(__name__)


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody who begins a run says."""

    n_epochs: int = 3
    """How many epochs."""


class Receipt(msgspec.Struct, frozen=True):
    """What a run is known by."""

    run: int
    """Its number."""


class Status(msgspec.Struct, frozen=True):
    """How a run stands."""

    run: int
    """Its number."""

    over: bool
    """Whether it has ended."""

    latest: Optional[News]
    """The last thing that it has told; None before the first."""


class Problem(msgspec.Struct, frozen=True):
    """Why a request is refused."""

    problem: str
    """In words."""


def _json(value: msgspec.Struct, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


class Service:
    """The runs of a service, and what it answers to requests.

    Args:
        fit: What a run trains.
    """

    def __init__(self, fit: Fit) -> None:
        self._fit = fit
        self._runs: list[Run] = []
        self._ending = False

    def cancel_all(self) -> None:
        """Asks all runs to end, and begins no more."""
        self._ending = True
        for run in self._runs:
            run.cancel()

    def app(self) -> Starlette:
        """The application."""
        routes = [
            Route("/runs", self._begin, methods=["POST"]),
            Route("/runs/{run:int}", self._status),
            Route("/runs/{run:int}/events", self._events),
            Route("/runs/{run:int}/cancel", self._cancel, methods=["POST"]),
        ]
        return Starlette(routes=routes, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncGenerator[None]:
        """Waits, as the service ends, for each run to come to its after_fit."""
        yield
        end = time.monotonic() + PATIENCE
        for run in self._runs:
            if not await asyncio.to_thread(run.join, max(0.0, end - time.monotonic())):
                _LOG.warning("run %d has not ended in %d seconds, and is given up", run.number, PATIENCE)

    async def _begin(self, request: Request) -> Response:
        try:
            order = msgspec.json.decode(await request.body() or b"{}", type=Order)
        except msgspec.DecodeError as error:
            return _json(Problem(str(error)), 400)
        if self._ending:
            return _json(Problem("the service is ending"), 503)
        run = Run(self._fit, order.n_epochs, len(self._runs) + 1)
        self._runs.append(run)
        run.start()
        return _json(Receipt(run.number), 201)

    async def _status(self, request: Request) -> Response:
        return self._of_run(request, lambda run: _json(Status(run.number, run.over, run.feed.latest)))

    async def _cancel(self, request: Request) -> Response:
        return self._of_run(request, _cancelled)

    async def _events(self, request: Request) -> Response:
        return self._of_run(request, lambda run: StreamingResponse(_stream(run), media_type="text/event-stream"))

    def _of_run(self, request: Request, answer: Callable[[Run], Response]) -> Response:
        number = int(request.path_params["run"])
        if not 1 <= number <= len(self._runs):
            return _json(Problem(f"there is no run {number}"), 404)
        return answer(self._runs[number - 1])


def _cancelled(run: Run) -> Response:
    run.cancel()
    return _json(Receipt(run.number), 202)


async def _stream(run: Run) -> AsyncIterator[bytes]:
    """A run's news as server-sent events, from its beginning."""
    loop, more, seen = asyncio.get_running_loop(), asyncio.Event(), 0
    with run.feed.waking(lambda: loop.call_soon_threadsafe(more.set)):
        while True:
            more.clear()
            for news in run.feed.since(seen):
                seen += 1
                yield b"data: " + msgspec.json.encode(news) + b"\n\n"
                if isinstance(news, Ended):
                    return
            await more.wait()


class Server(uvicorn.Server):
    """A server that ends its runs as it ends: a stream of a run's news would keep it up for as long as the run."""

    def __init__(self, service: Service, port: int) -> None:
        config = uvicorn.Config(
            service.app(),
            host="127.0.0.1",
            port=port,
            log_level="warning",
            ws="none",
            timeout_graceful_shutdown=PATIENCE,  # without it, somebody who sends half of a request keeps it up
        )
        super().__init__(config)
        self._service = service

    @override
    async def shutdown(self, sockets: Optional[list[socket]] = None) -> None:
        """Cancels the runs, and shuts down."""
        self._service.cancel_all()
        await super().shutdown(sockets)


def server(fit: Fit = fit_digits, port: int = 8000) -> Server:
    """The service, ready to run, on this machine alone.

    Args:
        fit: What a run trains.
        port: Where it listens; 0 for any that is free.
    """
    return Server(Service(fit), port)


if __name__ == "__main__":
    server().run()
