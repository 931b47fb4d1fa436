"""The state of a loader: what it draws from, to come back to, and what of it no checkpoint holds.

A pass over a loader is taken up by drawing its batches again from where it began. That is exact when all that a batch
depends on begins there too: the process's own random states (`randomness`), and what the loader and its data set hold:

- generators of torch, of numpy and of `random`, wherever they are among the attributes of the loader's data set, its
  samplers and its `collate_fn`;
- samplers and data sets that save themselves, by `state_dict` and `load_state_dict`;
- samplers and data sets that are told the epoch, by `set_epoch`, as `DistributedSampler` is.
"""

from __future__ import annotations

import random
import sys
from abc import ABC, abstractmethod
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any, Callable, Final, Iterator, Literal, Optional, cast

import attrs
from torch import Generator, Tensor, nn
from torch.utils.data import DataLoader
from typing_extensions import TypeAlias, TypeIs

from .randomness import saves_itself
from .tree import Tree, is_dict, is_list, is_tuple

_DEPTH: Final = 8
"""How far from the loader a generator is looked for."""

_MANY: Final = 64
"""A list or dict of more items is data, and no place for generators."""

_PARTS: Final = ("generator", "sampler", "batch_sampler", "dataset", "collate_fn")
"""The attributes of a DataLoader that it draws from; its private ones hold queues and processes."""

_Kind: TypeAlias = Literal["torch", "python", "numpy", "numpy.random", "itself", "epoch"]

_AnyLoader: TypeAlias = DataLoader[Any]  # Any: whatever its batches are


@attrs.frozen
class _Source:
    """Something that a loader draws from."""

    place: str
    """Where it is, such as `dataset.transform.rng`."""

    kind: _Kind
    """How its state is taken and given."""

    held: Any  # Any: of the class that `kind` says
    """What it is."""


class StandsFor(ABC):
    """A mixin for a loader that gives a part of each batch of another one, and draws from what that one draws from.

    A checkpoint describes the other one, so that another number of processes goes on from it.
    """

    @property
    @abstractmethod
    def whole(self) -> object:
        """The other one."""


def loader_facts(dl: object) -> Tree:
    """What has to be the same about a loader, for a pass over it to be taken up in its middle."""
    dl = _whole(dl)
    facts: dict[str, object] = {"class": type(dl).__name__, "batches": _length(dl)}
    for name in ("batch_size", "num_workers", "drop_last", "persistent_workers"):
        facts[name] = getattr(dl, name, None)
    facts["samples"] = _length(getattr(dl, "dataset", None))
    facts["sampler"] = type(getattr(dl, "sampler", None)).__name__
    return facts


def loader_state(dl: object) -> Tree:
    """The state of all that a loader draws from, between two batches or passes."""
    sources = [[source.place, source.kind, _taken(source)] for source in _sources(dl)]
    return {"sources": sources, "workers": _workers_live(dl)}


def loader_problem(dl: object, state: Tree) -> Optional[str]:
    """Why a loader cannot be given a state; None where it can.

    Args:
        dl: The loader.
        state: What `loader_state` took.
    """
    old = [(place, kind) for place, kind, _ in state["sources"]]
    new = [(source.place, source.kind) for source in _sources(dl)]
    if old == new:
        return None
    return f"it drew from {_places(old)}, and draws from {_places(new)}"


def set_loader_state(dl: object, state: Tree, *, under_way: bool) -> None:
    """Gives all that a loader draws from the state that it had.

    Args:
        dl: The loader.
        state: What `loader_state` took.
        under_way: Whether a pass over it has begun, so that only its generators take a state: what saves itself has
            come to where it was by being drawn from.
    """
    if not under_way:
        _settle_workers(dl, live=state["workers"])
    for source, (_, _, value) in zip(_sources(dl), state["sources"], strict=True):
        if not (under_way and source.kind in ("itself", "epoch")):
            _give(source, value)


def inexact(name: str, dl: object) -> Optional[str]:
    """Why a pass over a loader cannot be taken up bit for bit; None where it can.

    Args:
        name: What the loader is called, such as `train_dl`.
        dl: The loader.
    """
    dl = _whole(dl)
    if not getattr(dl, "num_workers", 0):
        return None
    if saves_itself(dl) is not None:
        return (
            f"{name} saves its own position, and not the random states of its workers. With num_workers=0 it is exact, "
            f"and so is a torch DataLoader, whose batches are drawn again"
        )
    if getattr(dl, "persistent_workers", False):
        return (
            f"the workers of {name} live on from epoch to epoch, and so do their random states, where no checkpoint "
            f"reaches. With persistent_workers=False each epoch begins with new ones, and is exact"
        )
    return None


def _sources(dl: object) -> list[_Source]:
    """All that a loader draws from, each once, in an order that is the same in every run."""
    given, dl = dl, _whole(dl)
    # a DataLoader that saves itself is given its position in the middle of a pass, and begins the next one by itself,
    # unless each rank has one that another stands before
    by_itself = dl is given and _is_torch_loader(dl)
    found: list[_Source] = [] if by_itself else list(_own("loader", dl))
    seen: set[int] = {id(dl)}
    left: list[tuple[str, object, int]] = [(name, part, 1) for name, part in _children(dl)]
    while left:
        place, value, depth = left.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        kind = _generator_kind(value)
        if kind is not None:
            found.append(_Source(place, kind, value))
            continue
        if depth <= 2 and not isinstance(value, nn.Module):  # a sampler, a data set, or what a batch sampler holds
            found += _own(place, value)
        if depth < _DEPTH:
            left += [(f"{place}.{name}", part, depth + 1) for name, part in _children(value)]
    return found


def _whole(dl: object) -> object:
    """The loader that another one stands for; else the loader itself."""
    return dl.whole if isinstance(dl, StandsFor) else dl


def _own(place: str, value: object) -> Iterator[_Source]:
    """What a sampler or a data set keeps itself."""
    if saves_itself(value) is not None:
        yield _Source(place, "itself", value)
    elif callable(getattr(value, "set_epoch", None)) and isinstance(_epoch_of(value), int):
        yield _Source(place, "epoch", value)


def _children(value: object) -> list[tuple[str, object]]:
    """What an object holds that may be drawn from, by name."""
    if _is_torch_loader(value):
        parts: list[tuple[str, object]] = [(name, getattr(value, name, None)) for name in _PARTS]
    elif isinstance(value, (str, bytes, int, float, Tensor, type, ModuleType, FunctionType, type(None))):
        return []
    elif isinstance(value, MethodType):
        parts = [("self", value.__self__)]
    elif isinstance(value, partial):
        made = cast("partial[object]", value)
        parts = [("func", made.func), ("args", made.args), ("keywords", made.keywords)]
    elif is_list(value) or is_tuple(value):
        parts = [(str(place), item) for place, item in enumerate(value)] if len(value) <= _MANY else []
    elif is_dict(value):
        parts = [(str(key), item) for key, item in value.items()] if len(value) <= _MANY else []
    else:
        parts = _attributes(value)
    return [part for part in parts if part[1] is not None]


def _attributes(value: object) -> list[tuple[str, object]]:
    own: dict[str, object] = dict(getattr(value, "__dict__", {}))
    for owner in type(value).__mro__:
        slots: object = vars(owner).get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else tuple(cast("tuple[str, ...]", slots))
        own.update({name: getattr(value, name) for name in names if not name.startswith("__") and hasattr(value, name)})
    return list(own.items())


def _generator_kind(value: object) -> Optional[_Kind]:
    if isinstance(value, Generator):
        return "torch"
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        return "python"
    if "numpy" in sys.modules:
        import numpy as np  # noqa: PLC0415  # imported already

        if isinstance(value, np.random.Generator):
            return "numpy"
        if isinstance(value, np.random.RandomState):
            return "numpy.random"
    return None


def _taken(source: _Source) -> Tree:
    held = source.held
    if source.kind == "torch":
        return held.get_state()
    if source.kind == "python":
        return held.getstate()
    if source.kind == "numpy":
        return _plain(held.bit_generator.state)
    if source.kind == "numpy.random":
        return _plain(held.get_state(legacy=False))
    return dict(held.state_dict()) if source.kind == "itself" else _epoch_of(held)


def _give(source: _Source, state: Tree) -> None:
    held = source.held
    if source.kind == "torch":
        held.set_state(state)
    elif source.kind == "python":
        held.setstate(state)
    elif source.kind == "numpy":
        held.bit_generator.state = _arrays(state)
    elif source.kind == "numpy.random":
        held.set_state(_arrays(state))
    elif source.kind == "itself":
        held.load_state_dict(dict(state))
    else:
        held.set_epoch(state)


def _epoch_of(value: object) -> object:
    return getattr(value, "epoch", getattr(value, "_epoch", None))


def _plain(state: Tree) -> Tree:
    """The state of one of numpy's generators, its arrays as lists."""
    if is_dict(state):
        return {name: _plain(item) for name, item in state.items()}
    as_list: Callable[[], Tree] | None = getattr(state, "tolist", None)
    return state if as_list is None else as_list()


def _arrays(state: Tree) -> Tree:
    """The same as numpy takes it."""
    import numpy as np  # noqa: PLC0415  # only where the fit that was saved had imported it

    if is_dict(state):
        return {name: _arrays(item) for name, item in state.items()}
    return np.array(state, dtype=np.uint64) if is_list(state) else state


def _is_torch_loader(dl: object) -> TypeIs[_AnyLoader]:
    return isinstance(dl, DataLoader)


def _persistent(dl: object) -> TypeIs[_AnyLoader]:
    """Whether a loader keeps its workers from one pass to the next, and is taken up by being drawn from again."""
    return _is_torch_loader(dl) and dl.persistent_workers and saves_itself(dl) is None


def _workers_live(dl: object) -> bool:
    """Whether a loader has workers that the next pass goes on with."""
    return _persistent(dl) and dl._iterator is not None


def _settle_workers(dl: object, *, live: bool) -> None:
    """Starts the workers that a pass was to go on with, or ends those that it did not have.

    The first pass draws a seed for its workers and later ones do not, so that all that is drawn after it would differ.
    """
    if not _persistent(dl) or live == _workers_live(dl):
        return
    if live:
        iter(dl)
    else:
        dl._iterator = None


def _places(sources: list[tuple[Any, Any]]) -> str:  # Any: what a file says they are
    return ", ".join(f"{place} ({kind})" for place, kind in sources) or "the process's generators alone"


def _length(items: object) -> Optional[int]:
    try:
        return len(cast("list[object]", items))
    except TypeError:
        return None
