from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from ..utils import Bunch

class _Digits(Bunch):  # what the bunch of this data set has
    data: NDArray[np.float64]
    target: NDArray[np.int64]
    frame: None
    feature_names: list[str]
    target_names: NDArray[np.int64]
    images: NDArray[np.float64]
    DESCR: str

@overload
def load_digits(
    *, n_class: int = 10, return_X_y: Literal[False] = False, as_frame: Literal[False] = False
) -> _Digits: ...
@overload
def load_digits(
    *, n_class: int = 10, return_X_y: Literal[True], as_frame: Literal[False] = False
) -> tuple[NDArray[np.float64], NDArray[np.int64]]: ...
@overload
def load_digits(
    *, n_class: int = 10, return_X_y: bool = False, as_frame: bool
) -> Any: ...  # Any: frames of pandas, which has no types
