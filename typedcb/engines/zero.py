"""DeepSpeed's ZeRO 1 and 2, hidden behind the optimizer that callbacks know.

ZeRO lays the parameters of each group end to end, gives every rank a part of that, and has the optimizer step on this
part alone. To everybody else the optimizer is shown as it was: over the model's own parameters, with a state that is
brought together from all ranks when it is asked for. So schedules and checkpoints need to know nothing of it, and a
checkpoint is the one that a process without DeepSpeed would have written.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import Any, Callable, Final, Generator, Iterator, Mapping, Optional, Protocol, cast

import attrs
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import TypeAlias

from ..errors import EngineError

_Kept: TypeAlias = dict[str, Any]  # Any: what an optimizer keeps of a parameter is its own
_State: TypeAlias = dict[Tensor, _Kept]

_COUNT: Final = "step"
"""By what torch's optimizers count a parameter's steps: no part of what they keep of each of its elements."""


class _Hook(Protocol):
    """What a hook is taken away by."""

    def remove(self) -> None: ...


@attrs.frozen(eq=False)
class _Laid:
    """A parameter group as ZeRO has laid it out."""

    place: int
    """Its number in the optimizer."""

    trained: tuple[nn.Parameter, ...]
    """The model's parameters in it that are trained."""

    offsets: tuple[int, ...]
    """Where each begins."""

    part: Tensor
    """This rank's part, which the optimizer steps on; all ranks' are of one size."""

    def pieces(self, whole: Tensor) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Each parameter with its piece of something that is laid out likewise."""
        for parameter, offset in zip(self.trained, self.offsets, strict=True):
            yield parameter, whole.narrow(0, offset, parameter.numel()).view(parameter.shape)


class Zero:
    """An optimizer of whose state each rank has a part.

    Args:
        opt: The optimizer, over the model's own parameters.
        make: Has DeepSpeed make its own of it.
        rank: The number of this process.
        world_size: How many processes there are.
        check_all: Refuses what all ranks have to ask for, where this one is alone in it.

    Raises:
        EngineError: DeepSpeed lays parameters out in another way than is known here.
    """

    def __init__(
        self,
        opt: Optimizer,
        make: Callable[[], Any],  # Any: deepspeed is not installed where types are checked
        rank: int,
        world_size: int,
        check_all: Callable[[str], None],
    ) -> None:
        self._check_all = check_all
        self._opt = opt
        self._rank = rank
        self._world_size = world_size
        self._parts: _State = defaultdict(dict)
        self._untrained: _State = {}
        self._within = False
        self._n_groups = len(opt.param_groups)
        # of a group none of whose parameters is trained ZeRO can make nothing
        places = [i for i, group in enumerate(_groups(opt)) if any(one.requires_grad for one in group["params"])]
        state = cast("_State", opt.state)
        with self._shown(places, None):
            self._inner: Any = make()  # Any: as said
            parts = [group["params"] for group in _groups(opt)]
        self._laid = [
            _laid_out(place, _groups(opt)[place]["params"], part, whole, rank)
            for place, part, whole in zip(places, parts, self._inner.bit16_groups_flat, strict=True)
        ]
        self._spread(state)
        self._hooks: list[_Hook] = [
            opt.register_step_pre_hook(self._check_within),
            opt.register_state_dict_pre_hook(self._bring_together),
            opt.register_state_dict_post_hook(self._drop),
            opt.register_load_state_dict_post_hook(self._spread_loaded),
        ]

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that are trained."""
        return [parameter for laid in self._laid for parameter in laid.trained]

    def step(self, step: Callable[[], None]) -> None:
        """Steps, on the weights as they are now.

        Args:
            step: DeepSpeed's own step.

        Raises:
            EngineError: The optimizer has been given other groups since.
        """
        groups = _groups(self._opt)
        if len(groups) != self._n_groups:
            raise EngineError(
                f"{type(self._opt).__name__} had {self._n_groups} parameter groups when ZeRO laid them out, and has "
                f"{len(groups)}: make groups before the fit, by the learner's splitter."
            )
        self._inner.refresh_fp32_params()  # weights that were loaded or replaced in between are stepped from
        self._within = True
        try:
            with self._shown([laid.place for laid in self._laid], self._laid):
                step()
        finally:
            self._within = False

    def give_back(self, end: Callable[[], object]) -> None:
        """Makes the optimizer whole again, without DeepSpeed. Collective.

        Args:
            end: Takes DeepSpeed off the model.
        """
        for hook in self._hooks:
            hook.remove()
        with self._shown([laid.place for laid in self._laid], self._laid):
            end()
        self._bring_together(self._opt)

    @contextmanager
    def _shown(self, places: list[int], laid: Optional[list[_Laid]]) -> Generator[None, None, None]:
        """The optimizer as DeepSpeed sees it: with the groups that are trained, and with this rank's parts in them."""
        opt, groups = self._opt, _groups(self._opt)
        own = [groups[place]["params"] for place in places]
        for one in laid or ():
            groups[one.place]["params"] = [one.part]
        opt.param_groups, opt.state = [groups[place] for place in places], cast("Any", self._parts)
        try:
            yield
        finally:
            for place, params in zip(places, own, strict=True):
                groups[place]["params"] = params
            opt.param_groups, opt.state = groups, defaultdict(dict)

    def _check_within(self, opt: Optimizer, args: object, kwargs: object) -> None:
        """Refuses a step beside DeepSpeed's, which its next one would undo."""
        if not self._within:
            raise EngineError(
                f"{type(opt).__name__}.step() was called, and ZeRO has its state: in a loop of your own write "
                f"opt = engine.steps(opt) before the batches, and step by that."
            )

    def _bring_together(self, opt: Optimizer) -> None:
        """Gives the optimizer the whole state, as it would be without ZeRO. Collective."""
        self._check_all("opt.state_dict")
        opt.state = cast("Any", defaultdict(dict, self._untrained))  # Any: torch has it as a defaultdict of Any
        for laid in self._laid:
            for name, value in self._parts[laid.part].items():
                if _of_elements(name, value, laid.part):
                    wholes = {one: piece.clone() for one, piece in laid.pieces(self._gathered(value))}
                else:
                    wholes = {one: value.clone() if isinstance(value, Tensor) else value for one in laid.trained}
                for parameter, whole in wholes.items():
                    opt.state[parameter][name] = whole

    def _drop(self, opt: Optimizer, state: dict[str, Any]) -> None:  # Any: as torch has it
        """Takes the whole state away again, once it has been asked for."""
        opt.state = defaultdict(dict)

    def _spread_loaded(self, opt: Optimizer) -> None:
        """Gives each rank its part of a state that was loaded."""
        state = cast("_State", opt.state)
        opt.state = defaultdict(dict)
        self._spread(state)

    def _spread(self, state: _State) -> None:
        """Keeps this rank's part of a whole state."""
        trained = set(self.trained)
        self._untrained = {one: kept for one, kept in state.items() if one not in trained}
        self._parts = defaultdict(dict)
        for laid in self._laid:
            kept: _State = {one: state[one] for one in laid.trained if state.get(one)}
            if kept:
                self._check_together(laid, kept)
                self._parts[laid.part] = self._part_of(laid, kept)

    def _check_together(self, laid: _Laid, kept: Mapping[Tensor, _Kept]) -> None:
        """Refuses parameters of one group that have been stepped on differently often: ZeRO has one count for all."""
        counts = {float(kept[one][_COUNT]) if _COUNT in kept.get(one, {}) else 0.0 for one in laid.trained}
        if len(counts) > 1:
            raise EngineError(
                f"the parameters in group {laid.place} of {type(self._opt).__name__} have been stepped on differently "
                f"often ({', '.join(f'{count:g}' for count in sorted(counts))} times), and ZeRO has them as one: give "
                f"those that were frozen or unused a group of their own, by the learner's splitter."
            )

    def _part_of(self, laid: _Laid, kept: Mapping[Tensor, _Kept]) -> _Kept:
        """This rank's part of what an optimizer keeps of a group's parameters."""
        part: _Kept = {}
        for parameter, values in kept.items():
            for name, value in values.items():
                if not _of_elements(name, value, parameter):
                    part[name] = value.clone() if isinstance(value, Tensor) else value
                elif name not in part:
                    part[name] = self._own_part(laid, {one: kept[one][name] for one in kept if name in kept[one]})
        return part

    def _own_part(self, laid: _Laid, values: Mapping[Tensor, Tensor]) -> Tensor:
        """This rank's part of a value of each element; zeros where a parameter has none."""
        sample = next(iter(values.values()))
        size = laid.part.numel()
        whole = torch.zeros(size * self._world_size, dtype=sample.dtype, device=sample.device)
        for parameter, piece in laid.pieces(whole):
            if parameter in values:
                piece.copy_(values[parameter])
        return whole.narrow(0, self._rank * size, size).clone()

    def _gathered(self, part: Tensor) -> Tensor:
        """All ranks' parts, end to end. Collective."""
        whole = part.new_empty(part.numel() * self._world_size)
        parts = list(whole.chunk(self._world_size))
        dist.all_gather(parts, part)  # pyright: ignore[reportUnknownMemberType]  # torch leaves it without types
        return whole


def _groups(opt: Optimizer) -> list[dict[str, Any]]:  # Any: as torch has them
    return opt.param_groups


def _of_elements(name: str, value: object, parameter: Tensor) -> bool:
    """Whether this has a value for each element of a parameter."""
    return name != _COUNT and isinstance(value, Tensor) and value.shape == parameter.shape


def _laid_out(place: int, params: list[nn.Parameter], parts: list[Tensor], whole: Tensor, rank: int) -> _Laid:
    """How ZeRO has laid a group out, which its parameters tell: they have become views of the whole.

    Raises:
        EngineError: It is not so.
    """
    trained = tuple(one for one in params if one.requires_grad)
    begin, width = whole.data_ptr(), whole.element_size()
    offsets = tuple((one.data_ptr() - begin) // width for one in trained)
    laid = _Laid(place, trained, offsets, parts[0])
    fits = all(0 <= at <= whole.numel() - one.numel() for one, at in zip(trained, offsets, strict=True))
    size = parts[0].numel()
    if len(parts) != 1 or not fits or not torch.equal(whole.narrow(0, rank * size, size), parts[0].detach()):
        raise EngineError(
            "this version of DeepSpeed lays parameters out in another way than is known here, so that no checkpoint "
            "would be right: 0.19 is known, and zero_stage=0 does without."
        )
    return laid
