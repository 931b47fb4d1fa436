"""The state of a learner: what a checkpoint holds of it, what may differ, and how it is given back.

Giving back has two halves. `prepared` reads everything, compares it with the live learner and raises for whatever does
not fit, by name; only when all of it fits is anything copied: a refused checkpoint leaves the learner as it was.

Callbacks are known by their class and by their place among the instances of that class, in running order. What is kept
of them are their cells, and never their settings: a fit that is taken up with another patience has that patience.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Generator, Literal, Mapping, Optional, Protocol, Sequence, Union, cast

import attrs
import torch
from torch import nn
from typing_extensions import TypeAlias

from .attach import Group, own_states
from .callback import SomeCallback
from .cell import Series, State
from .data import DataBunch
from .errors import CheckpointError, CheckpointWarning, CorruptCheckpointError, MismatchError
from .loaders import inexact, loader_facts, loader_problem, loader_state, set_loader_state
from .loop import Position, Resumption
from .needs import HasModelAndOpt
from .randomness import diverge, random_problem, random_states, saves_itself, set_random_states
from .ranks import here
from .store import AnyPath, Stored, draft, found, read, write
from .together import of_all_ranks, on_main
from .trained import (
    captured_weights,
    check_weights,
    differing_tensors,
    give_weights,
    loaded_weights,
    modes_of,
    set_grads,
    tensors_of,
    weights_differences,
)
from .tree import Tree, is_dict
from .values import OwnState, declared, made, shown, taken

OnMismatch: TypeAlias = Mapping[str, Literal["require", "reset"]]
"""What to do where a checkpoint does not fit: by a callback's class, or `optimizer`, `loss`, `data` or `random`.

`"require"` refuses the checkpoint, which is what happens to whatever is not named; `"reset"` goes on without that part.
"""


class _HasRest(Protocol):
    """What a learner's state is made of besides models and optimizers."""

    @property
    def loss_func(self) -> object:
        """What computes the loss; a module where it has a state of its own."""
        ...

    @property
    def data(self) -> DataBunch[object, object]:
        """The loaders."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        ...

    @property
    def cbs(self) -> Sequence[SomeCallback]:
        """The callbacks in the order in which they run."""
        ...


class _KnowsPosition(Protocol):
    """Whatever knows how far its fit has come."""

    @property
    def position(self) -> Optional[Position]:
        """How far the fit has come that is under way; None where there is none."""
        ...


class _HasOneModel(HasModelAndOpt, _HasRest, Protocol):
    """Whatever has the state of one model and its optimizer, and perhaps of objectives."""


class _HasObjectives(_HasRest, Protocol):
    """Whatever has the state of objectives."""

    @property
    def objectives(self) -> Sequence[Group]:
        """The objectives."""
        ...


class _OneModelInFit(_HasOneModel, _KnowsPosition, Protocol):
    """Whatever has a learner's state, and knows how far its fit has come."""


class _ObjectivesInFit(_HasObjectives, _KnowsPosition, Protocol):
    """Whatever has the state of a loop's objectives, and knows how far its fit has come."""


HasState: TypeAlias = Union[_HasOneModel, _HasObjectives]
"""Whatever has a state to save: a learner, or all that a loop of one's own trains with."""

InFit: TypeAlias = Union[_OneModelInFit, _ObjectivesInFit]
"""The same that knows how far its fit has come."""


class KeepsMore(Protocol):
    """A callback that keeps state outside of its cells."""

    @property
    def kept_elsewhere(self) -> tuple[str, ...]:
        """What keeps it: no checkpoint holds it."""
        ...


class DiffersByRank(Protocol):
    """A callback whose cells are not the same on all ranks: the main rank's are what is saved."""

    def bring_together(self) -> None:
        """Gives the main rank's cells what is in those of all ranks, before they are saved. Collective."""
        ...

    def part_again(self) -> None:
        """Takes out of this rank's cells, which have been given the main rank's, what the main rank has."""
        ...


class MakesState(Protocol):
    """A callback whose cell holds an object with a state of its own, which a fit makes when it begins."""

    def make_state(self) -> None:
        """Makes the object, so that it can be given a state outside of a fit."""
        ...


def trained(learner: HasState) -> dict[str, HasModelAndOpt]:
    """The models with their optimizers: that of a learner, or of a loop of one's own, under "", objectives by name."""
    own = {"": cast("HasModelAndOpt", learner)} if hasattr(learner, "model") else dict[str, HasModelAndOpt]()
    return {**own, **_objectives(learner)}


def _objectives(learner: HasState) -> dict[str, Group]:
    groups = cast("_HasObjectives", learner).objectives if hasattr(learner, "objectives") else ()
    return {group.name: group for group in groups}


def _all_cbs(learner: HasState) -> list[SomeCallback]:
    """The callbacks of the loop and of its objectives."""
    return [*learner.cbs, *(callback for group in _objectives(learner).values() for callback in group.cbs)]


def instant(learner: HasState) -> Tree:
    """The random states of this moment: the process's and the loaders'."""
    return {"random": random_states(), **{name: loader_state(dl) for name, dl in _loaders(learner).items()}}


def _loaders(learner: HasState) -> dict[str, object]:
    """The loaders, by the phase that each is of."""
    data = learner.data
    return {"train": data.train_dl, "valid": data.valid_dl} if data.has_valid else {"train": data.train_dl}


def _set_instant(learner: HasState, states: Tree, kept: Sequence[str], *, under_way: bool) -> None:
    """Gives everything the random state of an instant, apart from `kept`: `random` or `data`."""
    if "data" not in kept:
        for name, dl in _loaders(learner).items():
            set_loader_state(dl, states[name], under_way=under_way)
    if "random" not in kept:
        set_random_states(states["random"])  # last: workers that are started draw from it


def inexact_parts(learner: HasState) -> list[str]:
    """What keeps a fit of this learner from being taken up bit for bit, each in words."""
    reasons = [inexact(f"{name}_dl", dl) for name, dl in _loaders(learner).items()]
    return [reason for reason in (*reasons, lost(learner)) if reason is not None]


def lost(learner: HasState) -> Optional[str]:
    """What of the callbacks no checkpoint holds, in words; None where it holds all of it."""
    names = [name for callback in _all_cbs(learner) for name in _kept_elsewhere(callback)]
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
    dl = _loader(learner, position)
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
    """Has the main rank's cells be those of all ranks, and its buffers: they are what is saved. Collective."""
    if here().world_size > 1:
        for callback in _all_cbs(learner):
            if hasattr(callback, "bring_together"):
                cast("DiffersByRank", callback).bring_together()


def _part_again(learner: HasState) -> None:
    """Has each rank begin with its own part of what the main rank's cells have brought together."""
    if here().world_size > 1:
        for callback in _all_cbs(learner):
            if hasattr(callback, "part_again"):
                cast("DiffersByRank", callback).part_again()


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
        "loss": _loss_state(learner.loss_func),
        "callbacks": [
            {"class": key[0], "place": key[1], "cells": _cells(callback), **({"of": of} if of else {})}
            for (of, key), callback in _everybody(learner).items()
        ],
        "fit": fit,
    }


def _loss_state(loss_func: object) -> Tree:
    """The weights, buffers and gradients of a loss that is a module; None where it has none."""
    if not isinstance(loss_func, nn.Module) or not loss_func.state_dict():
        return None
    grads = {name: weight.grad for name, weight in loss_func.named_parameters() if weight.grad is not None}
    return {"state": dict(loss_func.state_dict()), "grads": grads}


Key: TypeAlias = tuple[str, int]
"""A callback: its class, and its place among the instances of that class."""


def _stateful(callbacks: Sequence[SomeCallback]) -> dict[Key, SomeCallback]:
    """The callbacks that have something to save."""
    found: dict[Key, SomeCallback] = {}
    counts: dict[str, int] = {}
    for callback in callbacks:
        name = type(callback).__qualname__.rpartition("<locals>.")[2]
        place = counts[name] = counts.get(name, -1) + 1
        if _saved(callback):
            found[name, place] = callback
    return found


def _everybody(learner: HasState) -> dict[tuple[str, Key], SomeCallback]:
    """The callbacks that have something to save, by the objective that they are of, "" for the loop's own, and key."""
    found = {("", key): callback for key, callback in _stateful(learner.cbs).items()}
    for name, group in _objectives(learner).items():
        found.update({(name, key): callback for key, callback in _stateful(group.cbs).items()})
    return found


def _saved(callback: SomeCallback) -> dict[str, State]:
    return {name: state for name, state in own_states(callback).items() if state.saved}


def _cells(callback: SomeCallback) -> Tree:
    return {
        name: {"type": shown(declared(callback, name)), "value": taken(callback, name, state)}
        for name, state in _saved(callback).items()
    }


def _loader(learner: HasState, position: Position) -> Optional[object]:
    """The loader of the pass that is under way."""
    if position.phase is None:
        return None
    return learner.data.train_dl if position.phase == "train" else learner.data.valid_dl


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
            for callback in _all_cbs(self.learner):
                if hasattr(callback, "make_state"):
                    cast("MakesState", callback).make_state()
        cells = self._fitting(at_rest)
        for name, one in trained(self.learner).items():
            give_weights(one, self.weights[name])
        if self.loss is not None and isinstance(self.learner.loss_func, nn.Module):
            self.learner.loss_func.load_state_dict(self.loss["state"])
            set_grads(self.learner.loss_func, self.loss["grads"])
        for state, value in cells:
            _give(state, value)
        _part_again(self.learner)

    def _fitting(self, at_rest: bool) -> list[tuple[State, object]]:
        """The cells to give, when what is in them now takes it."""
        fitting: list[tuple[State, object]] = []
        differences: list[tuple[str, str]] = []
        for name, state, value in self.cells:
            live: object = getattr(state, "value", None)
            problem = _own_problem(live, value)
            if problem is None:
                fitting.append((state, value))
            elif not at_rest:
                differences.append((name, f"{state.name} {problem}"))
        _refuse(self.path, differences, self.on_mismatch)
        return fitting


class _Holds(Protocol):
    """What a cell and a series have in common beside `State`."""

    value: object


def _give(state: State, value: object) -> None:
    live: object = getattr(state, "value", None)
    own = saves_itself(live)
    if isinstance(value, OwnState) and own is not None:
        own.load_state_dict(value.state)
    else:
        cast("_Holds", state).value = value


def _own_problem(live: object, value: object) -> Optional[str]:
    """Why an object that is there does not take a state; None where it does."""
    own = saves_itself(live)
    if not isinstance(value, OwnState):
        return None if own is None else f"is a {type(live).__name__}, and nothing was saved of one"
    if own is None:
        return f"holds {str(live)[:40]}, and something with a state of its own was saved"
    old, new = tensors_of(value.state), tensors_of(own.state_dict())
    if isinstance(live, nn.Module) and old != new:
        return f"is a {type(live).__name__} with other tensors: {differing_tensors(old, new)}"
    return None


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
    with _schema(stored):
        return _prepared(learner, stored, on_mismatch)


@contextmanager
def _schema(stored: Stored) -> Generator[None, None, None]:
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
    _refuse(str(stored.path), [*differences, *loss_differences], on_mismatch)  # before any tensor is read
    cells, cell_differences = _cells_of(learner, stored)
    _refuse(str(stored.path), cell_differences, on_mismatch)
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
    live = _loss_state(loss_func)
    if saved is None or live is None:
        if saved is live:
            return []
        return [
            "it had weights or buffers, and has none" if live is None else "it has weights or buffers, and had none"
        ]
    old, new = tensors_of(saved["state"]), tensors_of(live["state"])
    return [] if old == new else [differing_tensors(old, new)]


def _cells_of(learner: HasState, stored: Stored) -> tuple[list[tuple[str, State, object]], list[tuple[str, str]]]:
    """What each cell becomes, and what does not fit."""
    cells: list[tuple[str, State, object]] = []
    differences: list[tuple[str, str]] = []
    live = _everybody(learner)
    saved = {
        (entry.get("of", ""), (entry["class"], entry["place"])): entry["cells"] for entry in stored.tree["callbacks"]
    }
    for one in [one for one in saved.keys() ^ live.keys() if one[1][0] == "Checkpoint"]:
        # who saves changes nothing in the training, and need not be there
        if one not in live:
            del saved[one]
        elif type(live[one]).__module__ == f"{__package__}.callbacks.checkpoint":
            del live[one]
    for of, key in saved.keys() - live.keys():
        differences.append((key[0], f"{_which(key, of)} was attached when it was saved, and is not now"))
    for (of, key), callback in live.items():
        if (of, key) not in saved:
            differences.append((key[0], f"{_which(key, of)} is attached now, and was not when it was saved"))
            continue
        found, problems = _cells_of_one(callback, saved[of, key], stored, learner.device)
        differences += [(key[0], f"of {of}: {problem}" if of else problem) for problem in problems]
        cells += [] if problems else [(key[0], state, value) for state, value in found]
    return cells, differences


def _cells_of_one(
    callback: SomeCallback, saved: Tree, stored: Stored, device: torch.device
) -> tuple[list[tuple[State, object]], list[str]]:
    live = _saved(callback)
    name = type(callback).__name__
    problems = [f"{name}.{field} was saved, and is no cell now" for field in saved if field not in live]
    found: list[tuple[State, object]] = []
    for field, state in live.items():
        if field not in saved:
            problems.append(f"{name}.{field} is a cell now, and was not saved")
            continue
        kind = declared(callback, field)
        tree = stored.load(saved[field]["value"], device)
        try:
            found.append((state, made(kind, tree, many=isinstance(state, Series))))
        except Exception as error:  # noqa: BLE001  # whatever the constructor of a frozen class raises
            problems.append(
                f"{name}.{field} was saved as {saved[field]['type']}, and is declared as {shown(kind)}: {error}"
            )
    return found, problems


def _which(key: Key, of: str = "") -> str:
    return key[0] + (f" no. {key[1] + 1}" if key[1] else "") + (f" of {of}" if of else "")


def _refuse(path: str, differences: Sequence[tuple[str, str]], on_mismatch: OnMismatch) -> None:
    """Refuses what nobody has accepted."""
    left = tuple((who, what) for who, what in differences if who == "model" or on_mismatch.get(who) != "reset")
    if not left:
        return
    lines = "\n".join(f"  {who}: {what}" for who, what in left)
    reset = sorted({who for who, _ in left if who != "model"})
    hint = f" To go on without what was saved of it: on_mismatch={{{reset[0]!r}: 'reset'}}." if reset else ""
    raise MismatchError(
        f"{path} does not fit this learner, and nothing of it was copied:\n{lines}\n{hint}".rstrip(), left
    )


def resumption(learner: HasState, stored: Stored, on_mismatch: OnMismatch) -> Resumption:
    """What a fit needs to go on from a checkpoint.

    Args:
        learner: The learner.
        stored: The checkpoint.
        on_mismatch: What to do where something does not fit.

    Raises:
        MismatchError: It does not fit; all differences are in it.
        CheckpointError: It was saved outside of a fit, or by one that failed.
    """
    restoration = prepared(learner, stored, on_mismatch)
    fit = stored.tree["fit"]
    if fit is None:
        raise CheckpointError(
            f"{stored.path} was saved outside of a fit, or by one that had failed in the middle of a batch: no fit can "
            f"be taken up there. learn.load({str(stored.path)!r}) loads its weights."
        )
    with _schema(stored):
        return _taken_up(learner, stored, restoration, on_mismatch)


def _taken_up(learner: HasState, stored: Stored, restoration: Restoration, on_mismatch: OnMismatch) -> Resumption:
    fit = stored.tree["fit"]
    taken = dict(zip(stored.tree.get("objectives", ()), fit.get("objective_steps", ()), strict=False))
    own_steps = tuple(int(taken[name]) for name in _objectives(learner))
    position = Position(fit["epoch"], fit["phase"], fit["done"], fit["steps"], own_steps)
    own = stored.load(fit["own"])
    start, now, is_new = _of_this_rank(stored, fit)
    dl = None if position.phase == "valid" and not learner.data.has_valid else _loader(learner, position)
    problem = random_problem(now["random"])
    differences = [("random", problem)] if problem else []
    differences += [("data", text) for text in _data_differences(learner, fit, now, dl)]
    _refuse(str(stored.path), differences, on_mismatch)
    kept = [who for who, _ in differences]

    def settle() -> None:
        _set_instant(learner, now, kept, under_way=True)

    def restore() -> None:
        restoration.apply(at_rest=False)
        _set_instant(learner, now, kept, under_way=False)
        if is_new and "random" not in kept:
            diverge(here().rank)

    def rewind() -> int:
        _set_instant(learner, start, kept, under_way=False)
        itself = None if dl is None else saves_itself(dl)
        if itself is None or own is None:
            return position.done
        itself.load_state_dict(dict(own))
        return 0

    return Resumption(position, restore, rewind, settle)


def _of_this_rank(stored: Stored, fit: Tree) -> tuple[Tree, Tree, bool]:
    """The instants at which the pass began and was left on this rank, and whether there was no such rank."""
    ranks: list[Tree] = fit.get("ranks") or [{"start": fit["start"], "now": fit["now"]}]
    rank = here().rank
    own = stored.load(ranks[rank % len(ranks)])
    return own["start"], own["now"], rank >= len(ranks)


def _data_differences(learner: HasState, fit: Tree, now: Tree, dl: Optional[object]) -> list[str]:
    """Why a pass over the data cannot be taken up in its middle."""
    old: dict[str, Tree] = fit["facts"] or {}
    new: dict[str, Tree] = {} if dl is None else loader_facts(dl)
    differences = [
        f"{name} of the {fit['phase']} loader was {old.get(name)!r}, and is {new.get(name)!r}"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]
    for name, loader in _loaders(learner).items():
        problem = loader_problem(loader, now[name]) if name in now else "it was not there"
        if problem is not None:
            differences.append(f"the {name} loader: {problem}")
    return differences


def save(learner: HasState, path: AnyPath) -> None:
    """Writes a checkpoint of a learner at rest.

    Args:
        learner: The learner.
        path: The directory that it becomes; nothing may be there yet.

    Raises:
        StateError: A cell holds what no checkpoint can hold.
        CheckpointWriteError: It cannot be written.
    """
    left_out = lost(learner)
    if left_out is not None:
        warnings.warn(f"{path} is without a part of the state. {left_out}.", CheckpointWarning, stacklevel=3)
    bring_together(learner)
    content = draft(captured(learner), copy=False)
    if content.sharded:
        write(Path(path), content)
    else:
        on_main(lambda: write(Path(path), content))


def load(learner: HasState, path: AnyPath, on_mismatch: Optional[OnMismatch]) -> None:
    """Gives a learner at rest the state in a checkpoint.

    Args:
        learner: The learner.
        path: A checkpoint, or a folder of them: the newest sound one in it.
        on_mismatch: What of the checkpoint may be left out where it does not fit.

    Raises:
        CheckpointError: There is no sound checkpoint, or it does not fit; nothing of it was copied.
    """
    prepared(learner, read(found(path)), on_mismatch or {}).apply(at_rest=True)
