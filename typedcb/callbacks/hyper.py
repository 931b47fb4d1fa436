"""Hyperparameters of an optimizer, as objects that read and write them: `LR`, `MOMENTUM`, `WEIGHT_DECAY`.

An optimizer keeps them in dictionaries, one for each parameter group; what a scheduler or a recorder names is one of
these objects, so that a slip of the pen is found before training.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import TypeAlias, override

Group: TypeAlias = dict[str, Any]  # Any: torch's own type of a parameter group


@attrs.frozen
class Hyper:
    """One hyperparameter, by the key under which an optimizer keeps it, such as `Hyper("eps")`."""

    key: str
    """Its key in a parameter group."""

    def read(self, group: Group) -> float:
        """Its value in a parameter group."""
        return float(group[self.key])

    def write(self, group: Group, value: float) -> None:
        """Sets it in a parameter group; a tensor, such as a capturable optimizer has, is filled."""
        if isinstance(group[self.key], Tensor):
            group[self.key].fill_(value)
        else:
            group[self.key] = value

    def check(self, opt: Optimizer) -> None:
        """Refuses an optimizer that does not have it.

        Args:
            opt: The optimizer.

        Raises:
            ValueError: It lists what the optimizer has.
        """
        for group in opt.param_groups:
            if not self.is_in(group):
                has = ", ".join(key for key in group if key != "params")
                raise ValueError(f"{type(opt).__name__} has no {self.key} to schedule; it has {has}.")

    def is_in(self, group: Group) -> bool:
        """Whether a parameter group has it."""
        return self.key in group


@attrs.frozen
class _Momentum(Hyper):
    """Momentum: SGD's own, or the first of Adam's betas."""

    key: str = "momentum"

    @override
    def read(self, group: Group) -> float:
        return float(group["betas"][0] if "betas" in group else group["momentum"])

    @override
    def write(self, group: Group, value: float) -> None:
        if "betas" in group:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value

    @override
    def is_in(self, group: Group) -> bool:
        return "betas" in group or "momentum" in group


LR: Final = Hyper("lr")
"""The learning rate."""

MOMENTUM: Final[Hyper] = _Momentum()
"""The momentum: SGD's own, or the first of Adam's betas."""

WEIGHT_DECAY: Final = Hyper("weight_decay")
"""The weight decay."""
