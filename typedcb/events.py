"""What a hook is given: one immutable class per event, with exactly the fields that exist at that moment.

The events of a fit, in order; what stands further in happens inside:

    begin_fit
    for each epoch:
        begin_epoch
        for each training batch:
            begin_batch
            after_pred                  the model has been called
            after_loss                  the loss has been computed
            after_backward              the gradients are there; from here on loss and pred are detached
            after_step                  the optimizer has stepped; the gradients are zeroed after this
            [after_cancel_batch]        only after a CancelBatch
            after_batch                 always
        [after_cancel_epoch]            only after a CancelEpoch
        begin_validate
        for each validation batch:
            begin_batch, after_pred, after_loss, [after_cancel_batch], after_batch
        [after_cancel_epoch]
        after_validate
        after_epoch
    [after_cancel_train]                only after a CancelTrain
    after_fit                           always, also after an error or Ctrl-C

A batch's events grow by inheritance: BeginBatch ⊂ AfterPred ⊂ AfterLoss ⊂ AfterBackward ⊂ AfterStep. They are msgspec
Structs, since a loop makes many of them: one takes 0.1 µs to make, a frozen dataclass eight times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Literal, Optional, Protocol, Union

import msgspec
from typing_extensions import TypeAlias, TypeVar, final

from .outcomes import CancelBatch, CancelEpoch, CancelTrain
from .showing import Sheet, brief

if TYPE_CHECKING:
    from torch import Tensor

X = TypeVar("X", default="Tensor")
Y = TypeVar("Y", default="Tensor")
P = TypeVar("P", default="Tensor")
X_co = TypeVar("X_co", default="Tensor", covariant=True)
Y_co = TypeVar("Y_co", default="Tensor", covariant=True)
P_co = TypeVar("P_co", default="Tensor", covariant=True)

Phase: TypeAlias = Literal["train", "valid"]
"""Which data a batch is from."""


class _Event(msgspec.Struct, frozen=True, eq=False):
    """What every event can do: show itself, on a terminal by rich and in a notebook."""

    def __rich__(self) -> Sheet:
        fields = tuple((name, brief(getattr(self, name))) for name in self.__struct_fields__)
        return Sheet(type(self).__name__, ("field", "value"), fields)

    def _repr_html_(self) -> str:
        return self.__rich__().html()


class BeginFit(_Event, frozen=True, eq=False):
    """A fit begins; the cells that reset with a fit hold their initial values."""

    n_epochs: int
    """How many epochs the fit is to reach, counted from 0."""

    start_epoch: int
    """The first epoch that runs: 0, or more when a fit is taken up again."""


class BeginEpoch(_Event, frozen=True, eq=False):
    """An epoch begins; the cells that reset with an epoch hold their initial values."""

    epoch: int
    """The epoch's number, from 0."""

    n_epochs: int
    """How many epochs the fit is to reach."""


class BeginValidate(_Event, frozen=True, eq=False):
    """A pass over the validation data begins."""

    epoch: int
    """The epoch that is validated, from 0."""


class AfterValidate(_Event, frozen=True, eq=False):
    """A pass over the validation data has ended, at its end or by a CancelEpoch."""

    epoch: int
    """The epoch that was validated, from 0."""


class BatchEvent(Protocol):
    """What every event inside a batch has: a hook that needs no more may ask for this alone."""

    @property
    def phase(self) -> Phase:
        """`"train"` or `"valid"`."""
        ...

    @property
    def epoch(self) -> int:
        """The epoch's number, from 0."""
        ...

    @property
    def index(self) -> int:
        """The batch's number in this pass over the data, from 0."""
        ...

    @property
    def n_batches(self) -> Optional[int]:
        """How many batches the loader gives; None where it does not know."""
        ...

    @property
    def step(self) -> int:
        """How many training batches of this fit have been stepped on before this batch."""
        ...


class LossEvent(BatchEvent, Protocol):
    """What every event has from `after_loss` on: a hook that needs no more may ask for this alone."""

    @property
    def loss(self) -> Tensor:
        """The loss of the batch, a scalar."""
        ...


class BeginBatch(_Event, Generic[X_co, Y_co], frozen=True, eq=False):
    """A batch begins: it has been loaded and is on the model's device."""

    phase: Phase
    """`"train"` or `"valid"`."""

    epoch: int
    """The epoch's number, from 0."""

    index: int
    """The batch's number in this pass over the data, from 0."""

    n_batches: Optional[int]
    """How many batches the loader gives; None where it does not know."""

    step: int
    """How many training batches of this fit have been stepped on before this batch."""

    xb: X_co
    """The inputs."""

    yb: Y_co
    """The targets."""

    def with_batch(self: BeginBatch[X, Y], xb: X, yb: Y) -> BeginBatch[X, Y]:
        """The same event with other inputs and targets; return it from `begin_batch`.

        Args:
            xb: The inputs.
            yb: The targets.
        """
        return msgspec.structs.replace(self, xb=xb, yb=yb)


class AfterPred(BeginBatch[X_co, Y_co], Generic[X_co, Y_co, P_co], frozen=True, eq=False):
    """The model has been called."""

    pred: P_co
    """What the model made of the inputs; in training it holds its graph."""

    def with_pred(self: AfterPred[X, Y, P], pred: P) -> AfterPred[X, Y, P]:
        """The same event with another prediction; return it from `after_pred`.

        Args:
            pred: The prediction; in training, one that holds its graph.
        """
        return msgspec.structs.replace(self, pred=pred)


class AfterLoss(AfterPred[X_co, Y_co, P_co], frozen=True, eq=False):
    """The loss has been computed."""

    loss: Tensor
    """The loss of the batch, a scalar; in training it holds its graph."""

    def with_loss(self, loss: Tensor) -> AfterLoss[X_co, Y_co, P_co]:
        """The same event with another loss; return it from `after_loss`, and backward runs on it.

        Args:
            loss: The loss, a scalar; in training, one that holds its graph.
        """
        return msgspec.structs.replace(self, loss=loss)


class AfterBackward(AfterLoss[X_co, Y_co, P_co], frozen=True, eq=False):
    """Backward has run: the gradients are there. `loss` and `pred` are detached: keeping them keeps no graph."""


class AfterStep(AfterBackward[X_co, Y_co, P_co], frozen=True, eq=False):
    """The optimizer has stepped; the gradients are still there, and are zeroed after this."""


@final
class OnlyBegun(BeginBatch[X_co, Y_co], frozen=True, eq=False):
    """What a batch has reached that ended before its model was called: a BeginBatch, and nothing further."""


Reached: TypeAlias = Union[
    OnlyBegun[X, Y], AfterPred[X, Y, P], AfterLoss[X, Y, P], AfterBackward[X, Y, P], AfterStep[X, Y, P]
]
"""The furthest event of a batch: `match` on it to see what there is."""


class AfterCancelBatch(_Event, Generic[X_co, Y_co, P_co], frozen=True, eq=False):
    """A batch was cancelled; `after_batch` follows."""

    cancel: CancelBatch
    """Who asked for it says why in `cancel.reason`."""

    reached: Reached[X_co, Y_co, P_co]
    """The furthest event of this batch, detached: `match` on it to see what there is."""


class AfterBatch(_Event, Generic[X_co, Y_co, P_co], frozen=True, eq=False):
    """A batch has ended, at its end, by a Cancel or by an error."""

    reached: Reached[X_co, Y_co, P_co]
    """The furthest event of this batch, detached: `match` on it to see what there is."""

    error: Optional[BaseException] = None
    """The error that ended it; None where it ended in order."""


class AfterCancelEpoch(_Event, frozen=True, eq=False):
    """A pass over the data, or an epoch at its beginning, was cancelled."""

    epoch: int
    """The epoch's number, from 0."""

    cancel: CancelEpoch
    """Who asked for it says why in `cancel.reason`."""


class AfterEpoch(_Event, frozen=True, eq=False):
    """An epoch has ended, its validation included."""

    epoch: int
    """The epoch's number, from 0."""

    n_epochs: int
    """How many epochs the fit is to reach."""


class AfterCancelTrain(_Event, frozen=True, eq=False):
    """The fit was cancelled; `after_fit` follows."""

    cancel: CancelTrain
    """Who asked for it says why in `cancel.reason`."""


class Completed(_Event, frozen=True, eq=False):
    """All epochs of the fit were run."""


class Cancelled(_Event, frozen=True, eq=False):
    """The fit was ended early by a CancelTrain."""

    cancel: CancelTrain
    """Who asked for it says why in `cancel.reason`."""


class Failed(_Event, frozen=True, eq=False):
    """The fit ended by an error, which goes on to the caller of fit."""

    error: BaseException
    """The error, a KeyboardInterrupt included; its notes say where it happened."""


FitOutcome: TypeAlias = Union[Completed, Cancelled, Failed]
"""How a fit ended."""


class AfterFit(_Event, frozen=True, eq=False):
    """The fit has ended, in whatever way."""

    outcome: FitOutcome
    """How: Completed, Cancelled or Failed; `match` on it."""
