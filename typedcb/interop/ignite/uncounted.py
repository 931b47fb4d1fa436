"""Batches that callbacks cancelled, which Ignite's metrics are not to count.

An engine fires ITERATION_COMPLETED for each batch, and a metric computes with whatever the output is. So for a batch
that was cancelled the metrics are left out, and all other handlers hear of it as ever: a checkpoint every 100
iterations, say. Where all batches of an epoch were cancelled, metrics have nothing to compute from and would fail: they
are left out of its end, too. It costs other batches nothing: an engine fires through this only after a cancelled one.
"""

from __future__ import annotations

from typing import Any, Callable, Final

from ...extras import require

require("ignite", extra="ignite")

from ignite.engine import Engine, Events  # noqa: E402
from ignite.handlers import EpochOutputStore  # noqa: E402
from ignite.metrics import Metric  # noqa: E402

_FIRE: Final = "_fire_event"
"""The method by which an engine calls the handlers of an event."""

# Any: handlers take whatever they were attached with.


def leave_out_of_metrics(engine: Engine, *, first: bool) -> None:
    """Has an engine complete the batch under way without its metrics.

    Args:
        engine: The engine, in its step function.
        first: Whether the batch is the first of its pass, so that none before it was counted.
    """
    found: object = vars(engine).get(_FIRE)
    if isinstance(found, _Uncounted):
        found.batch = True
    else:
        vars(engine)[_FIRE] = _Uncounted(engine, none_yet=first)


class _Uncounted:
    """Stands in for an engine's `_fire_event` from a cancelled batch on, until it is over or another one is counted.

    Args:
        engine: The engine.
        none_yet: Whether no batch of the pass was counted before.
    """

    def __init__(self, engine: Engine, *, none_yet: bool) -> None:
        self.batch = True
        """Whether the batch under way is not to be counted."""

        self._engine = engine
        self._none_yet = none_yet
        self._fire: Callable[..., None] = getattr(engine, _FIRE)

    def __call__(self, event: Any, *args: Any, **kwargs: Any) -> None:
        """Calls the handlers of an event, without the metrics where nothing is to be counted."""
        if event == Events.ITERATION_COMPLETED:
            uncounted, self.batch = self.batch, False
            if not (uncounted and self._none_yet):
                self._leave()
            if uncounted:
                self._fire_without((Metric, EpochOutputStore), event, *args, **kwargs)
                return
        elif event in (Events.EPOCH_STARTED, Events.EPOCH_COMPLETED):
            self._leave()
            if event == Events.EPOCH_COMPLETED:
                self._fire_without((Metric,), event, *args, **kwargs)
                return
        self._fire(event, *args, **kwargs)

    def _leave(self) -> None:
        vars(self._engine).pop(_FIRE, None)

    def _fire_without(self, kinds: tuple[type[Any], ...], event: Any, *args: Any, **kwargs: Any) -> None:
        """Calls the handlers that are no methods of some kinds of objects."""
        handlers: dict[Any, list[Any]] = vars(self._engine)["_event_handlers"]
        handlers[event] = [
            (_Silent(one[0]), *one[1:]) if isinstance(_owner(one[0]), kinds) else one for one in handlers[event]
        ]
        try:
            self._fire(event, *args, **kwargs)
        finally:  # others may have added and removed some
            handlers[event] = [
                (one[0].handler, *one[1:]) if isinstance(one[0], _Silent) else one for one in handlers[event]
            ]


class _Silent:
    """Stands in for a handler that is not to be called; Ignite finds and removes it as the handler.

    Args:
        handler: The handler.
    """

    def __init__(self, handler: Callable[..., object]) -> None:
        self.handler = handler

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""

    def _parent(self) -> object:
        """What Ignite compares with a handler that somebody looks for."""
        return self.handler


def _owner(handler: object) -> object:
    """Whose method a handler is, also behind the filter of an event such as ITERATION_COMPLETED(every=2)."""
    bare: object = handler if hasattr(handler, "__self__") else getattr(handler, "__wrapped__", None)
    return getattr(bare, "__self__", None)
