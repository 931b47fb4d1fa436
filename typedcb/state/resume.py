"""Takes a fit up where a checkpoint left it."""

from __future__ import annotations

from typing import Optional, Sequence

from ..errors import CheckpointError
from ..loaders import loader_facts, loader_problem, set_loader_state
from ..position import Position, Resumption
from ..randomness import diverge, random_problem, saves_itself, set_random_states
from ..ranks import here
from ..store import Stored
from ..tree import Tree
from .mismatch import OnMismatch, refuse
from .restore import Restoration, prepared, schema
from .subject import HasState, loader_of, loaders_of, objectives_of


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
    with schema(stored):
        return _taken_up(learner, stored, restoration, on_mismatch)


def _taken_up(learner: HasState, stored: Stored, restoration: Restoration, on_mismatch: OnMismatch) -> Resumption:
    fit = stored.tree["fit"]
    taken = dict(zip(stored.tree.get("objectives", ()), fit.get("objective_steps", ()), strict=False))
    own_steps = tuple(int(taken[name]) for name in objectives_of(learner))
    position = Position(fit["epoch"], fit["phase"], fit["done"], fit["steps"], own_steps)
    own = stored.load(fit["own"])
    start, now, is_new = _of_this_rank(stored, fit)
    dl = None if position.phase == "valid" and not learner.data.has_valid else loader_of(learner, position)
    problem = random_problem(now["random"])
    differences = [("random", problem)] if problem else []
    differences += [("data", text) for text in _data_differences(learner, fit, now, dl)]
    refuse(str(stored.path), differences, on_mismatch)
    kept = [who for who, _ in differences]

    def settle() -> None:
        set_instant(learner, now, kept, under_way=True)

    def restore() -> None:
        restoration.apply(at_rest=False)
        set_instant(learner, now, kept, under_way=False)
        if is_new and "random" not in kept:
            diverge(here().rank)

    def rewind() -> int:
        set_instant(learner, start, kept, under_way=False)
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
    for name, loader in loaders_of(learner).items():
        problem = loader_problem(loader, now[name]) if name in now else "it was not there"
        if problem is not None:
            differences.append(f"the {name} loader: {problem}")
    return differences


def set_instant(learner: HasState, states: Tree, kept: Sequence[str], *, under_way: bool) -> None:
    """Gives everything the random state of an instant, apart from `kept`: `random` or `data`."""
    if "data" not in kept:
        for name, dl in loaders_of(learner).items():
            set_loader_state(dl, states[name], under_way=under_way)
    if "random" not in kept:
        set_random_states(states["random"])  # last: workers that are started draw from it
