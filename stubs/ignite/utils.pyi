from typing import Any, Optional, Union

import torch

# Any: a tensor, or what nests tensors
def convert_tensor(x: Any, device: Optional[Union[str, torch.device]] = None, non_blocking: bool = False) -> Any: ...
