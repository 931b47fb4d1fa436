"""Finding where numbers stop being numbers, before a step spoils the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Optional

from torch import Tensor, nn
from torch.utils import _pytree as pytree  # torch has no public way to go over the tensors of a nested batch
from typing_extensions import override

from ..callback import AnyCallback
from ..errors import NonFiniteError
from ..events import BatchEvent, BeginBatch, LossEvent
from ..needs import HasModel
from ..outcomes import CancelBatch

_OFTEN: Final = 3
"""How many places a message names."""


@dataclass(frozen=True)
class CheckFinite(AnyCallback):
    """Looks for nan and infinity in each batch, its loss and its gradients, before the step that they would spoil.

    What is bad is named: the input and the index in it, or the parameter whose gradient it is. It runs before other
    callbacks change anything, and after `MixedPrecision` has scaled gradients down.

    Each look waits for the device, so that training is slower on a GPU: it is for finding a fault, or for data that
    cannot be trusted. `TerminateOnNaN` looks at the loss alone, and every few batches if that is enough.
    """

    order: ClassVar[int] = -60

    learn: HasModel
    """Whose gradients are looked at; `learn.add` and `cb_funcs` fill it in."""

    inputs: bool = True
    """Whether the inputs and targets are looked at."""

    loss: bool = True
    """Whether the loss is."""

    gradients: bool = True
    """Whether the gradients are."""

    on_bad: Literal["raise", "skip"] = "raise"
    """Whether a bad batch ends the fit by a `NonFiniteError`, or is cancelled, and its gradients dropped."""

    def __post_init__(self) -> None:
        if self.on_bad not in ("raise", "skip"):
            raise ValueError(f'CheckFinite.on_bad is {self.on_bad!r}, and has to be "raise" or "skip".')

    @override
    def begin_batch(self, event: BeginBatch[object, object]) -> Optional[CancelBatch]:
        """Looks at the inputs and the targets."""
        if not self.inputs:
            return None
        bad = [*_bad_places("xb", event.xb), *_bad_places("yb", event.yb)]
        return self._found(f"nan or infinity in {', '.join(bad[:_OFTEN])}") if bad else None

    @override
    def after_loss(self, event: LossEvent) -> Optional[CancelBatch]:
        """Looks at the loss."""
        if not self.loss or bool(event.loss.detach().isfinite()):
            return None
        return self._found(f"the loss is {float(event.loss.detach())}")

    @override
    def after_backward(self, event: BatchEvent) -> Optional[CancelBatch]:
        """Looks at the gradients: at their common norm, and at each of them where that is bad."""
        if not self.gradients:
            return None
        named = [(name, p.grad) for name, p in self.learn.model.named_parameters() if p.grad is not None]
        if not named or bool(nn.utils.get_total_norm([grad for _, grad in named]).isfinite()):
            return None
        bad = [name for name, grad in named if not bool(grad.isfinite().all())]  # none where the norm alone overflowed
        return self._found(f"nan or infinity in the gradient of {', '.join(bad[:_OFTEN])}") if bad else None

    def _found(self, what: str) -> CancelBatch:
        if self.on_bad == "raise":
            raise NonFiniteError(f'{what}. CheckFinite(learn, on_bad="skip") leaves such batches out.')
        return CancelBatch(what)


def _bad_places(name: str, value: object) -> list[str]:
    """Where the tensors of a batch are nan or infinite, each as its name and the first index in it."""
    bad: list[str] = []
    for path, leaf in pytree.tree_flatten_with_path(value)[0]:
        if isinstance(leaf, Tensor) and (leaf.is_floating_point() or leaf.is_complex()):
            wrong = ~leaf.isfinite()
            if bool(wrong.any()):
                index = [int(place) for place in wrong.nonzero()[0]]
                bad.append(f"{name}{pytree.keystr(path)}{index} ({int(wrong.sum())} of {leaf.numel()})")
    return bad
