"""What a loop asks of an optimizer."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Callable, Optional, Protocol

from .errors import LoopError


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
