from typing import Any, Optional

class Loss:
    name: str
    reduction: Optional[str]
    def __init__(
        self,
        name: Optional[str] = None,
        reduction: Optional[str] = "sum_over_batch_size",
        dtype: Optional[str] = None,
    ) -> None: ...
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any: ...  # Any: of whatever backend
    def call(self, y_true: Any, y_pred: Any) -> Any: ...
    def get_config(self) -> dict[str, Any]: ...

class SparseCategoricalCrossentropy(Loss):
    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: Optional[int] = None,
        reduction: Optional[str] = "sum_over_batch_size",
        axis: int = -1,
        name: str = "sparse_categorical_crossentropy",
        dtype: Optional[str] = None,
    ) -> None: ...

class MeanSquaredError(Loss):
    def __init__(
        self,
        reduction: Optional[str] = "sum_over_batch_size",
        name: str = "mean_squared_error",
        dtype: Optional[str] = None,
    ) -> None: ...
