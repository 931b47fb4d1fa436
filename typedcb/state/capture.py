"""What a checkpoint holds of a learner, taken at one moment."""

from __future__ import annotations

from typing import Optional, cast

import attrs
from torch import nn

from ..callback import SomeCallback
from ..loaders import inexact, loader_facts, loader_state
from ..position import Position
from ..randomness import random_states, saves_itself
from ..ranks import here
from ..together import of_all_ranks
from ..trained import captured_weights, modes_of
from ..tree import Tree
from .cells import cells_taken, everybody
from .subject import DiffersByRank, HasState, KeepsMore, all_cbs, loader_of, loaders_of, trained


def instant(learner: HasState) -> Tree:
    """The random states of this moment: the process's and the loaders'."""
    return {"random": random_states(), **{name: loader_state(dl) for name, dl in loaders_of(learner).items()}}


def inexact_parts(learner: HasState) -> list[str]:
    """What keeps a fit of this learner from being taken up bit for bit, each in words."""
    reasons = [inexact(f"{name}_dl", dl) for name, dl in loaders_of(learner).items()]
    return [reason for reason in (*reasons, lost(learner)) if reason is not None]


def lost(learner: HasState) -> Optional[str]:
    """What of the callbacks no checkpoint holds, in words; None where it holds all of it."""
    names = [name for callback in all_cbs(learner) for name in _kept_elsewhere(callback)]
    if not names:
        return None
    return f"{', '.join(names)}: what they keep in attributes of their own is in no cell, and is not saved"


def _kept_elsewhere(callback: SomeCallback) -> tuple[str, ...]:
    return cast("KeepsMore", callback).kept_elsewhere if hasattr(callback, "kept_elsewhere") else ()


def modes(learner: HasState) -> dict[str, list[str]]:
    """Which modules of each model are in training mode."""
    return {name: modes_of(one.model) for name, one in trained(learner).items()}


def in_fit(learner: HasState, position: Position, start: Tree, now: Tree) -> Tree:
    """What a fit needs to be taken up.

    Args:
        learner: Whose fit it is.
        position: Where it is.
        start: The instant at which the pass under way began; None between two epochs.
        now: The instant of now.
    """
    dl = loader_of(learner, position)
    own = None if dl is None else saves_itself(dl)
    return {
        **attrs.asdict(position),
        "start": start,
        "now": now,
        "facts": None if dl is None else loader_facts(dl),
        "own": None if own is None else own.state_dict(),
    }


def with_ranks(fit: Tree) -> Tree:
    """What a fit needs to be taken up, with the random states of all ranks where there are several. Collective.

    Args:
        fit: What `in_fit` says on this rank.
    """
    if here().world_size == 1:
        return fit
    return {**fit, "ranks": of_all_ranks({"start": fit["start"], "now": fit["now"]})}


def bring_together(learner: HasState) -> None:
    """Gives the main rank's cells, which are what is saved, what is in those of all ranks. Collective."""
    if here().world_size > 1:
        for callback in all_cbs(learner):
            if hasattr(callback, "bring_together"):
                cast("DiffersByRank", callback).bring_together()


def captured(learner: HasState, fit: Tree = None, training: Tree = None) -> Tree:
    """The whole state of a learner, its tensors as they are.

    Args:
        learner: The learner.
        fit: What `in_fit` says, in a fit.
        training: Which modules are in training mode, as `modes` tells; by default those that are now.

    Raises:
        StateError: A cell holds what no checkpoint can hold.
    """
    training = modes(learner) if training is None else training
    weights = {name: captured_weights(one, training[name]) for name, one in trained(learner).items()}
    own = weights.pop("", dict[str, Tree]())
    return {
        **own,
        **({"objectives": weights} if weights else {}),
        "loss": loss_state(learner.loss_func),
        "callbacks": [
            {"class": key[0], "place": key[1], "cells": cells_taken(callback), **({"of": of} if of else {})}
            for (of, key), callback in everybody(learner).items()
        ],
        "fit": fit,
    }


def loss_state(loss_func: object) -> Tree:
    """The weights, buffers and gradients of a loss that is a module; None where it has none."""
    if not isinstance(loss_func, nn.Module) or not loss_func.state_dict():
        return None
    grads = {name: weight.grad for name, weight in loss_func.named_parameters() if weight.grad is not None}
    return {"state": dict(loss_func.state_dict()), "grads": grads}
