from typing import Any, Callable, Optional, Sequence, Union

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

_Shape = tuple[Optional[int], ...]
_Activation = Optional[Union[str, Callable[..., Any]]]  # Any: tensors of whatever backend

class Layer:
    name: str
    built: bool
    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...  # Any: what __init__ takes
    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Optional[str] = None,
        autocast: bool = True,
        name: Optional[str] = None,
        **kwargs: Any,
    ) -> None: ...
    @property
    def trainable(self) -> bool: ...
    @trainable.setter
    def trainable(self, value: bool) -> None: ...
    @property
    def variables(self) -> list[Any]: ...
    @property
    def trainable_variables(self) -> list[Any]: ...
    @property
    def weights(self) -> list[Any]: ...
    @property
    def trainable_weights(self) -> list[Any]: ...
    @property
    def losses(self) -> list[Any]: ...
    def get_weights(self) -> list[NDArray[np.generic]]: ...
    def set_weights(self, weights: Sequence[NDArray[np.generic]]) -> None: ...
    def count_params(self) -> int: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def call(self, *args: Any, **kwargs: Any) -> Any: ...
    def get_config(self) -> dict[str, Any]: ...

class Dense(Layer):
    def __init__(
        self,
        units: int,
        activation: _Activation = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: Optional[int] = None,
        lora_alpha: Optional[float] = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None: ...
    def call(self, inputs: Any, training: Optional[bool] = None) -> Any: ...

def Input(
    shape: Optional[_Shape] = None,
    batch_size: Optional[int] = None,
    dtype: Optional[str] = None,
    sparse: Optional[bool] = None,
    ragged: Optional[bool] = None,
    batch_shape: Optional[_Shape] = None,
    name: Optional[str] = None,
    tensor: Any = None,
    optional: bool = False,
) -> Any: ...  # Any: a symbolic tensor
