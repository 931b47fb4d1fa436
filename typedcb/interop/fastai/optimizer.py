"""fastai's own optimizer as one of torch's."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import Never, override

from ...errors import LoopError

# Any: fastai's optimizers and groups have no types.


class _Group(dict[str, Any]):
    """A group of parameters whose settings are fastai's."""

    def __init__(self, params: object, hypers: dict[str, Any]) -> None:
        super().__init__(hypers, params=params)
        self._hypers = hypers

    @override
    def __getitem__(self, name: str) -> Any:
        return self._hypers[name] if name in self._hypers else super().__getitem__(name)

    @override
    def __setitem__(self, name: str, value: Any) -> None:
        if name in self._hypers:
            self._hypers[name] = value
        super().__setitem__(name, value)


class FastaiOptimizer(Optimizer):
    """fastai's own optimizer as one of torch's: its groups are live, and have fastai's names (`mom`, `wd`).

    Args:
        opt: fastai's.
    """

    def __init__(self, opt: Any) -> None:
        self.opt = opt
        pairs = zip(opt.param_lists, opt.hypers, strict=True)
        self.param_groups: list[dict[str, Any]] = [_Group(list(params), hypers) for params, hypers in pairs]
        self.state: defaultdict[Tensor, Any] = opt.state

    @override
    def step(self, closure: Any = None) -> Any:
        """Changes the parameters by their gradients."""
        self.opt.step()

    @override
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients."""
        self.opt.zero_grad()

    @override
    def state_dict(self) -> dict[str, Any]:
        """Its state, as fastai has it."""
        return cast("dict[str, Any]", self.opt.state_dict())

    @override
    def load_state_dict(self, state_dict: Any) -> None:
        """Takes fastai's state."""
        self.opt.load_state_dict(state_dict)

    @override
    def add_param_group(self, param_group: dict[str, Any]) -> Never:
        """Refused: fastai splits a model into groups once."""
        raise LoopError("fastai splits a model into groups when the optimizer is made: use Learner(splitter=...).")


def optimizer_of(opt: Any) -> Optimizer:
    """The optimizer of torch that a learner's wraps, or fastai's own as one of torch's.

    Args:
        opt: The learner's.
    """
    inner = cast("dict[str, object]", vars(opt)).get("opt")
    return inner if isinstance(inner, Optimizer) else FastaiOptimizer(opt)
