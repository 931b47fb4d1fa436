from typing import Any, Callable, Optional, Sequence, Union

from typing_extensions import Self

from .callbacks import Callback, History
from .layers import Layer
from .losses import Loss
from .metrics import Metric
from .optimizers import Optimizer

_Data = Any  # Any: arrays, tensors, dicts of them, a PyDataset, a DataLoader
_Metrics = Optional[Sequence[Union[str, Metric, Callable[..., Any]]]]

class Model(Layer):
    stop_training: bool
    optimizer: Optimizer
    loss: Union[str, Loss, Callable[..., Any], None]
    history: History
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...  # Any: inputs and outputs, or a subclass's own
    jit_compile: Union[bool, str]
    _call_has_training_arg: bool
    _loss_tracker: Any
    # On torch a model is a torch module too, and trains and evaluates by these.
    def eval(self) -> Self: ...
    def zero_grad(self, set_to_none: bool = True) -> None: ...
    def train_step(self, data: Any) -> Any: ...
    def test_step(self, data: Any) -> Any: ...
    def get_metrics_result(self) -> Any: ...
    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any: ...
    def _compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any: ...
    @property
    def layers(self) -> list[Layer]: ...
    def compile(
        self,
        optimizer: Union[str, Optimizer] = "rmsprop",
        loss: Union[str, Loss, Callable[..., Any], None] = None,
        loss_weights: Optional[Sequence[float]] = None,
        metrics: _Metrics = None,
        weighted_metrics: _Metrics = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Union[bool, str] = "auto",
        auto_scale_loss: bool = True,
    ) -> None: ...
    def fit(
        self,
        x: _Data = None,
        y: _Data = None,
        batch_size: Optional[int] = None,
        epochs: int = 1,
        verbose: Union[int, str] = "auto",
        callbacks: Optional[Sequence[Callback]] = None,
        validation_split: float = 0.0,
        validation_data: _Data = None,
        shuffle: bool = True,
        class_weight: Optional[dict[int, float]] = None,
        sample_weight: _Data = None,
        initial_epoch: int = 0,
        steps_per_epoch: Optional[int] = None,
        validation_steps: Optional[int] = None,
        validation_batch_size: Optional[int] = None,
        validation_freq: int = 1,
    ) -> History: ...
    def evaluate(
        self,
        x: _Data = None,
        y: _Data = None,
        batch_size: Optional[int] = None,
        verbose: Union[int, str] = "auto",
        sample_weight: _Data = None,
        steps: Optional[int] = None,
        callbacks: Optional[Sequence[Callback]] = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any: ...  # Any: a number, a list or a dict of them
    def train_on_batch(
        self,
        x: _Data,
        y: _Data = None,
        sample_weight: _Data = None,
        class_weight: Optional[dict[int, float]] = None,
        return_dict: bool = False,
    ) -> Any: ...  # Any: a number, a list or a dict of them
    def test_on_batch(
        self, x: _Data, y: _Data = None, sample_weight: _Data = None, return_dict: bool = False
    ) -> Any: ...
    def save_own_variables(self, store: Any) -> None: ...  # Any: like a dict of arrays
    def load_own_variables(self, store: Any) -> None: ...
    def predict(
        self,
        x: _Data,
        batch_size: Optional[int] = None,
        verbose: Union[int, str] = "auto",
        steps: Optional[int] = None,
        callbacks: Optional[Sequence[Callback]] = None,
    ) -> Any: ...  # Any: an array, or a structure of them
    def get_layer(self, name: Optional[str] = None, index: Optional[int] = None) -> Layer: ...
    def save(self, filepath: str, overwrite: bool = True, zipped: Optional[bool] = None, **kwargs: Any) -> None: ...
    def save_weights(self, filepath: str, overwrite: bool = True, max_shard_size: Optional[float] = None) -> None: ...
    def load_weights(self, filepath: str, skip_mismatch: bool = False, **kwargs: Any) -> None: ...

class Sequential(Model):
    def __init__(
        self, layers: Optional[Sequence[object]] = None, trainable: bool = True, name: Optional[str] = None
    ) -> None: ...
    def call(self, inputs: Any, training: Optional[bool] = None, mask: Any = None, **kwargs: Any) -> Any: ...
    def add(self, layer: Layer, rebuild: bool = True) -> None: ...
    def pop(self, rebuild: bool = True) -> Layer: ...
