from abc import ABC
from typing import Any

class Strategy(ABC):
    # Any: parts of Lightning's that nothing here takes apart
    def __init__(self, accelerator: Any = None, checkpoint_io: Any = None, precision_plugin: Any = None) -> None: ...
    @property
    def handles_gradient_accumulation(self) -> bool: ...
