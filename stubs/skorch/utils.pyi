from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")

class TeeGenerator(Generic[_T]):
    def __init__(self, gen: Iterable[_T]) -> None: ...
    def __iter__(self) -> Iterator[_T]: ...

def to_tensor(X: Any, device: Any, accept_sparse: bool = False) -> Any: ...  # Any: arrays, tensors, dicts of them
