"""The cells of callbacks in the checkpoint of somebody else's trainer, and back.

A trainer's file gets a string and tensors, nothing that is code: `torch.load(weights_only=True)` reads it. The string
is the JSON of `typedcb.tree`. What comes back is compared with the callbacks that are there before any cell changes.
"""

from __future__ import annotations

from typing import Final, Mapping, Sequence, cast

import attrs
import torch
from torch import Tensor
from typing_extensions import TypeIs

from ..callback import SomeCallback
from ..cell import State
from ..errors import CorruptCheckpointError, MismatchError
from ..state import OnMismatch
from ..state.cells import cells_of_one, cells_taken, fitting, give, stateful, which
from ..tree import StoredTensor, Tree, decode, encode, map_tensors

_TEXT: Final = "typedcb"
_TENSORS: Final = "tensors"


@attrs.frozen
class Kept:
    """What a trainer's file holds of callbacks."""

    steps: int
    """How many training batches of the fit had been stepped on."""

    epochs: int
    """How many epochs had ended, their after_epoch told."""

    callbacks: Tree
    """The cells of each callback, with their tensors."""


def packed(steps: int, epochs: int, callbacks: Sequence[SomeCallback]) -> dict[str, object]:
    """What a trainer's file is to hold: a string, and tensors by name.

    Args:
        steps: How many training batches of the fit have been stepped on.
        epochs: How many epochs have ended.
        callbacks: The callbacks in the order in which they run.

    Raises:
        StateError: A cell holds what no checkpoint can hold; it says which.
    """
    cells = [
        {"class": key[0], "place": key[1], "cells": cells_taken(callback)}
        for key, callback in stateful(callbacks).items()
    ]
    text, tensors = encode({"steps": steps, "epochs": epochs, "callbacks": cells})
    return {_TEXT: text.decode(), _TENSORS: {name: tensor.clone() for name, tensor in tensors.items()}}


def unpacked(state: Mapping[str, object], host: str, device: torch.device) -> Kept:
    """What a trainer's file held.

    Args:
        state: What `packed` made.
        host: The trainer in words.
        device: Where tensors go that were not on the CPU.

    Raises:
        CorruptCheckpointError: It is nothing that `packed` made.
    """
    text, tensors = state.get(_TEXT), state.get(_TENSORS)
    if not isinstance(text, str) or not _are_tensors(tensors):
        raise CorruptCheckpointError(f"{host} gave back a state that typedcb did not make: {str(state)[:80]}")

    def tensor_of(stored: StoredTensor) -> Tensor:
        tensor = tensors[stored.name].detach().clone()
        return tensor if stored.device == "cpu" else tensor.to(device)

    try:
        tree = map_tensors(
            decode(text.encode(), {n: tuple(t.shape) for n, t in tensors.items()}), StoredTensor, tensor_of
        )
        return Kept(
            int(tree["steps"]),
            int(tree["epochs"]),
            [(one["class"], one["place"], one["cells"]) for one in tree["callbacks"]],
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise CorruptCheckpointError(f"{host} gave back a state that typedcb did not make: {error!r}") from error


def _are_tensors(value: object) -> TypeIs[dict[str, Tensor]]:
    if not isinstance(value, dict):
        return False
    items = cast("dict[object, object]", value).items()
    return all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in items)


@attrs.frozen
class Cells:
    """Cells that fit their callbacks, and wait to be given to them."""

    host: str
    """The trainer in words."""

    values: tuple[tuple[str, State, object], ...]
    """What each cell becomes, beside the name of its callback's class."""

    on_mismatch: OnMismatch
    """What to do where something does not fit."""

    def apply(self) -> None:
        """Gives the cells their values.

        Raises:
            MismatchError: An object that begin_fit's hooks have made is another one; no cell was changed.
        """
        cells, problems = fitting(self.values)
        _refuse(self.host, problems, self.on_mismatch)
        for state, value in cells:
            give(state, value)


def fitted(kept: Kept, callbacks: Sequence[SomeCallback], host: str, on_mismatch: OnMismatch) -> Cells:
    """Compares what was kept with the callbacks that are there. Nothing changes.

    Args:
        kept: What a trainer's file held.
        callbacks: The callbacks in the order in which they run.
        host: The trainer in words.
        on_mismatch: By the name of a callback's class: `"reset"` to go on without what was kept of it.

    Raises:
        MismatchError: They differ; it says which callback, which cell and how.
    """
    saved: dict[tuple[str, int], Tree] = {(name, place): cells for name, place, cells in kept.callbacks}
    live = stateful(callbacks)
    problems = [
        (key[0], f"{which(key)} was attached when it was saved, and is not now") for key in saved if key not in live
    ]
    values: list[tuple[str, State, object]] = []
    for key, callback in live.items():
        if key not in saved:
            problems.append((key[0], f"{which(key)} is attached now, and was not when it was saved"))
            continue
        found, differences = cells_of_one(callback, saved[key], lambda tree: tree)
        problems += [(key[0], text) for text in differences]
        values += [] if differences else [(key[0], state, value) for state, value in found]
    _refuse(host, problems, on_mismatch)
    return Cells(host, tuple(values), on_mismatch)


def _refuse(host: str, problems: Sequence[tuple[str, str]], on_mismatch: OnMismatch) -> None:
    """Refuses what nobody has accepted."""
    left = tuple((who, what) for who, what in problems if on_mismatch.get(who) != "reset")
    if not left:
        return
    lines = "\n".join(f"  {who}: {what}" for who, what in left)
    raise MismatchError(
        f"the checkpoint that {host} loaded does not fit the callbacks, and no cell was changed:\n{lines}\n"
        f"To go on without what was saved of one: host(..., on_mismatch={{{left[0][0]!r}: 'reset'}}).",
        left,
    )
