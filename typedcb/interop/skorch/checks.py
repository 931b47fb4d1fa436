"""The nets that have no place for typed callbacks."""

from __future__ import annotations

from typing import Final

from ...errors import CallbackError
from ...extras import require
from ...optimizer import check_closure

require("skorch", extra="skorch")

from skorch import NeuralNet  # noqa: E402

NOT_TYPED: Final = "class Net(TypedNet, NeuralNetClassifier), say, with TypedNet first"
"""How a net of ours is declared."""

TYPED: Final = "_typedcb_typed"
"""The attribute of TypedNet by which its nets are told from others."""


def check_net(net: NeuralNet, mixin: type[NeuralNet]) -> None:
    """Refuses ways to train that have no place for typed callbacks.

    Args:
        net: The net, initialized.
        mixin: TypedNet, which it derives from.

    Raises:
        CallbackError: A step of its own hides the mixin's, or is hidden by it.
        LoopError: Its optimizer's step wants a closure.
    """
    kind = type(net)
    for name in ("train_step", "validation_step", "run_single_epoch", "fit_loop"):
        if getattr(kind, name) is not getattr(mixin, name):
            raise CallbackError(
                f"{kind.__name__}.{name} hides that of TypedNet: derive as {NOT_TYPED}, and leave it alone."
            )
    for name in ("train_step", "train_step_single", "validation_step", "run_single_epoch", "_step_optimizer"):
        owner = next(one for one in kind.__mro__ if name in vars(one) and one is not mixin)
        if owner is not NeuralNet:
            raise CallbackError(
                f"{owner.__name__}.{name} would not be called: TypedNet has it otherwise. Put its work into infer or "
                f"get_loss, which TypedNet calls."
            )
    check_closure(net.optimizer_)
