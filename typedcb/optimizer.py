"""What a loop asks of an optimizer, and what a learner makes one by."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any, Callable, Iterable, Optional, Protocol, Sequence, TypeVar

from torch import nn
from torch.optim import Optimizer
from typing_extensions import TypeAlias

from .errors import LoopError

M = TypeVar("M", bound=nn.Module)

OptFunc: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]
"""Makes an optimizer of parameters: `torch.optim.AdamW`, `partial(SGD, lr=0.1)`."""


class Steps(Protocol):
    """What `step` needs of an optimizer; every torch optimizer has it."""

    def step(self) -> object:
        """Changes the parameters by their gradients."""
        ...

    def zero_grad(self) -> None:
        """Drops the gradients."""
        ...


def check_closure(opt: Steps) -> None:
    """Refuses an optimizer whose step wants a closure, as LBFGS's does.

    Args:
        opt: The optimizer.

    Raises:
        LoopError: It cannot step on gradients that are there.
    """
    of_class: Optional[Callable[..., object]] = getattr(type(opt), "step", None)
    if of_class is None:
        parameters = list(signature(opt.step).parameters.items())
    else:  # a scheduler of torch has put its own on the instance, which takes self once more
        parameters = list(signature(of_class).parameters.items())[1:]
    wants = [name for name, one in parameters if _is_needed(one)]
    if wants:
        raise LoopError(
            f"{type(opt).__name__}.step wants {', '.join(wants)}: it computes the loss of a batch several times in one "
            f"step, and callbacks hear of each batch once. Take an optimizer that steps on gradients, such as AdamW. "
            f"In a loop of your own step(...) also takes an object whose step() calls {type(opt).__name__}.step with a "
            f"closure of yours, of which callbacks hear nothing."
        )


def _is_needed(parameter: Parameter) -> bool:
    return parameter.default is Parameter.empty and parameter.kind not in (
        Parameter.VAR_POSITIONAL,
        Parameter.VAR_KEYWORD,
    )


def made_optimizer(
    model: M, opt_func: OptFunc, splitter: Optional[Callable[[M], Sequence[Iterable[nn.Parameter]]]]
) -> Optimizer:
    """The optimizer over a model's parameters, in the groups that the splitter makes.

    Args:
        model: The model.
        opt_func: Called with the parameters, or with those of the first group.
        splitter: Splits the parameters into groups; one group by default.

    Raises:
        ValueError: The splitter leaves trainable parameters out, or the optimizer is over another model.
        LoopError: The optimizer's step wants a closure, as LBFGS's does.
    """
    if splitter is None:
        opt = opt_func(model.parameters())
        check_closure(opt)
        _check_steps_on(opt, model)
        return opt
    groups = [list(group) for group in splitter(model)]
    grouped = {id(parameter) for group in groups for parameter in group}
    left_out = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in grouped]
    if left_out:
        raise ValueError(
            f"the splitter leaves out {', '.join(left_out)}: put them into a group, or freeze them by "
            f"requires_grad_(False), or they would stay as they are without a word."
        )
    opt = opt_func(groups[0])
    check_closure(opt)
    for group in groups[1:]:
        opt.add_param_group({"params": group})
    return opt


def _check_steps_on(opt: Optimizer, model: nn.Module) -> None:
    """Refuses an optimizer over another model: no step would change this one."""
    own = {id(parameter) for parameter in model.parameters()}
    groups: Any = opt.param_groups  # Any: torch says dict[str, Any]
    if not own or any(id(parameter) in own for group in groups for parameter in group["params"]):
        return
    raise ValueError(
        "the optimizer holds no parameter of this model, so that no step would change it: opt_func is called with the "
        "parameters to train, and has to use them, as partial(SGD, lr=0.1) does."
    )
