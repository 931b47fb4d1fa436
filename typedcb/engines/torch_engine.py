"""Several processes by torch itself: DistributedDataParallel, or parameters that are sharded by `fully_shard`.

with TorchEngine() as engine:                       # started by torchrun --nproc-per-node 2 train.py
    learn = Learner(model, data, F.cross_entropy, opt_func, cbs=[AvgStats(accuracy)], engine=engine)
    learn.fit(3)
"""

from __future__ import annotations

import os
from typing import Callable, Iterable, Optional, Sequence, Union
from weakref import WeakSet

import attrs
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from typing_extensions import override

from ..device import device_of
from ..dispatch import BatchPlan
from ..engine import Device, Forward
from ..errors import EngineError
from ..events import P, X, Y
from ..outcomes import CancelBatch
from .distributed import DistributedEngine
from .processes import Processes
from .shards import Shards


@attrs.frozen
class DDP:
    """Each process has the whole model, and the gradients are averaged: torch's DistributedDataParallel."""

    find_unused_parameters: bool = False
    """Whether some parameters may have no part in a batch's loss; looking for them takes time."""


def direct_children(model: nn.Module) -> Iterable[nn.Module]:
    """The modules directly in a model that have parameters."""
    return [child for child in model.children() if next(child.parameters(), None) is not None]


@attrs.frozen
class FSDP:
    """Each process has a shard of every parameter, its gradient and its optimizer's state: torch's fully_shard."""

    units: Callable[[nn.Module], Iterable[nn.Module]] = direct_children
    """What is gathered together for a forward and a backward pass: the modules that this gives, each by itself, and the
    rest of the model. A transformer's blocks, say; the model's children by default."""


Strategy = Union[DDP, FSDP]
"""How a model is spread over processes."""


class TorchEngine(DistributedEngine):
    """Several processes on `torch.distributed`, started by torchrun or joined by `init_process_group`.

    Each has its share of every batch of the loaders: `batch_size` is that of all processes together, so that a run
    trains on the same batches, with the same number of steps, whatever the number of processes.
    """

    def __init__(
        self,
        strategy: Optional[Strategy] = None,
        *,
        processes: Optional[int] = None,
        device: Device = None,
        timeout: float = 600.0,
    ) -> None:
        """Joins the other processes.

        Args:
            strategy: How the model is spread: `DDP()`, which is the default, or `FSDP()`.
            processes: How many processes there are to be, where that is to be checked.
            device: Where this process computes; by default the GPU of its number on its machine where there are any,
                else the CPU.
            timeout: How many seconds to wait for the others before giving them up.

        Raises:
            EngineError: Nobody says which process this is, or there are not as many as were asked for.
        """
        self._strategy: Strategy = DDP() if strategy is None else strategy
        self._device = _own_device() if device is None else torch.device(device)
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)
        joined = Processes(timeout)
        if processes is not None and joined.world_size != processes:
            raise EngineError(
                f"{processes} processes were asked for, and there are {joined.world_size}: whatever starts the program "
                f"has to start as many, such as torchrun --nproc-per-node {processes}."
            )
        self._mesh: Optional[DeviceMesh] = None
        if isinstance(self._strategy, FSDP):
            self._mesh = init_device_mesh(self._device.type, (joined.world_size,))
        self._wrapped: Optional[DistributedDataParallel] = None
        self._model: Optional[nn.Module] = None
        self._trained: tuple[bool, ...] = ()
        self._shards = Shards()
        self._units: WeakSet[FSDPModule] = WeakSet()
        super().__init__(joined)

    @property
    @override
    def mesh(self) -> Optional[DeviceMesh]:
        """Over what the parameters are sharded; None where each process has all of them."""
        return self._mesh

    @override
    def prepare(self, model: nn.Module, device: Device, /) -> torch.device:
        """Brings the model to its device, gives it the weights of the first rank, and shards them where asked to.

        A model that was an objective's is trained by itself from then on, until a loop has it as one again.

        Args:
            model: The model.
            device: Where it is to be; the engine's device by default.
        """
        model.to(self._device if device is None else device)
        super().prepare(model, device)
        if isinstance(self._strategy, FSDP) and self._mesh is not None:
            for unit in (*self._strategy.units(model), model):
                self._units.add(fully_shard(unit, mesh=self._mesh))
        return device_of(model)

    @override
    def backward(self, loss: Tensor) -> Optional[CancelBatch]:
        """Computes the gradients of the mean over all samples of all ranks, and has callbacks find them at the shards.

        Where `set_reshard_after_backward(False)` keeps what a forward pass has gathered, that stands in the model in
        place of the shards, has no gradients, and is not what the optimizer steps.

        Args:
            loss: The mean over this rank's own samples.

        Returns:
            What cancels the batch, where the gradients are of no use.
        """
        answer = super().backward(loss)
        for unit in self._units:
            unit.reshard()
        return answer

    @override
    def check_turns(self, models: Sequence[nn.Module], /) -> None:
        """Takes note of the models of a loop's objectives, and of what is gathered of those that are sharded.

        Args:
            models: The models.
        """
        super().check_turns(models)
        if self._mesh is not None:
            for model in models:
                self._shards.find(model)

    @override
    def planned_turn(self, plan: BatchPlan[X, Y, P], opt: Optimizer, /) -> BatchPlan[X, Y, P]:
        """The plan of an objective's turns on this rank.

        Args:
            plan: Whom to call at each event of a turn.
            opt: The objective's optimizer.
        """
        if self._mesh is not None:
            self._shards.follow(opt)
        return super().planned_turn(plan, opt)

    @override
    def compute_gradients(self, loss: Tensor, parameters: Sequence[Tensor], /) -> None:
        """Computes the gradients of the parameters of an objective: this rank's own, or of shards the mean of all.

        Args:
            loss: The mean over this rank's own samples.
            parameters: The parameters.

        Raises:
            EngineError: Of a shard nobody knows the whole, or fully_shard has dropped it too early.
        """
        if self._mesh is None:
            super().compute_gradients(loss, parameters)
        else:
            self._shards.backward(loss, self._weight_of(loss), parameters)

    @override
    def forward(self, model: nn.Module, /) -> Forward:
        """What calls the model in training, made anew when other parameters are trained than before.

        Args:
            model: A model that has been prepared.
        """
        if self._mesh is not None or self.world_size == 1:
            return model
        if model in self._of_objectives:  # a turn brings its gradients together
            return model
        trained = tuple(parameter.requires_grad for parameter in model.parameters())
        if not any(trained):
            return model
        if self._wrapped is None or self._model is not model or trained != self._trained:
            unused = isinstance(self._strategy, DDP) and self._strategy.find_unused_parameters
            ids = [self._device] if self._device.type == "cuda" else None
            self._wrapped = DistributedDataParallel(model, device_ids=ids, find_unused_parameters=unused)
            self._model, self._trained = model, trained
        return self._wrapped


def _own_device() -> torch.device:
    """The GPU of this process's number on its machine, where there are any."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
