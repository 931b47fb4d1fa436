from typing import Any, Callable, ClassVar, Optional

from torch import Tensor, nn

from ..data.core import DataLoaders
from ..learner import Learner
from ..optimizer import _BaseOptimizer

class CancelStepException(Exception): ...
class CancelBackwardException(Exception): ...
class CancelFitException(Exception): ...
class CancelEpochException(Exception): ...
class CancelTrainException(Exception): ...
class CancelValidException(Exception): ...
class CancelBatchException(Exception): ...

class event:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    after_create: ClassVar[str]
    before_fit: ClassVar[str]
    before_epoch: ClassVar[str]
    before_train: ClassVar[str]
    before_batch: ClassVar[str]
    after_pred: ClassVar[str]
    after_loss: ClassVar[str]
    before_backward: ClassVar[str]
    after_cancel_backward: ClassVar[str]
    after_backward: ClassVar[str]
    before_step: ClassVar[str]
    after_cancel_step: ClassVar[str]
    after_step: ClassVar[str]
    after_cancel_batch: ClassVar[str]
    after_batch: ClassVar[str]
    after_cancel_train: ClassVar[str]
    after_train: ClassVar[str]
    before_validate: ClassVar[str]
    after_cancel_validate: ClassVar[str]
    after_validate: ClassVar[str]
    after_cancel_epoch: ClassVar[str]
    after_epoch: ClassVar[str]
    after_cancel_fit: ClassVar[str]
    after_fit: ClassVar[str]

_Hook = Optional[Callable[[], object]]

class Callback:
    order: float
    run: bool
    run_train: bool
    run_valid: bool
    learn: Optional[Learner]  # None until it is attached
    # What it reads of its learner, by delegation: there at some events, and stale or missing at others.
    dls: DataLoaders
    model: nn.Module
    opt: _BaseOptimizer
    xb: tuple[Any, ...]
    yb: tuple[Any, ...]
    pred: Any
    loss: Tensor
    loss_grad: Tensor
    iter: int
    n_iter: int
    epoch: int
    n_epoch: int
    train_iter: int
    pct_train: float
    training: bool
    def __init__(
        self,
        *,
        after_create: _Hook = None,
        before_fit: _Hook = None,
        before_epoch: _Hook = None,
        before_train: _Hook = None,
        before_batch: _Hook = None,
        after_pred: _Hook = None,
        after_loss: _Hook = None,
        before_backward: _Hook = None,
        after_cancel_backward: _Hook = None,
        after_backward: _Hook = None,
        before_step: _Hook = None,
        after_cancel_step: _Hook = None,
        after_step: _Hook = None,
        after_cancel_batch: _Hook = None,
        after_batch: _Hook = None,
        after_cancel_train: _Hook = None,
        after_train: _Hook = None,
        before_validate: _Hook = None,
        after_cancel_validate: _Hook = None,
        after_validate: _Hook = None,
        after_cancel_epoch: _Hook = None,
        after_epoch: _Hook = None,
        after_cancel_fit: _Hook = None,
        after_fit: _Hook = None,
    ) -> None: ...
    def __call__(self, event_name: str) -> object: ...
    @property
    def name(self) -> str: ...

class TrainEvalCallback(Callback):
    def after_create(self) -> None: ...
    def before_fit(self) -> None: ...
    def after_batch(self) -> None: ...
    def before_train(self) -> None: ...
    def before_validate(self) -> None: ...
