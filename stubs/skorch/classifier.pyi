from typing import Any, Callable, Optional, Sequence, Union

from torch import nn
from typing_extensions import Self

from .net import NeuralNet

class NeuralNetClassifier(NeuralNet):
    def __init__(
        self,
        module: Union[type[nn.Module], nn.Module],
        *args: Any,
        criterion: Union[type[nn.Module], nn.Module] = ...,
        train_split: Optional[Callable[..., tuple[Any, Any]]] = ...,
        classes: Optional[Sequence[Any]] = None,
        **kwargs: Any,  # Any: what NeuralNet takes
    ) -> None: ...
    def check_data(self, X: Any, y: Any) -> None: ...  # type: ignore[override]  # as it is
    def fit(self, X: Any, y: Any, **fit_params: Any) -> Self: ...  # type: ignore[override]  # as it is
    @property
    def classes_(self) -> Any: ...  # Any: an array of labels of any kind
