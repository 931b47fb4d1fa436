"""What a trace watches beside events: cells, weights, gradients, hyperparameters, and the states of random numbers.

Each of these says what has changed since it was last asked. A tensor is known to be as it was by torch's own count of
its changes, which costs some 0.1 µs; only what has another count is hashed. What goes past that count (`weight.data`,
or numpy on a tensor's memory) is found where everything is hashed: at the beginning and end of a fit, an epoch and a
validation, and after each step.
"""

from __future__ import annotations

import math
import random
import sys
from typing import Callable, Final, Iterable, Mapping, Protocol, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import TypeIs

from ..cell import Series, State
from .records import Value, WeightValue
from .summaries import Summarizer, digest, has_contents, norm, plain


class Watched(Protocol):
    """Something that changes."""

    def changes(self, *, hook: str, opening: bool) -> dict[str, Value]:
        """What has changed since it was last asked, by kind and name.

        Args:
            hook: The hook whose event is under way.
            opening: Whether the event has just come; a callback's turn is over otherwise.
        """
        ...


class Cells:
    """The cells and series of callbacks.

    Args:
        states: By callback and field, such as `SmoothLoss.mean`.
        summarize: Makes their values short.
    """

    def __init__(self, states: Mapping[str, State], summarize: Summarizer) -> None:
        self._states = [(f"cells:{name}", state) for name, state in states.items()]
        self._marks: list[object] = [_NEVER] * len(self._states)
        self._values: dict[str, Value] = {}
        self._summarize = summarize

    def changes(self, *, hook: str, opening: bool) -> dict[str, Value]:
        """What has changed since it was last asked."""
        found: dict[str, Value] = {}
        for place, (name, state) in enumerate(self._states):
            last = self._marks[place]
            mark: object
            if _is_series(state):
                mark = (id(state._items), len(state))  # a series that is emptied begins another list
                if mark == last:
                    continue
                value: Value = self._summarize.history(state)
            else:
                mark = getattr(state, "value", None)  # a cell's, of its own type
                if mark is last:
                    continue
                value = self._summarize(mark)
            self._marks[place] = mark
            if name not in self._values or not same(value, self._values[name]):
                self._values[name] = found[name] = value
        return found


def _is_series(state: State) -> TypeIs[Series[object]]:
    return isinstance(state, Series)


_NEVER: Final = object()


def same(one: Value, other: Value) -> bool:
    """Whether two values are the same; a nan is the same as a nan."""
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    return one is other or both_nan or (type(one) is type(other) and one == other)


_Key = tuple[int, int]


class _Tensors:
    """Named tensors: which of them have changed, and all of them together.

    Args:
        kind: What they are, such as `weights`.
        each: Whether each of them is told of, beside all of them together.
        sync: Whether those of other devices than the CPU are fetched.
    """

    def __init__(self, kind: str, *, each: bool, sync: bool) -> None:
        self._kind = kind
        self._each = each
        self._sync = sync
        self._keys: dict[str, _Key] = {}
        self._values: dict[str, WeightValue] = {}

    def forget(self) -> None:
        """Forgets what they were, so that all of them are told of."""
        self._keys.clear()
        self._values.clear()

    def look(self, tensors: Iterable[tuple[str, Tensor]], fully: Callable[[Tensor], bool]) -> dict[str, Value]:
        """What has changed of them.

        Args:
            tensors: By name.
            fully: Whether a tensor is hashed whatever its count of changes says.
        """
        found: dict[str, Value] = {}
        for name, tensor in tensors:
            if not has_contents(tensor) or (tensor.device.type != "cpu" and not self._sync):
                continue
            key = (tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version)
            if key == self._keys.get(name) and key[1] >= 0 and not fully(tensor):
                continue
            self._keys[name] = key
            own = plain(tensor)
            hashed = digest(own)
            last = self._values.get(name)
            if last is None or last.hash != hashed:
                self._values[name] = WeightValue(hashed, _norm(own))
                if self._each:
                    found[f"{self._kind}:{name}"] = self._values[name]
                else:
                    found = {self._kind: None}
        if found:
            every = self._values.values()
            total = WeightValue(digest(*(value.hash for value in every)), math.hypot(*(value.norm for value in every)))
            return {self._kind: total, **(found if self._each else {})}
        return found


def _norm(tensor: Tensor) -> float:
    return norm(tensor if tensor.is_floating_point() or tensor.is_complex() else tensor.double())


_AT_ALL: Final = frozenset({"begin_fit", "begin_epoch", "after_step", "begin_validate", "after_validate", "after_fit"})
"""The events at whose beginning every weight is hashed."""


class Weights:
    """A model's parameters and buffers.

    Args:
        model: The model.
        each: Whether each of them is told of, beside all of them together.
        sync: Whether those of other devices than the CPU are fetched.
        thorough: Whether all of them are hashed each time.
    """

    def __init__(self, model: nn.Module, *, each: bool, sync: bool, thorough: bool) -> None:
        self._model = model
        self._tensors = _Tensors("weights", each=each, sync=sync)
        self._thorough = thorough
        self._named: list[tuple[str, Tensor]] = []
        self._buffers: set[int] = set()

    def changes(self, *, hook: str, opening: bool) -> dict[str, Value]:
        """What has changed since it was last asked."""
        if not self._named or (opening and hook == "begin_epoch"):
            buffers = list(self._model.named_buffers())
            self._named = [*self._model.named_parameters(), *buffers]
            self._buffers = {id(buffer) for _, buffer in buffers}
        everything = self._thorough or (opening and hook in _AT_ALL)
        # batch norm changes its buffers without counting it
        return self._tensors.look(self._named, lambda tensor: everything or (opening and id(tensor) in self._buffers))


class Gradients:
    """The gradients of a model's parameters, from backward until the step is over.

    Args:
        model: The model.
        each: Whether each of them is told of, beside all of them together.
        sync: Whether those of other devices than the CPU are fetched.
        thorough: Whether all of them are hashed each time.
    """

    def __init__(self, model: nn.Module, *, each: bool, sync: bool, thorough: bool) -> None:
        self._named = list(model.named_parameters())
        self._tensors = _Tensors("gradients", each=each, sync=sync)
        self._thorough = thorough

    def changes(self, *, hook: str, opening: bool) -> dict[str, Value]:
        """What has changed since it was last asked."""
        if hook not in ("after_backward", "after_step"):
            return {}
        begins = opening and hook == "after_backward"
        if begins:
            self._tensors.forget()
        there = ((name, weight.grad) for name, weight in self._named if weight.grad is not None)
        everything = self._thorough or begins
        return self._tensors.look(there, lambda _: everything)


class Hypers:
    """An optimizer's hyperparameters, of each parameter group.

    Args:
        opt: The optimizer.
        summarize: Makes their values short.
    """

    def __init__(self, opt: Optimizer, summarize: Summarizer) -> None:
        self._opt = opt
        self._summarize = summarize
        self._last: dict[str, Value] = {}

    def changes(self, *, hook: str, opening: bool) -> dict[str, Value]:
        """What has changed since it was last asked."""
        now = hypers(self._opt, self._summarize)
        found = {name: value for name, value in now.items() if not same(value, self._last.get(name, _UNKNOWN))}
        self._last = now
        return found


_UNKNOWN: Final = "never looked at"


def hypers(opt: Optimizer, summarize: Summarizer) -> dict[str, Value]:
    """The hyperparameters of an optimizer by name: `hypers:lr`, or `hypers:0.lr` where there are several groups."""
    groups = opt.param_groups
    many = len(groups) > 1
    return {
        f"hypers:{place}.{name}" if many else f"hypers:{name}": summarize(value)
        for place, group in enumerate(groups)
        for name, value in group.items()
        if name != "params"
    }


class RandomNumbers:
    """The states of the generators of torch, of Python and of numpy, where it is imported; as hashes.

    Args:
        sync: Whether those of CUDA devices are fetched too.
    """

    def __init__(self, *, sync: bool) -> None:
        self._sync = sync
        self._last: dict[str, Value] = {}

    def changes(self, *, hook: str, opening: bool) -> dict[str, Value]:
        """What has changed since it was last asked."""
        now = random_hashes(sync=self._sync)
        found = {name: value for name, value in now.items() if value != self._last.get(name)}
        self._last = now
        return found


class _Keys(Protocol):
    """The array that numpy's state is."""

    def tobytes(self) -> bytes:
        """Its contents."""
        ...


def random_hashes(*, sync: bool) -> dict[str, Value]:
    """A hash of the state of each generator: `random:torch`, `random:python`, `random:numpy`, `random:cuda`."""
    found: dict[str, Value] = {
        "random:torch": _number(digest(torch.get_rng_state())),
        "random:python": hash(random.getstate()[1]) & (1 << 63) - 1,  # of integers alone: the same in every process
    }
    if "numpy" in sys.modules:
        import numpy as np  # noqa: PLC0415  # imported already

        _, keys, position, *_ = cast("tuple[str, _Keys, int, int, float]", np.random.get_state(legacy=True))
        found["random:numpy"] = _number(digest(keys.tobytes(), position.to_bytes(8, "little")))
    if sync and torch.cuda.is_available():
        found["random:cuda"] = _number(digest(*torch.cuda.get_rng_state_all()))
    return found


def _number(hashed: bytes) -> int:
    return int.from_bytes(hashed, "little")
