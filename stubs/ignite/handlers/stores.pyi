from typing import Any, Callable

class EpochOutputStore:
    # Any: outputs are the user's own
    def __init__(self, output_transform: Callable[[Any], Any] = ...) -> None: ...
