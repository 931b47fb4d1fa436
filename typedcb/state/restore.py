"""Gives a learner the state that a checkpoint holds.

That has two halves. `prepared` reads everything, compares it with the live learner and raises for whatever does not
fit, by name; only when all of it fits is anything copied: a refused checkpoint leaves the learner as it was.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Generator, Mapping, cast

import attrs
from torch import nn

from ..cell import State
from ..errors import CorruptCheckpointError
from ..ranks import here
from ..store import Stored
from ..trained import (
    check_weights,
    differing_tensors,
    give_weights,
    loaded_weights,
    set_grads,
    tensors_of,
    weights_differences,
)
from ..tree import Tree, is_dict
from .capture import loss_state
from .cells import cells_given, fitting, give
from .mismatch import OnMismatch, refuse
from .subject import DiffersByRank, HasState, MakesState, all_cbs, trained


@attrs.frozen
class Restoration:
    """A state that fits a learner, and waits to be given to it."""

    learner: HasState
    """The learner."""

    weights: Mapping[str, Tree]
    """The states of models and optimizers, by the name of what trains them, with their tensors."""

    loss: Tree
    """The state of the loss; where it is None, none is given."""

    cells: tuple[tuple[str, State, object], ...]
    """What each cell becomes, beside the name of its callback's class."""

    on_mismatch: OnMismatch
    """What to do where something does not fit."""

    path: str
    """Where it comes from."""

    def apply(self, *, at_rest: bool) -> None:
        """Gives the learner the state.

        Args:
            at_rest: Whether no fit has begun: what only a fit has is left out.

        Raises:
            MismatchError: An object that begin_fit's hooks have made is another one; nothing was copied.
        """
        if at_rest:
            for callback in all_cbs(self.learner):
                if hasattr(callback, "make_state"):
                    cast("MakesState", callback).make_state()
        cells, differences = fitting(self.cells)
        refuse(self.path, [] if at_rest else differences, self.on_mismatch)
        for name, one in trained(self.learner).items():
            give_weights(one, self.weights[name])
        if self.loss is not None and isinstance(self.learner.loss_func, nn.Module):
            self.learner.loss_func.load_state_dict(self.loss["state"])
            set_grads(self.learner.loss_func, self.loss["grads"])
        for state, value in cells:
            give(state, value)
        part_again(self.learner)


def prepared(learner: HasState, stored: Stored, on_mismatch: OnMismatch) -> Restoration:
    """Reads a checkpoint, and compares it with a learner. Nothing of the learner changes.

    Args:
        learner: The learner.
        stored: The checkpoint.
        on_mismatch: What to do where something does not fit.

    Raises:
        MismatchError: It does not fit; all differences are in it.
        CorruptCheckpointError: It holds no state of a learner.
    """
    with schema(stored):
        return _prepared(learner, stored, on_mismatch)


@contextmanager
def schema(stored: Stored) -> Generator[None, None, None]:
    """Says of a tree that is sound, and yet no learner's, which checkpoint it is."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise CorruptCheckpointError(f"{stored.path} holds no state of a learner: {error!r}") from error


def _prepared(learner: HasState, stored: Stored, on_mismatch: OnMismatch) -> Restoration:
    tree = stored.tree
    _check_schema(stored)
    differences = _weights_differences(learner, tree)
    loss_differences = [("loss", text) for text in _loss_differences(tree["loss"], learner.loss_func)]
    refuse(str(stored.path), [*differences, *loss_differences], on_mismatch)  # before any tensor is read
    cells, cell_differences = cells_given(learner, stored)
    refuse(str(stored.path), cell_differences, on_mismatch)
    weights: dict[str, Tree] = {}
    for name, one in trained(learner).items():
        saved = _weights_in(tree)[name]
        weights[name] = loaded_weights(stored, saved, with_opt=not weights_differences(saved, one))
    loss = None if loss_differences else stored.load(tree["loss"])
    return Restoration(learner, weights, loss, tuple(cells), on_mismatch, str(stored.path))


def _check_schema(stored: Stored) -> None:
    tree = stored.tree
    if not is_dict(tree) or not isinstance(tree.get("callbacks"), list):
        raise CorruptCheckpointError(f"{stored.path} holds no state of a learner.")
    weights = _weights_in(tree)
    for name in weights or {"": tree}:
        check_weights(stored, weights.get(name))


def _weights_in(tree: Tree) -> dict[str, Tree]:
    """The states of models and their optimizers in a tree: the learner's own under "", each objective's by its name."""
    own = {"": tree} if "model" in tree else dict[str, Tree]()
    return {**own, **tree.get("objectives", {})}


def _weights_differences(learner: HasState, tree: Tree) -> list[tuple[str, str]]:
    """How the models and optimizers differ from what was saved: `model` or `optimizer`, and in what."""
    old, new = _weights_in(tree), trained(learner)
    differences = [("model", f"{_what(name)} was saved, and is not there now") for name in old if name not in new]
    differences += [("model", f"{_what(name)} is there now, and was not saved") for name in new if name not in old]
    for name in old:
        if name in new:
            found = weights_differences(old[name], new[name])
            differences += [(who, text if not name else f"of {name}: {text}") for who, text in found]
    return differences


def _what(name: str) -> str:
    return f"the objective {name}" if name else "a model of the loop's own"


def _loss_differences(saved: Tree, loss_func: object) -> list[str]:
    live = loss_state(loss_func)
    if saved is None or live is None:
        if saved is live:
            return []
        return [
            "it had weights or buffers, and has none" if live is None else "it has weights or buffers, and had none"
        ]
    old, new = tensors_of(saved["state"]), tensors_of(live["state"])
    return [] if old == new else [differing_tensors(old, new)]


def part_again(learner: HasState) -> None:
    """Has each rank begin with its own part of what the main rank's cells have brought together."""
    if here().world_size > 1:
        for callback in all_cbs(learner):
            if hasattr(callback, "part_again"):
                cast("DiffersByRank", callback).part_again()
