"""Keras's optimizer as one of torch's."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from typing_extensions import override

# Any: Keras's models and optimizers are not imported here, and what they hold has no types.


class _Group(dict[str, Any]):
    """The group of all parameters, whose learning rate is Keras's."""

    def __init__(self, model: Any) -> None:
        super().__init__(params=[variable.value for variable in model.trainable_weights], lr=None)
        self._opt = model.optimizer

    @override
    def __getitem__(self, name: str) -> Any:
        return float(self._opt.learning_rate) if name == "lr" else super().__getitem__(name)

    @override
    def __setitem__(self, name: str, value: Any) -> None:
        if name == "lr":
            self._opt.learning_rate = value
        super().__setitem__(name, value)


class KerasOptimizer(Optimizer):
    """A model's optimizer as one of torch's: one group, whose `lr` is live.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.param_groups: list[dict[str, Any]] = [_Group(model)]

    @override
    def step(self, closure: Any = None) -> Any:
        """Changes the parameters by their gradients."""
        variables = self.model.trainable_weights[:]
        self.model.optimizer.apply([variable.value.grad for variable in variables], variables)

    @override
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients."""
        self.model.zero_grad()
