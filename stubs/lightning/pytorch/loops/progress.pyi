from typing import Any

class _BatchProgress:
    is_last_batch: bool
    def __init__(self, total: Any = ..., current: Any = ..., is_last_batch: bool = False) -> None: ...
