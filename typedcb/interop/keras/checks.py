"""Which models and fits of Keras have no place for typed callbacks."""

from __future__ import annotations

from typing import Any, Final, Iterable

import torch.distributed

from ...errors import CallbackError, LoopError
from ...extras import require
from .file import Loaded

require("keras", extra="keras")

import keras  # noqa: E402

_NOT_TYPED: Final = "class Net(TypedModel, keras.Model), say, with TypedModel first"

# Any: Keras's models and optimizers have few types.


def check_model(model: keras.Model, mixin: type[keras.Model]) -> None:
    """Refuses ways to train that have no place for typed callbacks.

    Args:
        model: The model, compiled.
        mixin: TypedModel, which it derives from.

    Raises:
        CallbackError: A step of its own hides the mixin's, or is hidden by it.
        LoopError: It is compiled, on another backend than torch, or its optimizer scales the loss.
    """
    for name in ("fit", "train_step", "test_step", "evaluate"):
        _check_step(type(model), mixin, name)
    if keras.backend.backend() != "torch":
        raise LoopError(f"Keras runs on {keras.backend.backend()} here: set KERAS_BACKEND=torch before it is imported.")
    if model.jit_compile:
        raise LoopError("a compiled step tells nobody what happens in it: compile(..., jit_compile=False).")
    scaled = getattr(model.optimizer, "loss_scale_factor", None) is not None or hasattr(
        model.optimizer, "inner_optimizer"
    )
    if scaled:
        raise LoopError("the optimizer scales the loss, so that a callback would see scaled gradients: train without.")


def _check_step(kind: type[keras.Model], mixin: type[keras.Model], name: str) -> None:
    classes = [one for one in kind.__mro__ if name in vars(one)]
    if classes[0] is not mixin:
        raise CallbackError(f"{kind.__name__}.{name} hides that of TypedModel: derive as {_NOT_TYPED}.")
    own = next(one for one in keras.Model.__mro__ if name in vars(one))
    if name in ("train_step", "test_step") and classes[1] is not own:
        raise CallbackError(
            f"{classes[1].__name__}.{name} would never be called: that of TypedModel stands before it. Put its work "
            f"into call or compute_loss, which TypedModel calls."
        )


def check_alone() -> None:
    """Refuses several processes and devices.

    Raises:
        LoopError: There are several.
    """
    several = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
    if several:
        raise LoopError(
            f"Keras's fit on torch averages nothing over processes: each of these {torch.distributed.get_world_size()} "
            f"would train a model of its own, and its callbacks measure that one alone. Train in one process, or let "
            f"another trainer distribute it: Learner(..., engine=TorchEngine()), say."
        )
    distribution: Any = getattr(keras, "distribution", None)
    if distribution is not None and distribution.distribution() is not None:
        raise LoopError(
            "keras.distribution lays the variables out over devices, which typed callbacks know nothing of: train "
            "without, after keras.distribution.set_distribution(None)."
        )


def check_backup(callbacks: Iterable[object]) -> None:
    """Refuses a BackupAndRestore that takes a fit up at another place than it was left.

    Args:
        callbacks: All of the fit's.

    Raises:
        LoopError: There is one that saves in the middle of an epoch.
    """
    for callback in callbacks:
        every: object = getattr(callback, "save_freq", "epoch")
        if isinstance(callback, keras.callbacks.BackupAndRestore) and every != "epoch":
            raise LoopError(
                f"BackupAndRestore(save_freq={every!r}) saves in the middle of an epoch, and takes the fit up at the "
                f"epoch's begin: typed callbacks would hear of its batches twice. Let it save by save_freq='epoch'."
            )


def check_place(loaded: Loaded, ended: int, first: int) -> None:
    """Refuses a place to go on from at which callbacks would hear of batches twice, or never.

    Args:
        loaded: What a file held of callbacks.
        ended: How many epochs had ended when it was saved.
        first: The epoch that Keras begins with.

    Raises:
        LoopError: It is one.
    """
    if loaded.inside:
        raise LoopError(
            f"the file was saved {loaded.inside}, and Keras begins with the first batch of epoch {first}: typed "
            f"callbacks would hear of batches twice. Load one that was saved as an epoch ended."
        )
    if ended != first:
        raise LoopError(
            f"the file was saved when {ended} epochs had ended, and Keras begins with epoch {first}: go on by "
            f"fit(..., initial_epoch={ended}), or begin anew by initial_epoch=0."
        )
