"""All that a loop of one's own trains with, in one place: what a checkpoint of it holds.

`LoopParts` is for a loop with a model, `ObjectiveParts` for one that trains objectives alone.

parts = LoopParts(loop, model, opt, DataBunch(train_dl, valid_dl))
loop.add(Checkpoint(parts, Path("run")))
with loop.fit(n_epochs=3, resume=parts.resumption(Path("run"))) as fit:
    ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Optional, Sequence, cast

import attrs
import torch
from torch import nn
from torch.optim import Optimizer
from typing_extensions import TypeVar, override

from .attach import Group
from .callback import Callback
from .data import DataBunch
from .device import device_of
from .errors import LoopError
from .events import P, X, Y
from .loop import Loop
from .position import Position, Resumption

if TYPE_CHECKING:
    from .state import InFit, OnMismatch
    from .store import AnyPath

M = TypeVar("M", bound=nn.Module, default=nn.Module)


@attrs.frozen
class _Resumable(Generic[X, Y, P]):
    """What `LoopParts` and `ObjectiveParts` have in common."""

    loop: Loop[X, Y, P]
    """The loop, whose callbacks' cells are saved."""

    def __attrs_post_init__(self) -> None:
        names = [objective.name for objective in self.loop.objectives]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise LoopError(
                f"two objectives of this loop are called {twice}, and a checkpoint tells them apart by their names: "
                f"name them, Objective(..., name='critic')."
            )

    @property
    def objectives(self) -> Sequence[Group]:
        """The loop's objectives, whose models, optimizers, steps and cells are saved."""
        return self.loop.objectives

    @property
    def cbs(self) -> Sequence[Callback[X, Y, P]]:
        """The loop's callbacks in the order in which they run."""
        return self.loop.cbs

    @property
    def position(self) -> Optional[Position]:
        """How far the fit has come that is under way; None where there is none."""
        return self.loop.position

    def resumption(self, path: AnyPath, on_mismatch: Optional[OnMismatch] = None) -> Resumption:
        """What `loop.fit(resume=...)` takes, to go on from a checkpoint as if the fit had never been left.

        Everything gets its state as the fit begins, after begin_fit's hooks, or nothing does.

        Args:
            path: A checkpoint, or the folder of a `Checkpoint` callback: the newest sound one in it.
            on_mismatch: What of the checkpoint may be left out where it does not fit, such as
                `{"EarlyStopping": "reset"}`.

        Raises:
            CheckpointError: There is no sound checkpoint to go on from, or it does not fit.
        """
        from .state import resumption  # noqa: PLC0415  # most loops begin at their beginning
        from .store import found, read  # noqa: PLC0415  # as said

        with self.loop.engine.running():
            return resumption(self._whole(), read(found(path)), on_mismatch or {})

    def save(self, path: AnyPath) -> None:
        """Writes a checkpoint of the weights, the optimizers and the callbacks' cells, outside of a fit.

        Args:
            path: The directory that it becomes; nothing may be there yet.

        Raises:
            StateError: A cell holds what no checkpoint can hold.
            CheckpointWriteError: It cannot be written.
        """
        from .state import save  # noqa: PLC0415  # most loops save nothing

        with self.loop.engine.running():
            save(self._whole(), path)

    def load(self, path: AnyPath, on_mismatch: Optional[OnMismatch] = None) -> None:
        """Gives the models, the optimizers and the callbacks' cells the state in a checkpoint, outside of a fit.

        Args:
            path: A checkpoint, or a folder of them: the newest sound one in it.
            on_mismatch: What of the checkpoint may be left out where it does not fit.

        Raises:
            CheckpointError: There is no sound checkpoint, or it does not fit; nothing of it was copied.
            LoopError: A fit is under way.
        """
        from .state import load  # noqa: PLC0415  # most loops load nothing

        if self.loop.running:
            raise LoopError("a fit is under way on this loop: a checkpoint is loaded before or after it.")
        with self.loop.engine.running():
            load(self._whole(), path, on_mismatch)

    def _whole(self) -> InFit:
        return cast("InFit", self)  # it is abstract, and those that there are have all that is asked for


@attrs.frozen
class LoopParts(_Resumable[X, Y, P], Generic[X, Y, P, M]):
    """The loop, the model, the optimizer, the data and the loss of a loop of one's own.

    It has what callbacks ask for (`needs`), so that `GradientClip(parts, clip=1.0)` and `Checkpoint(parts, folder)` do
    what they do in a learner. Objectives that the loop has besides are saved with it.

    Type parameters:
        X: The inputs of a batch.
        Y: The targets of a batch.
        P: What the model makes of the inputs.
        M: The model's own class.

    Raises:
        LoopError: Two objectives of the loop have the same name.
    """

    model: M
    """The model that is trained."""

    opt: Optimizer
    """The optimizer that steps."""

    data: DataBunch[X, Y]
    """The very loaders that the passes are over: their place is saved, and the generators that they draw from."""

    loss_func: object = None
    """What computes the loss; it is saved where it is a module with weights or buffers."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return device_of(self.model)


@attrs.frozen
class ObjectiveParts(_Resumable[X, Y, P], Generic[X, Y, P]):
    """The loop, its objectives and the data of a loop that trains objectives and has no model besides.

    `Checkpoint(parts, folder)` in the loop saves each objective by its name: its model, its optimizer, its steps, and
    the cells of its callbacks.

    Type parameters:
        X: The inputs of a batch.
        Y: The targets of a batch.
        P: What a loop's own callbacks would see as predictions.

    Raises:
        LoopError: The loop has no objectives, or two of the same name.
    """

    data: DataBunch[X, Y]
    """The very loaders that the passes are over: their place is saved, and the generators that they draw from."""

    loss_func: object = None
    """What computes losses, where it is a module with weights or buffers that are to be saved."""

    @override
    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if not self.loop.objectives:
            raise LoopError(
                "this loop has no objectives, which are all that ObjectiveParts saves: for a loop with a model of its "
                "own there is LoopParts(loop, model, opt, data)."
            )

    @property
    def device(self) -> torch.device:
        """Where the first objective's model is."""
        return device_of(self.loop.objectives[0].model)
