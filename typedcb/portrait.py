"""A learner at a glance: what it is made of, and its callbacks with their settings and cells."""

from __future__ import annotations

from typing import Iterator, Protocol, Sized, cast

from .callback import SomeCallback, field_values, is_callback
from .cell import State, View
from .dependencies import own_states
from .needs import HasDataAndCallbacks, HasModelAndOpt
from .showing import Sheet, Sheets, brief


class Portrayed(HasModelAndOpt, HasDataAndCallbacks, Protocol):
    """What a portrait is of."""


def portrait(learner: Portrayed) -> Sheets:
    """A learner as two tables: its parts, and its callbacks in the order in which they run.

    Args:
        learner: The learner; nothing of it is run.
    """
    callbacks = tuple(
        (str(place), type(callback).__name__, "\n".join(_settings(callback, learner)), "\n".join(_cells(callback)))
        for place, callback in enumerate(learner.cbs, 1)
    )
    return Sheets(
        (
            Sheet("Learner", ("part", "is"), tuple(_parts(learner))),
            Sheet("Callbacks, in the order in which they run", ("", "callback", "settings", "cells"), callbacks),
        )
    )


def _parts(learner: Portrayed) -> Iterator[tuple[str, str]]:
    parameters = list(learner.model.parameters())
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in parameters)
    frozen = "" if trainable == total else f", {trainable:,} of them train"
    yield "model", f"{type(learner.model).__name__}, {total:,} parameters{frozen}"
    rates = ", ".join(f"{group['lr']:g}" for group in learner.opt.param_groups)
    yield "optimizer", f"{type(learner.opt).__name__}, learning rate {rates}"
    yield "training data", _amount(learner.data.train_dl)
    yield "validation data", _amount(learner.data.valid_dl) if learner.data.has_valid else "none"
    yield "device", str(learner.device)


def _amount(loader: object) -> str:
    try:
        return f"{type(loader).__name__}, {len(cast(Sized, loader)):,} batches"
    except TypeError:  # it has no length, or its data set has none
        return type(loader).__name__


def _settings(callback: SomeCallback, learner: Portrayed) -> Iterator[str]:
    """The fields that are no cells of its own; another callback, or what belongs to one, by its name."""
    own = own_states(callback)
    for name, value in field_values(callback).items():
        if name in own or value is learner:
            continue
        if is_callback(value):
            yield f"{name} = {type(value).__name__}"
        elif isinstance(value, View):
            yield f"{name} = a view of {value.source.name}"
        elif isinstance(value, State):
            yield f"{name} = {value.name}"
        else:
            yield f"{name} = {brief(value)}"


def _cells(callback: SomeCallback) -> Iterator[str]:
    for name, state in own_states(callback).items():
        yield f"{name}: {brief(getattr(state, 'value', None))}"
