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
from operator import is_
from typing import Final, Mapping, Protocol, Sequence, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import TypeIs

from ..cell import Cell, Series, State
from .records import Value, WeightValue
from .summaries import Summarizer, digest, has_contents, norms, plain, tensor_digest


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
        self._cells = [(f"cells:{name}", state) for name, state in states.items() if _is_cell(state)]
        self._series = [(f"cells:{name}", state) for name, state in states.items() if _is_series(state)]
        self._held: list[object] = [_NEVER] * len(self._cells)
        self._lengths = [(0, -1)] * len(self._series)
        self._values: dict[str, Value] = {}
        self._summarize = summarize

    def changes(self, *, hook: str, opening: bool) -> dict[str, Value]:
        """What has changed since it was last asked."""
        found: dict[str, Value] = {}
        held, lengths = self._held, self._lengths
        for place, (name, cell) in enumerate(self._cells):
            if cell.value is not held[place]:
                held[place] = cell.value
                self._note(found, name, self._summarize(cell.value))
        for place, (name, series) in enumerate(self._series):
            length = (id(series._items), len(series._items))  # a series that is emptied begins another list
            if length != lengths[place]:
                lengths[place] = length
                self._note(found, name, self._summarize.history(series))
        return found

    def _note(self, found: dict[str, Value], name: str, value: Value) -> None:
        if name not in self._values or not same(value, self._values[name]):
            self._values[name] = found[name] = value


_NEVER: Final = object()


def _is_cell(state: State) -> TypeIs[Cell[object]]:
    return isinstance(state, Cell)


def _is_series(state: State) -> TypeIs[Series[object]]:
    return isinstance(state, Series)


def same(one: Value, other: Value) -> bool:
    """Whether two values are the same; a nan is the same as a nan."""
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    return one is other or both_nan or (type(one) is type(other) and one == other)


class _Tensors:
    """Named tensors: which of them have changed, and all of them together.

    Args:
        kind: What they are, such as `weights`.
        each: Whether each of them is told of, beside all of them together.
    """

    def __init__(self, kind: str, *, each: bool) -> None:
        self._kind = kind
        self._each = each
        self._values: dict[str, WeightValue] = {}

    def forget(self) -> None:
        """Forgets what they were, so that all of them are told of."""
        self._values.clear()

    def look(self, tensors: Sequence[tuple[str, Tensor]]) -> dict[str, Value]:
        """What has changed of them.

        Args:
            tensors: Those that may have changed, by name.
        """
        changed: list[tuple[str, Tensor, bytes]] = []
        for name, tensor in tensors:
            own = plain(tensor)
            hashed = tensor_digest(own)
            last = self._values.get(name)
            if last is None or last.hash != hashed:
                changed.append((name, own, hashed))
        if not changed:
            return {}
        for (name, _, hashed), length in zip(changed, norms([own for _, own, _ in changed]), strict=True):
            self._values[name] = WeightValue(hashed, length)
        every = self._values.values()
        total = WeightValue(digest(*(value.hash for value in every)), math.hypot(*(value.norm for value in every)))
        each = [name for name, _, _ in changed] if self._each else []
        return {self._kind: total, **{f"{self._kind}:{name}": self._values[name] for name in each}}


def _countable(tensor: Tensor, sync: bool) -> bool:
    """Whether a tensor can be hashed, and counts its changes."""
    return has_contents(tensor) and not tensor.is_inference() and (sync or tensor.device.type == "cpu")


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
        self._tensors = _Tensors("weights", each=each)
        self._sync = sync
        self._thorough = thorough
        self._take_stock()

    def _take_stock(self) -> None:
        """Sees which tensors the model has; between two epochs it may get others."""
        self._buffers = [
            (name, buffer) for name, buffer in self._model.named_buffers() if _countable(buffer, self._sync)
        ]
        weights = [(name, weight) for name, weight in self._model.named_parameters() if _countable(weight, self._sync)]
        self._named = [*weights, *self._buffers]
        self._counts = [-1] * len(self._named)

    def changes(self, *, hook: str, opening: bool) -> dict[str, Value]:
        """What has changed since it was last asked."""
        if opening and hook == "begin_epoch":
            self._take_stock()
        counts = [tensor._version for _, tensor in self._named]
        if self._thorough or (opening and hook in _AT_ALL):
            those = self._named
        elif opening and hook == "after_pred":  # batch norm changes its buffers without counting it
            those = [*self._counted(counts), *self._buffers]
        elif counts != self._counts:
            those = self._counted(counts)
        else:
            return {}
        self._counts = counts
        return self._tensors.look(those)

    def _counted(self, counts: list[int]) -> list[tuple[str, Tensor]]:
        """What has counted changes since it was last looked at."""
        return [named for named, now, last in zip(self._named, counts, self._counts, strict=True) if now != last]


class Gradients:
    """The gradients of a model's parameters, from backward until the step is over.

    Args:
        model: The model.
        each: Whether each of them is told of, beside all of them together.
        sync: Whether those of other devices than the CPU are fetched.
        thorough: Whether all of them are hashed each time.
        first: The first event of a batch that they are looked at in: they are others than in the batch before.
    """

    def __init__(self, model: nn.Module, *, each: bool, sync: bool, thorough: bool, first: str) -> None:
        self._weights = list(model.named_parameters())
        self._tensors = _Tensors("gradients", each=each)
        self._sync = sync
        self._thorough = thorough
        self._first = first
        self._counts: dict[str, tuple[int, int]] = {}

    def changes(self, *, hook: str, opening: bool) -> dict[str, Value]:
        """What has changed since it was last asked."""
        if hook not in ("after_backward", "after_step"):
            return {}
        if opening and hook == self._first:
            self._tensors.forget()
            self._counts.clear()
        those: list[tuple[str, Tensor]] = []
        for name, weight in self._weights:
            grad = weight.grad
            if grad is None:
                continue
            count = (id(grad), grad._version)
            if self._thorough or count != self._counts.get(name):
                self._counts[name] = count
                if _countable(grad, self._sync):
                    those.append((name, grad))
        return self._tensors.look(those) if those else {}


class Hypers:
    """An optimizer's hyperparameters, of each parameter group.

    Args:
        opt: The optimizer.
        summarize: Makes their values short.
    """

    def __init__(self, opt: Optimizer, summarize: Summarizer) -> None:
        self._opt = opt
        self._summarize = summarize
        self._held: list[list[object]] = []
        self._last: dict[str, Value] = {}

    def changes(self, *, hook: str, opening: bool) -> dict[str, Value]:
        """What has changed since it was last asked."""
        held: list[list[object]] = [list(group.values()) for group in self._opt.param_groups]
        if self._as_held(held):
            return {}
        self._held = held
        now = hypers(self._opt, self._summarize)
        found = {name: value for name, value in now.items() if not same(value, self._last.get(name, _UNKNOWN))}
        self._last = now
        return found

    def _as_held(self, held: list[list[object]]) -> bool:
        """Whether the hyperparameters are the very objects that they were, and none that changes in place."""
        if len(held) != len(self._held):
            return False
        for now, last in zip(held, self._held, strict=True):
            if len(now) != len(last) or not all(map(is_, now, last)):
                return False
        return not any(isinstance(value, Tensor) for group in held for value in group)


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


_WHERE_ALL: Final = frozenset({"begin_fit", "begin_epoch", "begin_batch", "begin_validate", "after_fit"})
"""The events at whose beginning the generators of Python and numpy are looked at: that takes 0.1 ms."""


class RandomNumbers:
    """The states of the generators of torch, of Python and of numpy, where it is imported; as hashes.

    Torch's is looked at after every turn; the others when a batch, an epoch, a validation or a fit begins.

    Args:
        sync: Whether those of CUDA devices are fetched too.
    """

    def __init__(self, *, sync: bool) -> None:
        self._sync = sync
        self._torch = torch.empty(0, dtype=torch.uint8)
        # what these begin with is in the header: in most processes nobody has seeded them, and nobody draws from them
        self._last = _other_hashes(sync=sync)

    def changes(self, *, hook: str, opening: bool) -> dict[str, Value]:
        """What has changed since it was last asked."""
        state = torch.default_generator.get_state()
        found: dict[str, Value] = {}
        if not torch.equal(state, self._torch):
            self._torch = state
            found["random:torch"] = _number(tensor_digest(state))
        if opening and hook in _WHERE_ALL:
            for name, value in _other_hashes(sync=self._sync).items():
                if value != self._last.get(name):
                    self._last[name] = found[name] = value
        return found


class _Keys(Protocol):
    """The array that numpy's state is."""

    def tobytes(self) -> bytes:
        """Its contents."""
        ...


def random_hashes(*, sync: bool) -> dict[str, Value]:
    """A hash of the state of each generator: `random:torch`, `random:python`, `random:numpy`, `random:cuda`."""
    return {"random:torch": _number(tensor_digest(torch.default_generator.get_state())), **_other_hashes(sync=sync)}


def _other_hashes(*, sync: bool) -> dict[str, Value]:
    # of integers alone, a hash is the same in every process
    found: dict[str, Value] = {"random:python": hash(random.getstate()[1]) & (1 << 63) - 1}
    if "numpy" in sys.modules:
        import numpy as np  # noqa: PLC0415  # imported already

        _, keys, position, *_ = cast("tuple[str, _Keys, int, int, float]", np.random.get_state(legacy=True))
        found["random:numpy"] = _number(digest(keys.tobytes(), position.to_bytes(8, "little")))
    if sync and torch.cuda.is_available():
        found["random:cuda"] = _number(digest(*(tensor_digest(state) for state in torch.cuda.get_rng_state_all())))
    return found


def _number(hashed: bytes) -> int:
    return int.from_bytes(hashed, "little")
