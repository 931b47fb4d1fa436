from abc import ABCMeta
from typing import Any, Callable, Union

import torch

class Metric(metaclass=ABCMeta):
    # Any: outputs are the user's own
    def __init__(
        self,
        output_transform: Callable[[Any], Any] = ...,
        device: Union[str, torch.device] = ...,
        skip_unrolling: bool = False,
        metrics_result_mode: Any = "both",
    ) -> None: ...
