from typing import Any, Callable, Iterable, Iterator, Optional, Sequence, Union

from sklearn.base import BaseEstimator
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import Self

from .callbacks import Callback
from .history import History

_Parts = dict[str, Any]  # Any: settings, or what a step made, by name
_Data = Any  # Any: arrays, tensors, dicts and lists of them, data sets

class NeuralNet(BaseEstimator):
    module: Union[type[nn.Module], nn.Module]
    criterion: Union[type[nn.Module], nn.Module]
    optimizer: Callable[..., Optimizer]
    lr: float
    max_epochs: int
    batch_size: int
    callbacks: Optional[Union[Sequence[Union[Callback, type[Callback], tuple[str, Any]]], str]]
    warm_start: bool
    verbose: int
    device: Optional[str]
    module_: nn.Module
    criterion_: nn.Module
    optimizer_: Optimizer
    callbacks_: list[tuple[str, Callback]]
    initialized_: bool
    def __init__(
        self,
        module: Union[type[nn.Module], nn.Module],
        criterion: Union[type[nn.Module], nn.Module],
        optimizer: Callable[..., Optimizer] = ...,
        lr: float = 0.01,
        max_epochs: int = 10,
        batch_size: int = 128,
        iterator_train: Callable[..., Iterable[Any]] = ...,
        iterator_valid: Callable[..., Iterable[Any]] = ...,
        dataset: Callable[..., Any] = ...,
        train_split: Optional[Callable[..., tuple[Any, Any]]] = ...,
        callbacks: Optional[Union[Sequence[Union[Callback, type[Callback], tuple[str, Any]]], str]] = None,
        predict_nonlinearity: Optional[Union[str, Callable[[Tensor], Tensor]]] = "auto",
        warm_start: bool = False,
        verbose: int = 1,
        device: Optional[str] = "cpu",
        compile: bool = False,
        use_caching: Union[bool, str] = "auto",
        torch_load_kwargs: Optional[_Parts] = None,
        **kwargs: Any,
    ) -> None: ...
    @property
    def history(self) -> History: ...
    @history.setter
    def history(self, value: History) -> None: ...
    def __repr__(self) -> str: ...  # type: ignore[override]  # as it is
    def get_default_callbacks(self) -> list[tuple[str, Callback]]: ...
    def notify(self, method_name: str, **cb_kwargs: Any) -> None: ...
    def on_train_begin(self, net: NeuralNet, X: _Data = None, y: _Data = None, **kwargs: Any) -> None: ...
    def on_train_end(self, net: NeuralNet, X: _Data = None, y: _Data = None, **kwargs: Any) -> None: ...
    def on_epoch_begin(
        self, net: NeuralNet, dataset_train: _Data = None, dataset_valid: _Data = None, **kwargs: Any
    ) -> None: ...
    def on_epoch_end(
        self, net: NeuralNet, dataset_train: _Data = None, dataset_valid: _Data = None, **kwargs: Any
    ) -> None: ...
    def on_batch_begin(self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any) -> None: ...
    def on_batch_end(self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any) -> None: ...
    def on_grad_computed(
        self,
        net: NeuralNet,
        named_parameters: Iterable[tuple[str, Tensor]],
        batch: Any = None,
        training: bool = False,
        **kwargs: Any,
    ) -> None: ...
    def __getstate__(self) -> dict[str, Any]: ...
    def initialize(self) -> Self: ...
    def initialize_callbacks(self) -> Self: ...
    def initialize_optimizer(self, triggered_directly: Optional[bool] = None) -> Self: ...
    def check_data(self, X: _Data, y: _Data = None) -> None: ...
    def validation_step(self, batch: Any, **fit_params: Any) -> _Parts: ...
    def train_step_single(self, batch: Any, **fit_params: Any) -> _Parts: ...
    def train_step(self, batch: Any, **fit_params: Any) -> _Parts: ...
    def evaluation_step(self, batch: Any, training: bool = False) -> Any: ...
    def run_single_epoch(
        self,
        iterator: Optional[Iterable[Any]],
        training: bool,
        prefix: str,
        step_fn: Callable[..., _Parts],
        **fit_params: Any,
    ) -> None: ...
    def fit_loop(self, X: _Data, y: _Data = None, epochs: Optional[int] = None, **fit_params: Any) -> Self: ...
    def get_all_learnable_params(self) -> Iterator[tuple[str, Tensor]]: ...
    def _set_training(self, training: bool = True) -> None: ...
    def _step_optimizer(self, step_fn: Optional[Callable[[], Tensor]]) -> None: ...
    def _zero_grad_optimizer(self, set_to_none: Optional[bool] = None) -> None: ...
    def partial_fit(
        self, X: _Data, y: _Data = None, classes: Optional[Sequence[Any]] = None, **fit_params: Any
    ) -> Self: ...
    def fit(self, X: _Data, y: _Data = None, **fit_params: Any) -> Self: ...
    def forward_iter(self, X: _Data, training: bool = False, device: str = "cpu") -> Iterator[Any]: ...
    def forward(self, X: _Data, training: bool = False, device: str = "cpu") -> Any: ...
    def infer(self, x: Any, **fit_params: Any) -> Any: ...
    def predict_proba(self, X: _Data) -> Any: ...
    def predict(self, X: _Data) -> Any: ...
    def get_loss(self, y_pred: Any, y_true: Any, X: _Data = None, training: bool = False) -> Tensor: ...
    def get_iterator(self, dataset: Any, training: bool = False) -> Iterable[Any]: ...
    def save_params(
        self,
        f_params: Any = None,
        f_optimizer: Any = None,
        f_criterion: Any = None,
        f_history: Any = None,
        use_safetensors: bool = False,
        **kwargs: Any,
    ) -> None: ...
    def load_params(
        self,
        f_params: Any = None,
        f_optimizer: Any = None,
        f_criterion: Any = None,
        f_history: Any = None,
        checkpoint: Any = None,
        use_safetensors: bool = False,
        **kwargs: Any,
    ) -> None: ...
