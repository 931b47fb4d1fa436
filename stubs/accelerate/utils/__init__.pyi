import enum
from dataclasses import dataclass
from typing import Any, Optional, TypeVar

from torch import nn

_T = TypeVar("_T")

class DistributedType(str, enum.Enum):  # noqa: UP042  # as it is
    def __new__(cls, value: object) -> DistributedType: ...
    NO = "NO"
    MULTI_CPU = "MULTI_CPU"
    MULTI_GPU = "MULTI_GPU"
    MULTI_NPU = "MULTI_NPU"
    MULTI_MLU = "MULTI_MLU"
    MULTI_SDAA = "MULTI_SDAA"
    MULTI_MUSA = "MULTI_MUSA"
    MULTI_XPU = "MULTI_XPU"
    DEEPSPEED = "DEEPSPEED"
    FSDP = "FSDP"
    XLA = "XLA"
    MEGATRON_LM = "MEGATRON_LM"
    MULTI_HPU = "MULTI_HPU"
    MULTI_NEURON = "MULTI_NEURON"

@dataclass
class GradientAccumulationPlugin:
    num_steps: Optional[int] = None
    adjust_scheduler: bool = True
    sync_with_dataloader: bool = True
    sync_each_batch: bool = False

@dataclass
class ProjectConfiguration:
    project_dir: Optional[str] = None
    logging_dir: Optional[str] = None
    automatic_checkpoint_naming: bool = False
    total_limit: Optional[int] = None
    iteration: int = 0
    save_on_each_node: bool = False

def set_seed(seed: int, device_specific: bool = False, deterministic: bool = False) -> None: ...
def gather_object(object: _T) -> list[_T]: ...
def broadcast(tensor: _T, from_process: int = 0) -> _T: ...
def broadcast_object_list(object_list: list[Any], from_process: int = 0) -> list[Any]: ...  # Any: objects of all kinds
def find_tied_parameters(model: nn.Module) -> list[list[str]]: ...
def retie_parameters(model: nn.Module, tied_params: list[list[str]]) -> None: ...
