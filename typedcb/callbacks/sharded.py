"""Models that `fully_shard` has sharded: what a callback has to know of them, where it reads or writes parameters.

A forward pass gathers the whole parameters. They then stand in the model in place of the shards, after a validation
until the next step. And torch refuses to copy such a model by `copy.deepcopy`: its hooks are those of one model.
"""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Iterable, NoReturn, Optional, cast

from torch import nn
from typing_extensions import override

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule


def put_shards_back(model: nn.Module) -> bool:
    """Has a model hold its shards again, and not what a forward pass has gathered: a change of that would be lost.

    Args:
        model: Any model; one that is not sharded stays as it is.

    Returns:
        Whether it is sharded.
    """
    units = _units(model)
    for unit in units:
        unit.reshard()
    return bool(units)


def _units(model: nn.Module) -> list[FSDPModule]:
    """The modules that gather their parameters."""
    if "torch.distributed.fsdp" not in sys.modules:
        return []  # nobody has sharded anything, and to import it takes most of a second
    from torch.distributed.fsdp import FSDPModule  # noqa: PLC0415  # imported already

    return [module for module in model.modules() if isinstance(module, FSDPModule)]


class Bare(nn.Module):
    """The parameters and buffers of a module under their names, and nothing that computes with them."""

    def __init__(self, of: nn.Module) -> None:
        """Takes what a module has itself, without its children.

        Args:
            of: The module.
        """
        super().__init__()
        for name, parameter in of._parameters.items():
            self.register_parameter(name, parameter)
        for name, buffer in of._buffers.items():
            self.register_buffer(name, buffer, persistent=name not in of._non_persistent_buffers_set)

    @override
    def forward(self, *args: object, **kwargs: object) -> NoReturn:
        """Refuses to compute.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "the average of a sharded model holds its weights in shards, and is not called: EMA.copy_to(model) gives "
            "them to one that is."
        )


class _BareWithMore(Bare):
    """The same of a module that has more in its state than parameters and buffers."""

    def __init__(self, of: nn.Module) -> None:
        super().__init__(of)
        self._more = copy.deepcopy(of.get_extra_state())

    @override
    def get_extra_state(self) -> object:
        return self._more

    @override
    def set_extra_state(self, state: object) -> None:
        self._more = state


def bare(model: nn.Module) -> nn.Module:
    """A module of the same structure with the same parameters and buffers, which can be copied where a model cannot.

    Its `state_dict` has the names of the model's.

    Args:
        model: The model.
    """
    made: dict[int, nn.Module] = {}  # a module that stands in two places does so in the other too
    by_path: dict[str, nn.Module] = {}
    for path, module in _modules(model):
        own: Optional[nn.Module] = made.get(id(module))
        if own is None:
            own = made[id(module)] = _bare_one(module)
        by_path[path] = own
        if path:
            parent, _, name = path.rpartition(".")
            by_path[parent].add_module(name, own)
    return by_path[""]


def _modules(model: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    return cast("Iterable[tuple[str, nn.Module]]", model.named_modules(remove_duplicate=False))  # torch: half typed


def _bare_one(module: nn.Module) -> nn.Module:
    has_more = type(module).get_extra_state is not nn.Module.get_extra_state
    return _BareWithMore(module) if has_more else Bare(module)
