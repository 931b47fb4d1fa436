"""What callbacks of fastai v1 are given: the state as keyword arguments, and a learner with v1's optimizer."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from typing import Final, Iterable, Mapping, Optional, Union

import attrs
import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import TypeAlias

from ...learner import Learner
from .old import Old, class_of
from .standin import StandIn

State: TypeAlias = dict[str, Old]  # Any: v1's state holds whatever a fit has, by name
"""What the hooks are given as keyword arguments."""

V1_HOOKS: Final = (
    "train_begin",
    "epoch_begin",
    "batch_begin",
    "loss_begin",
    "backward_begin",
    "backward_end",
    "step_end",
    "batch_end",
    "epoch_end",
    "train_end",
)
"""The hooks of v1, without their `on_`."""

_IN_BATCH: Final = V1_HOOKS[2:8]

HONOURED: Final[Mapping[str, tuple[str, ...]]] = {
    "last_input": ("batch_begin",),
    "last_target": ("batch_begin",),
    "last_output": ("loss_begin",),
    "last_loss": ("backward_begin",),
    "last_metrics": ("epoch_end",),
    "skip_bwd": _IN_BATCH[:3],
    "skip_step": _IN_BATCH[:4],
    "skip_zero": _IN_BATCH[:5],
    "stop_epoch": _IN_BATCH,
    "stop_training": V1_HOOKS[1:9],
    "skip_validate": V1_HOOKS[:9],
}
"""In which hooks an answer of that name does what it says."""


def begun() -> State:
    """The state at the beginning of a fit."""
    return {
        "epoch": 0,
        "iteration": 0,
        "num_batch": 0,
        "skip_validate": False,
        "n_epochs": 0,
        "pbar": None,
        "metrics": [],
    }


@attrs.define
class Means:
    """The means that v1 kept for its callbacks."""

    average: Union[Tensor, float] = 0.0
    """The weighted mean of the training losses so far, not corrected for its start at 0."""

    count: int = 0
    """How many losses are in it."""

    valid: list[tuple[Tensor, int]] = attrs.field(factory=list[tuple[Tensor, int]])
    """The validation losses of this epoch, and the sizes of their batches."""

    def restart(self) -> None:
        """Forgets all."""
        self.average, self.count = 0.0, 0
        self.valid.clear()

    def smooth(self, loss: Tensor, beta: float = 0.98) -> Tensor:
        """Takes a training loss into the weighted mean, and returns the mean."""
        self.count += 1
        mean = beta * self.average + (1 - beta) * loss.detach().float().cpu()
        self.average = mean
        return mean / (1 - beta**self.count)

    @property
    def valid_mean(self) -> Optional[float]:
        """The mean validation loss over all samples; None where nothing was validated."""
        if not self.valid:
            return None
        sizes = torch.tensor([float(size) for _, size in self.valid])
        return float((torch.stack([loss.cpu() for loss, _ in self.valid]) * sizes).sum() / sizes.sum())


class OptimizerOfV1(StandIn):
    """A torch optimizer with v1's `lr`, `mom` and `wd`: set for all groups, read from the last."""

    def __init__(self, opt: Optimizer) -> None:
        super().__init__(
            "optimizer", opt, "param_groups", "state", "step", "zero_grad", "state_dict", "load_state_dict"
        )
        vars(self)["_groups"] = opt.param_groups

    @property
    def opt(self) -> Optimizer:
        """The torch optimizer itself."""
        opt: Optimizer = vars(self)["_target"]
        return opt

    def _read(self, name: str) -> float:
        return float(vars(self)["_groups"][-1][name])

    def _write(self, name: str, value: float) -> None:
        for group in vars(self)["_groups"]:
            group[name] = value

    @property
    def lr(self) -> float:
        """The learning rate."""
        return self._read("lr")

    @lr.setter
    def lr(self, value: float) -> None:
        self._write("lr", value)

    @property
    def mom(self) -> float:
        """The momentum; of Adam its first beta."""
        betas: Optional[tuple[float, float]] = vars(self)["_groups"][-1].get("betas")
        return self._read("momentum") if betas is None else betas[0]

    @mom.setter
    def mom(self, value: float) -> None:
        for group in vars(self)["_groups"]:
            if "betas" in group:
                group["betas"] = (value, group["betas"][1])
            else:
                group["momentum"] = value

    @property
    def wd(self) -> float:
        """The weight decay."""
        return self._read("weight_decay")

    @wd.setter
    def wd(self, value: float) -> None:
        self._write("weight_decay", value)


class LearnerOfV1(StandIn):
    """What old callbacks of v1 get as `learn`."""

    def __init__(self, learn: Learner[object, object, object]) -> None:
        super().__init__("learner", learn, "model", "data", "loss_func", "device")
        vars(self).update(_learn=learn, _opt=OptimizerOfV1(learn.opt))
        self.metrics: list[Old] = []

    @property
    def opt(self) -> OptimizerOfV1:
        """The optimizer, with v1's `lr`, `mom` and `wd`."""
        own = vars(self)
        wrapper: OptimizerOfV1 = own["_opt"]
        if wrapper.opt is not own["_learn"].opt:
            wrapper = own["_opt"] = OptimizerOfV1(own["_learn"].opt)
        return wrapper


def misspelt(callbacks: Iterable[Old]) -> Iterator[tuple[Old, str, str]]:
    """Methods that read as hooks of v1 and are none: whose, which, and what to say of it."""
    known = [f"on_{name}" for name in V1_HOOKS]
    for old in callbacks:
        for name, _ in inspect.getmembers_static(class_of(old), inspect.isfunction):
            if name.startswith("on_") and name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"the hooks are {', '.join(known)}."
                yield old, name, f"is no hook of v1, which never called it, without a word; {hint}"
