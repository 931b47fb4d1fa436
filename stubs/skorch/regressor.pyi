from typing import Any, Union

from torch import nn
from typing_extensions import Self

from .net import NeuralNet

class NeuralNetRegressor(NeuralNet):
    def __init__(
        self,
        module: Union[type[nn.Module], nn.Module],
        *args: Any,
        criterion: Union[type[nn.Module], nn.Module] = ...,
        **kwargs: Any,  # Any: what NeuralNet takes
    ) -> None: ...
    def check_data(self, X: Any, y: Any) -> None: ...  # type: ignore[override]  # as it is
    def fit(self, X: Any, y: Any, **fit_params: Any) -> Self: ...  # type: ignore[override]  # as it is
