"""One Protocol per hook: what the dispatcher calls, and what each hook may answer.

A hook is named for its event (`after_loss` is given an `AfterLoss`). Where a hook may hand its event back changed, its
Protocol is invariant in what it may change; where it only reads, it is contravariant, so that a callback over `object`
fits every loop. `HOOKS` says at run time what the return types say to a type checker; a test holds the two together.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Mapping, Optional, Protocol, Union

import attrs
from typing_extensions import TypeVar

from .events import (
    AfterBackward,
    AfterBatch,
    AfterCancelBatch,
    AfterCancelEpoch,
    AfterCancelTrain,
    AfterEpoch,
    AfterFit,
    AfterLoss,
    AfterPred,
    AfterStep,
    AfterValidate,
    BeginBatch,
    BeginEpoch,
    BeginFit,
    BeginValidate,
    P,
    X,
    Y,
)
from .outcomes import (
    Cancel,
    CancelBatch,
    CancelEpoch,
    CancelTrain,
    InBatch,
    InEpoch,
    Skip,
    SkipBackward,
    SkipStep,
    SkipValidate,
    SkipZeroGrad,
)

if TYPE_CHECKING:
    from torch import Tensor as Tensor  # what the type variables' defaults name

X_contra = TypeVar("X_contra", default="Tensor", contravariant=True)
Y_contra = TypeVar("Y_contra", default="Tensor", contravariant=True)
P_contra = TypeVar("P_contra", default="Tensor", contravariant=True)


class BeginFitHook(Protocol):
    """Called when a fit begins."""

    def begin_fit(self, event: BeginFit, /) -> Optional[CancelTrain]: ...


class BeginEpochHook(Protocol):
    """Called when an epoch begins. CancelEpoch leaves the whole epoch out."""

    def begin_epoch(self, event: BeginEpoch, /) -> Optional[InEpoch]: ...


class BeginBatchHook(Protocol[X, Y]):
    """Called when a batch has been loaded. May replace the batch, by `event.with_batch(xb, yb)`."""

    def begin_batch(self, event: BeginBatch[X, Y], /) -> Optional[Union[BeginBatch[X, Y], InBatch]]: ...


class AfterPredHook(Protocol[X, Y, P]):
    """Called when the model has been called. May replace the prediction, by `event.with_pred(pred)`."""

    def after_pred(self, event: AfterPred[X, Y, P], /) -> Optional[Union[AfterPred[X, Y, P], InBatch]]: ...


class AfterLossHook(Protocol[X, Y, P]):
    """Called when the loss has been computed. May replace it, by `event.with_loss(loss)`, or skip backward."""

    def after_loss(
        self, event: AfterLoss[X, Y, P], /
    ) -> Optional[Union[AfterLoss[X, Y, P], SkipBackward, InBatch]]: ...


class AfterBackwardHook(Protocol[X_contra, Y_contra, P_contra]):
    """Called when the gradients are there. May skip the step."""

    def after_backward(
        self, event: AfterBackward[X_contra, Y_contra, P_contra], /
    ) -> Optional[Union[SkipStep, InBatch]]: ...


class AfterStepHook(Protocol[X_contra, Y_contra, P_contra]):
    """Called when the optimizer has stepped. May skip the zeroing of the gradients."""

    def after_step(
        self, event: AfterStep[X_contra, Y_contra, P_contra], /
    ) -> Optional[Union[SkipZeroGrad, InBatch]]: ...


class AfterCancelBatchHook(Protocol[X_contra, Y_contra, P_contra]):
    """Called after a CancelBatch, before `after_batch`."""

    def after_cancel_batch(self, event: AfterCancelBatch[X_contra, Y_contra, P_contra], /) -> None: ...


class AfterBatchHook(Protocol[X_contra, Y_contra, P_contra]):
    """Called for every batch that began, however it ended. The epoch and the fit can still be cancelled."""

    def after_batch(self, event: AfterBatch[X_contra, Y_contra, P_contra], /) -> Optional[InEpoch]: ...


class AfterCancelEpochHook(Protocol):
    """Called after a CancelEpoch."""

    def after_cancel_epoch(self, event: AfterCancelEpoch, /) -> None: ...


class BeginValidateHook(Protocol):
    """Called when validation begins. May skip it."""

    def begin_validate(self, event: BeginValidate, /) -> Optional[Union[SkipValidate, CancelTrain]]: ...


class AfterValidateHook(Protocol):
    """Called when validation has ended."""

    def after_validate(self, event: AfterValidate, /) -> Optional[CancelTrain]: ...


class AfterEpochHook(Protocol):
    """Called when an epoch has ended, its validation included."""

    def after_epoch(self, event: AfterEpoch, /) -> Optional[CancelTrain]: ...


class AfterCancelTrainHook(Protocol):
    """Called after a CancelTrain, before `after_fit`."""

    def after_cancel_train(self, event: AfterCancelTrain, /) -> None: ...


class AfterFitHook(Protocol):
    """Called for every fit that began, however it ended."""

    def after_fit(self, event: AfterFit, /) -> None: ...


@attrs.frozen
class HookSpec:
    """What the dispatcher knows of a hook."""

    name: str
    """The hook's name, and its event's in snake case."""

    event: type
    """The class of the event that it is given."""

    cancels: tuple[type[Cancel], ...] = ()
    """The Cancels that it may answer or raise."""

    skip: Optional[type[Skip]] = None
    """The Skip that it may answer."""

    replace: str = ""
    """The event's method whose result it may answer, such as `with_loss`; empty where the hook only reads."""

    fixed: tuple[str, ...] = ()
    """The event's fields that must be the same object in an event that it hands back."""

    @property
    def legal(self) -> str:
        """The legal answers in words, for error messages."""
        answers = ["None"]
        if self.replace:
            answers.append(f"event.{self.replace}(...)")
        answers += [f"{kind.__name__}()" for kind in (self.skip, *self.cancels) if kind is not None]
        return " or ".join(answers)


_IN_BATCH: Final = (CancelBatch, CancelEpoch, CancelTrain)
_IN_EPOCH: Final = (CancelEpoch, CancelTrain)
_IN_FIT: Final = (CancelTrain,)

BEGIN_FIT: Final = HookSpec("begin_fit", BeginFit, _IN_FIT)
BEGIN_EPOCH: Final = HookSpec("begin_epoch", BeginEpoch, _IN_EPOCH)
BEGIN_BATCH: Final = HookSpec("begin_batch", BeginBatch, _IN_BATCH, replace="with_batch")
AFTER_PRED: Final = HookSpec("after_pred", AfterPred, _IN_BATCH, replace="with_pred", fixed=("xb", "yb"))
AFTER_LOSS: Final = HookSpec(
    "after_loss", AfterLoss, _IN_BATCH, skip=SkipBackward, replace="with_loss", fixed=("xb", "yb", "pred")
)
AFTER_BACKWARD: Final = HookSpec("after_backward", AfterBackward, _IN_BATCH, skip=SkipStep)
AFTER_STEP: Final = HookSpec("after_step", AfterStep, _IN_BATCH, skip=SkipZeroGrad)
AFTER_CANCEL_BATCH: Final = HookSpec("after_cancel_batch", AfterCancelBatch)
AFTER_BATCH: Final = HookSpec("after_batch", AfterBatch, _IN_EPOCH)
AFTER_CANCEL_EPOCH: Final = HookSpec("after_cancel_epoch", AfterCancelEpoch)
BEGIN_VALIDATE: Final = HookSpec("begin_validate", BeginValidate, _IN_FIT, skip=SkipValidate)
AFTER_VALIDATE: Final = HookSpec("after_validate", AfterValidate, _IN_FIT)
AFTER_EPOCH: Final = HookSpec("after_epoch", AfterEpoch, _IN_FIT)
AFTER_CANCEL_TRAIN: Final = HookSpec("after_cancel_train", AfterCancelTrain)
AFTER_FIT: Final = HookSpec("after_fit", AfterFit)

HOOKS: Final[Mapping[str, HookSpec]] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            BEGIN_FIT,
            BEGIN_EPOCH,
            BEGIN_BATCH,
            AFTER_PRED,
            AFTER_LOSS,
            AFTER_BACKWARD,
            AFTER_STEP,
            AFTER_CANCEL_BATCH,
            AFTER_BATCH,
            AFTER_CANCEL_EPOCH,
            BEGIN_VALIDATE,
            AFTER_VALIDATE,
            AFTER_EPOCH,
            AFTER_CANCEL_TRAIN,
            AFTER_FIT,
        )
    }
)
"""Every hook by its name, in the order in which a fit first meets them."""
