from typing import Any

from typing_extensions import Self

class BaseEstimator:
    def __repr__(self, N_CHAR_MAX: int = 700) -> str: ...
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...  # Any: settings of all kinds
    def set_params(self, **params: Any) -> Self: ...
