from collections.abc import MutableSequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Callable, Iterable, Optional, Sequence, Union

from torch import Tensor, nn
from typing_extensions import Self

from .callback.core import Callback
from .data.core import DataLoaders
from .optimizer import _BaseOptimizer

_Callbacks = Union[Callback, type[Callback], Sequence[Union[Callback, type[Callback]]], None]
_OptFunc = Callable[..., _BaseOptimizer]

class Learner:
    dls: DataLoaders
    model: nn.Module
    loss_func: Callable[..., Tensor]
    opt_func: _OptFunc
    opt: _BaseOptimizer
    lr: Union[float, slice]
    cbs: MutableSequence[Callback]
    path: Path
    model_dir: Union[str, Path]
    dl: Iterable[Any]
    xb: tuple[Any, ...]  # Any: inputs of any kind
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
    recorder: Recorder
    def __init__(
        self,
        dls: DataLoaders,
        model: Callable[..., Any],
        loss_func: Optional[Callable[..., Any]] = None,
        opt_func: _OptFunc = ...,
        lr: Union[float, slice] = 0.001,
        splitter: Callable[..., Any] = ...,
        cbs: _Callbacks = None,
        metrics: Union[Callable[..., Any], Sequence[Callable[..., Any]], None] = None,
        path: Union[str, Path, None] = None,
        model_dir: Union[str, Path] = "models",
        wd: Optional[float] = None,
        wd_bn_bias: bool = False,
        train_bn: bool = True,
        moms: tuple[float, ...] = ...,
        default_cbs: bool = True,
    ) -> None: ...
    @property
    def metrics(self) -> MutableSequence[Any]: ...
    @metrics.setter
    def metrics(self, v: Union[Callable[..., Any], Sequence[Callable[..., Any]], None]) -> None: ...
    def add_cbs(self, cbs: _Callbacks) -> Self: ...
    def remove_cbs(self, cbs: _Callbacks) -> Self: ...
    def add_cb(self, cb: Union[Callback, type[Callback]]) -> Self: ...
    def remove_cb(self, cb: Union[Callback, type[Callback]]) -> None: ...
    def added_cbs(self, cbs: _Callbacks) -> AbstractContextManager[None]: ...
    def removed_cbs(self, cbs: _Callbacks) -> AbstractContextManager[Self]: ...
    def ordered_cbs(self, event: str) -> list[Callback]: ...
    def __call__(self, event_name: Union[str, Iterable[str]]) -> object: ...
    def create_opt(self) -> None: ...
    def all_batches(self) -> None: ...
    def one_batch(self, i: int, b: Any) -> None: ...
    def fit(
        self,
        n_epoch: int,
        lr: Union[float, slice, None] = None,
        wd: Optional[float] = None,
        cbs: _Callbacks = None,
        reset_opt: bool = False,
        start_epoch: int = 0,
    ) -> None: ...
    def validation_context(self, cbs: _Callbacks = None, inner: bool = False) -> AbstractContextManager[Any]: ...
    def validate(
        self, ds_idx: int = 1, dl: Optional[Iterable[Any]] = None, cbs: _Callbacks = None
    ) -> Sequence[Any]: ...
    def no_logging(self) -> AbstractContextManager[Self]: ...
    def no_mbar(self) -> AbstractContextManager[Self]: ...
    def no_bar(self) -> AbstractContextManager[Self]: ...  # put there by fastai.callback.progress
    @property
    def x(self) -> Any: ...
    @property
    def y(self) -> Any: ...
    def save(self, file: Union[str, Path], *, with_opt: bool = True, pickle_protocol: int = 2) -> Path: ...
    def load(
        self,
        file: Union[str, Path],
        device: Optional[Any] = None,
        *,
        with_opt: bool = True,
        strict: bool = True,
    ) -> Self: ...
    def freeze_to(self, n: int) -> None: ...
    def freeze(self) -> None: ...
    def unfreeze(self) -> None: ...

class Recorder(Callback):
    add_time: bool
    train_metrics: bool
    valid_metrics: bool
    lrs: list[float]
    iters: list[int]
    losses: list[float]
    values: MutableSequence[Any]
    metric_names: MutableSequence[str]
    def __init__(
        self, add_time: bool = True, train_metrics: bool = False, valid_metrics: bool = True, beta: float = 0.98
    ) -> None: ...
    def before_fit(self) -> None: ...
    def after_batch(self) -> None: ...
    def before_epoch(self) -> None: ...
    def before_train(self) -> None: ...
    def before_validate(self) -> None: ...
    def after_train(self) -> None: ...
    def after_validate(self) -> None: ...
    def after_cancel_train(self) -> None: ...
    def after_cancel_validate(self) -> None: ...
    def after_epoch(self) -> None: ...
