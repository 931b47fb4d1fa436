from typing import Any, Callable, Literal, Optional, Union

from ..net import NeuralNet
from .base import Callback

class Checkpoint(Callback):
    def __init__(
        self,
        monitor: Optional[Union[str, Callable[[NeuralNet], bool]]] = "valid_loss_best",
        f_params: Optional[str] = "params.pt",
        f_optimizer: Optional[str] = "optimizer.pt",
        f_criterion: Optional[str] = "criterion.pt",
        f_history: Optional[str] = "history.json",
        f_pickle: Optional[str] = None,
        fn_prefix: str = "",
        dirname: str = "",
        event_name: Optional[str] = "event_cp",
        sink: Callable[..., object] = ...,
        load_best: bool = False,
        use_safetensors: bool = False,
        **kwargs: Any,  # Any: more files, such as f_module2
    ) -> None: ...
    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None: ...  # type: ignore[override]  # as it is
    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None: ...  # type: ignore[override]  # as it is
    def save_model(self, net: NeuralNet) -> None: ...
    def get_formatted_files(self, net: NeuralNet) -> dict[str, Optional[str]]: ...

class EarlyStopping(Callback):
    def __init__(
        self,
        monitor: str = "valid_loss",
        patience: int = 5,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        lower_is_better: bool = True,
        sink: Callable[..., object] = ...,
        load_best: bool = False,
    ) -> None: ...
    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None: ...  # type: ignore[override]  # as it is
    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None: ...  # type: ignore[override]  # as it is
    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None: ...  # type: ignore[override]  # as it is
