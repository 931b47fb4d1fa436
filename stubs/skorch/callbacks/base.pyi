from typing import Any, Iterable, Optional

from torch import Tensor
from typing_extensions import Self

from ..net import NeuralNet

_Data = Any  # Any: arrays, tensors, dicts and lists of them, data sets

class Callback:
    def initialize(self) -> Self: ...
    def on_train_begin(self, net: NeuralNet, X: _Data = None, y: _Data = None, **kwargs: Any) -> None: ...
    def on_train_end(self, net: NeuralNet, X: _Data = None, y: _Data = None, **kwargs: Any) -> None: ...
    def on_epoch_begin(
        self, net: NeuralNet, dataset_train: _Data = None, dataset_valid: _Data = None, **kwargs: Any
    ) -> None: ...
    def on_epoch_end(
        self, net: NeuralNet, dataset_train: _Data = None, dataset_valid: _Data = None, **kwargs: Any
    ) -> None: ...
    def on_batch_begin(
        self, net: NeuralNet, batch: Any = None, training: Optional[bool] = None, **kwargs: Any
    ) -> None: ...
    def on_batch_end(
        self, net: NeuralNet, batch: Any = None, training: Optional[bool] = None, **kwargs: Any
    ) -> None: ...
    def on_grad_computed(
        self,
        net: NeuralNet,
        named_parameters: Iterable[tuple[str, Tensor]],
        X: _Data = None,
        y: _Data = None,
        training: Optional[bool] = None,
        **kwargs: Any,
    ) -> None: ...
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...
    def set_params(self, **params: Any) -> None: ...
