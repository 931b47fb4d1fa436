from typing import Any, Callable, Optional, Union

from ..net import NeuralNet
from .base import Callback

class ScoringBase(Callback):
    def __init__(
        self,
        scoring: Optional[Union[str, Callable[..., Any]]],
        lower_is_better: bool = True,
        on_train: bool = False,
        name: Optional[str] = None,
        target_extractor: Callable[[Any], Any] = ...,
        use_caching: bool = True,
    ) -> None: ...
    def on_train_begin(  # type: ignore[override]  # as it is
        self, net: NeuralNet, X: Any, y: Any, **kwargs: Any
    ) -> None: ...

class EpochScoring(ScoringBase):
    def on_epoch_begin(  # type: ignore[override]  # as it is
        self, net: NeuralNet, dataset_train: Any, dataset_valid: Any, **kwargs: Any
    ) -> None: ...
    def on_batch_end(  # type: ignore[override]  # as it is
        self, net: NeuralNet, batch: Any, y_pred: Any, training: bool, **kwargs: Any
    ) -> None: ...
    def on_epoch_end(  # type: ignore[override]  # as it is
        self, net: NeuralNet, dataset_train: Any, dataset_valid: Any, **kwargs: Any
    ) -> None: ...
    def on_train_end(self, *args: Any, **kwargs: Any) -> None: ...
