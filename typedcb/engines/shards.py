"""The shards that an objective's optimizer steps, and the whole parameters that its turns compute gradients of.

`fully_shard` has the optimizer step a shard of each parameter, and a forward pass use the whole, which is gathered for
it and is another tensor. A turn computes the gradients of its own objective's parameters alone, so that autograd has to
be asked for those of the whole ones. fully_shard averages what it finds there once backward has passed a unit, and
gives each rank its shard; of the units that a loss runs through on its way it finds nothing, and sends nothing.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch.distributed is half without types

from __future__ import annotations

from typing import Iterator, MutableMapping, Optional, Sequence, cast
from weakref import ReferenceType, WeakSet, ref

import attrs
from torch import Tensor, autograd, nn
from torch.autograd.graph import increment_version
from torch.distributed.fsdp import FSDPModule
from torch.optim import Optimizer
from torch.utils.weak import WeakTensorKeyDictionary

from ..errors import EngineError
from ..tree import shard_of

_TWICE = (
    "backward went through a sharded model twice, as for a gradient penalty by autograd.grad(create_graph=True), and "
    "fully_shard drops the gathered parameters after the first time: call set_reshard_after_backward(False) of the "
    "model, once the engine has prepared it, which keeps them until the end of the turn's backward."
)


@attrs.frozen
class _Whole:
    """What is gathered for a forward pass in place of a shard."""

    parameter: Tensor
    """The whole parameter: always the same tensor, which has memory while it is gathered alone."""

    unit: ReferenceType[nn.Module]
    """The module with which it is gathered."""


class Shards:
    """The sharded parameters of objectives, by their shards, as long as these are there."""

    def __init__(self) -> None:
        self._wholes = cast("MutableMapping[Tensor, _Whole]", WeakTensorKeyDictionary())
        self._followed: WeakSet[Optimizer] = WeakSet()

    def find(self, model: nn.Module) -> None:
        """Finds what is gathered in place of each shard of a model, one unit after the other. Collective.

        Args:
            model: The model; where it is not sharded there is nothing to find.
        """
        shards = {name: parameter for name, parameter in model.named_parameters() if shard_of(parameter) is not None}
        if all(shard in self._wholes for shard in shards.values()):
            return
        for unit in _units(model):
            cast("FSDPModule", unit).unshard()
            for name, parameter in model.named_parameters():
                shard = shards.get(name)
                if shard is not None and shard is not parameter:
                    self._wholes[shard] = _Whole(parameter, ref(unit))
            cast("FSDPModule", unit).reshard()

    def follow(self, opt: Optimizer) -> None:
        """Has what is gathered be dropped as an optimizer steps, which changes the shards alone.

        A forward pass after the step gathers the new weights then, and a backward pass through one before it is the
        error that it is of parameters that are not sharded.

        Args:
            opt: The optimizer of an objective.
        """
        if opt not in self._followed:
            self._followed.add(opt)
            opt.register_step_post_hook(self._stepped)

    def backward(self, loss: Tensor, weight: Optional[tuple[Tensor]], parameters: Sequence[Tensor]) -> None:
        """Computes the gradients of some parameters; those of shards are averaged over the ranks. Collective.

        Args:
            loss: The loss.
            weight: What backward begins with.
            parameters: The parameters, or their shards.

        Raises:
            EngineError: A shard is of a model that is no objective's, or the graph goes through a model twice.
        """
        wholes = [self._whole_of(parameter) for parameter in parameters if shard_of(parameter) is not None]
        others = [parameter for parameter in parameters if shard_of(parameter) is None]
        try:
            autograd.backward((loss,), weight, inputs=[*(whole.parameter for whole in wholes), *others])
        except RuntimeError as error:
            if "storage of size 0" in str(error) or "not allocated" in str(error):
                raise EngineError(_TWICE) from error
            raise
        left = [whole.parameter for whole in wholes if whole.parameter.grad is not None]
        for parameter in left:
            parameter.grad = None
        if left:
            raise EngineError(_TWICE)
        _reshard(wholes)  # callbacks find the gradients at the shards

    def _whole_of(self, shard: Tensor) -> _Whole:
        whole = self._wholes.get(shard)
        if whole is None:
            raise EngineError(
                f"the optimizer of an objective steps a sharded parameter of the shape {list(shard.shape)} that is not "
                f"in the objective's own model: have one module hold both, prepare that, and make it the objective's."
            )
        return whole

    def _stepped(self, opt: Optimizer, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        """Drops what is gathered of the parameters that an optimizer has stepped; torch calls it."""
        wholes = [whole for shard in _parameters(opt) if (whole := self._wholes.get(shard)) is not None]
        _reshard(wholes)
        increment_version([whole.parameter for whole in wholes])


def _units(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def _reshard(wholes: Sequence[_Whole]) -> None:
    for unit in {id(unit): unit for whole in wholes if (unit := whole.unit()) is not None}.values():
        cast("FSDPModule", unit).reshard()


def _parameters(opt: Optimizer) -> Iterator[Tensor]:
    groups: list[dict[str, list[nn.Parameter]]] = opt.param_groups
    for group in groups:
        yield from group["params"]
