"""How long an engine's run is to be, why one ended early, and handlers that come before those of others."""

from __future__ import annotations

import math
from typing import Callable

from ...errors import LoopError
from ...extras import require

require("ignite", extra="ignite")

from ignite.engine import Engine, Events  # noqa: E402


def handle_first(engine: Engine, event: Events, handler: Callable[[Engine], None]) -> None:
    """Adds a handler in front of those that others have added, and so of those that they will add.

    Args:
        engine: The engine.
        event: What it handles.
        handler: Called with the engine.
    """
    engine.add_event_handler(event, handler)
    handlers: list[object] = vars(engine)["_event_handlers"][event]
    handlers.insert(0, handlers.pop())


def n_epochs_of(engine: Engine) -> int:
    """How many epochs a run is to reach.

    Args:
        engine: The engine, whose run has begun.

    Raises:
        LoopError: Nobody knows.
    """
    state = engine.state
    if state.max_epochs is not None:
        return state.max_epochs
    if state.max_iters is None or state.epoch_length is None:
        raise LoopError("a typed callback knows how long its fit is to be: give run max_epochs, or an epoch_length.")
    return math.ceil(state.max_iters / state.epoch_length)


def why_early(engine: Engine) -> str:
    """Why a run ended before its end; empty where it did not.

    Args:
        engine: The engine, whose run is over.
    """
    state = engine.state
    all_iterations = state.max_iters is not None and state.iteration >= state.max_iters
    return "" if all_iterations or not engine.should_terminate else "Ignite's engine was terminated"
