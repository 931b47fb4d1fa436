"""What makes a loss, and what a loss has to be: a scalar tensor that has a graph."""

from __future__ import annotations

from functools import partial
from typing import Protocol, Union

from torch import Tensor, nn
from typing_extensions import TypeAlias

from .articles import an_instance
from .errors import BatchError
from .hooks import P_contra, Y_contra

LossOfTensors: TypeAlias = Union[nn.Module, "partial[Tensor]"]
"""A loss whose prediction a checker cannot see, and takes for a tensor: `nn.CrossEntropyLoss()`, a partial function."""


class LossFunc(Protocol[P_contra, Y_contra]):
    """A function, or another callable, that makes a scalar of a prediction and the targets."""

    # A Protocol and no Callable: mypy looks at callables last, after callbacks over object have made P an object.

    def __call__(self, pred: P_contra, yb: Y_contra, /) -> Tensor:
        """Computes the loss of a batch."""
        ...


def check_loss(loss: object) -> None:
    """Refuses a loss that is no scalar tensor.

    Args:
        loss: What a loss function gave.

    Raises:
        BatchError: It is no tensor of no dimensions.
    """
    if isinstance(loss, Tensor) and not loss.dim():
        return
    what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else an_instance(loss)
    raise BatchError(f"the loss is {what}, and has to be a scalar tensor: reduce it, by .mean() say.")


def check_graph(loss: object, error: Exception) -> None:
    """Refuses a loss that backward could not begin at, in words that say why.

    Args:
        loss: The loss.
        error: What backward has raised.

    Raises:
        BatchError: It is no scalar tensor, or has no graph.
    """
    check_loss(loss)
    if isinstance(loss, Tensor) and not loss.requires_grad:
        raise BatchError(
            "the loss has no graph, so that no parameter can get a gradient from it: is every parameter frozen, does "
            "the model run under torch.no_grad(), or is the prediction detached, or argmaxed, before the loss?"
        ) from error
