"""What the engines of several processes have in common: shares, sums, votes, and an end together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Generator, Iterable, Mapping, Optional, Sequence
from weakref import WeakSet

import attrs
import torch
import torch.distributed as dist
from torch import Tensor, autograd, nn
from torch.optim import Optimizer
from typing_extensions import Self

from ..agreement import agreed, agreed_turn, check_ranks
from ..callback import SomeCallback
from ..data import length_of
from ..device import device_of
from ..dispatch import BatchPlan, Plan
from ..engine import Device, Forward
from ..errors import EngineError
from ..events import P, Phase, X, Y
from ..optimizer import Steps
from ..outcomes import CancelBatch
from ..ranks import here, over
from ..tree import shard_of
from ..turns import marks, trained_by
from .alike import OfLoader, check_models, exchanged, first_difference
from .averaging import average_gradients
from .failing import Failures, Position, different_batches
from .in_words import of_each
from .processes import LostError, Processes
from .split import Note, presplit, split

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


class DistributedEngine(ABC):
    """Several processes, each with its share of every batch.

    Args:
        processes: The processes.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._failures = Failures(processes)
        self._loaders = 0
        self._own = 1
        self._whole: int = self.world_size
        self._scale = 1.0
        self._alone = ""
        self._in_hook: bool = False
        self._drawn = False
        self._of_objectives: WeakSet[nn.Module] = WeakSet()

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return self._processes.rank

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return self._processes.world_size

    @property
    def mesh(self) -> Optional[DeviceMesh]:
        """Over what the parameters are sharded; None where each process has all of them."""
        return None

    @property
    def compares(self) -> bool:
        """Whether a fit or a validation is under way on it, and not one of its callbacks."""
        return here() is self and not self._in_hook

    def counted(self, size: int) -> int:
        """How many of the samples of the batch under way this rank counts: all that it has, or none."""
        return size if self._own else 0

    def whole(self, size: int) -> int:
        """How many samples the batch under way has on all ranks together, as the loader gave it.

        Args:
            size: How many this rank has. Of a loader that the engine does not split nobody knows how many the others
                have: all its batches are given the same number.
        """
        return size if self.world_size == 1 else self._whole

    def total(self, values: Sequence[float]) -> tuple[float, ...]:
        """The sums of figures over all ranks, in double precision. Collective."""
        self._check_all("total")
        return self._processes.total(values)

    def mean(self, figure: Tensor) -> Tensor:
        """The mean of a figure of the batch under way over all samples of all ranks. Collective.

        Args:
            figure: The mean over this rank's own samples; a scalar.
        """
        weighted = float(figure.detach()) * self._scale if self._own else 0.0
        (summed,) = self.total((weighted,))
        return figure.new_tensor(summed / self.world_size)

    def gather(self, values: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """The numbers of every rank, by rank. Collective."""
        self._check_all("gather")
        at = self._failures.position
        everybody = self._processes.gather((at.batches, at.batches_before, *values))
        self._check_positions(everybody)
        return tuple(numbers[2:] for numbers in everybody)

    def _check_positions(self, everybody: Sequence[Sequence[int]]) -> None:
        """Refuses to go on where the ranks have gone different ways.

        Raises:
            EngineError: They have been handed different numbers of batches, or ask each other for different things.
        """
        if len({numbers[0] for numbers in everybody}) > 1:
            positions = [Position(batches=numbers[0], batches_before=numbers[1]) for numbers in everybody]
            raise EngineError(f"{different_batches(dict(enumerate(positions)))}.")
        if len({len(numbers) for numbers in everybody}) > 1:
            each = of_each(f"{len(numbers) - 2} numbers" for numbers in everybody)
            raise EngineError(
                f"the ranks ask each other for different things: {each}. Every rank has to ask for the same, in the "
                f"same order."
            )

    def exchange(self, text: str) -> tuple[str, ...]:
        """The text of every rank, by rank. Collective."""
        self._check_all("exchange")
        try:
            return self._processes.exchange(text, self._failures.any)
        except LostError as error:
            raise self.failed(error) from error

    def alone(self, who: str, /) -> None:
        """From now on a collective is refused, since `who` runs on this rank alone; "" ends that."""
        self._alone = who

    def in_hook(self, begins: bool, /) -> None:
        """A hook begins, or ends: the batches that it draws are its own, which the others may draw or not."""
        self._in_hook = begins

    def prepare(self, model: nn.Module, device: Device, /) -> torch.device:
        """Has all ranks begin with the weights of the first; the engine's own class does the rest.

        A model that was an objective's is trained by itself from then on, until a loop has it as one again.

        Raises:
            EngineError: The ranks have models that differ in more than their weights.
        """
        self._of_objectives.discard(model)
        check_models(model, self)
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                self.broadcast(tensor.detach())
        return device_of(model)

    @abstractmethod
    def forward(self, model: nn.Module, /) -> Forward:
        """What calls the model in training.

        Args:
            model: A model that has been prepared.
        """

    def steps(self, opt: Steps, /) -> Steps:
        """The optimizer itself."""
        return opt

    def broadcast(self, tensor: Tensor, /) -> None:
        """Gives all ranks, in place, what a tensor of the first holds. Collective.

        Args:
            tensor: A tensor without a graph, where the model is.
        """
        dist.broadcast(tensor, 0)

    def before_evaluating(self, model: nn.Module, /) -> None:
        """Gives all ranks the buffers of the first, such as a batch norm's statistics, which its own samples made."""
        for buffer in model.buffers():
            self.broadcast(buffer.detach())

    def split(self, name: str, dl: Iterable[tuple[X, Y]], /) -> Iterable[tuple[X, Y]]:
        """The same batches, each with this rank's share of its samples.

        Args:
            name: What the loader is called, for error messages.
            dl: The loader that one process would have.
        """
        self._loaders += 1
        seed = int(self.exchange(str(torch.initial_seed()))[0])
        ranks = OfLoader(self, name, lambda: length_of(dl))
        return split(name, dl, ranks, seed + self._loaders, self._notes(name))

    def presplit(self, name: str, dl: Iterable[tuple[X, Y]], /) -> Iterable[tuple[X, Y]]:
        """The batches of a loader that gives each rank its own share already, by a DistributedSampler or by itself.

        Every rank weighs the same, however many samples it has: nobody knows how many the others have. What
        `sampler.set_epoch` wants is the loop's to do.

        Args:
            name: What the loader is called, for error messages.
            dl: The loader of this rank. It gives as many batches as that of every other one: lengths are compared as a
                pass begins, and where there is none, at each batch.

        Raises:
            EngineError: The engine splits it itself.
        """
        return presplit(name, dl, self, self._notes(name))

    def begin_pass(self) -> None:
        """A loop begins to draw batches: `check_share` says whether they are shares."""
        self._drawn = False

    def check_share(self, phase: Phase, /) -> None:
        """Refuses a pass whose first batch has been drawn, and came out of no loader of `split` or `presplit`.

        Args:
            phase: Which data the pass goes over.

        Raises:
            EngineError: There are several ranks, each of which would have the whole of each batch.
        """
        if self._drawn or self.world_size == 1:
            return
        raise EngineError(
            f"the loader of this pass ({phase}) is none of this engine's, so that each of the {self.world_size} ranks "
            f'would go over all of its batches: dl = engine.split("{phase}_dl", dl), before the fit, gives each rank '
            f"its share of every batch. A loader that gives each rank a share of its own already, such as one with a "
            f'DistributedSampler, is engine.presplit("{phase}_dl", dl).'
        )

    def planned(self, plan: Plan[X, Y, P], callbacks: Sequence[SomeCallback], /) -> Plan[X, Y, P]:
        """The plan of this rank.

        Args:
            plan: Whom to call at each event.
            callbacks: All callbacks, which have to be the same on all ranks.

        Raises:
            EngineError: They are not, or one of all ranks reads what the main rank alone knows.
        """
        check_ranks(tuple(callbacks))
        self.compare({"the callbacks": ", ".join(type(callback).__name__ for callback in callbacks)})
        self._note(1, self.world_size)
        mine = agreed(plan, self)
        return attrs.evolve(mine, train=attrs.evolve(mine.train, backward=self.backward))

    def backward(self, loss: Tensor) -> Optional[CancelBatch]:
        """Computes the gradients of the mean over all samples of all ranks.

        Args:
            loss: The mean over this rank's own samples.

        Returns:
            What cancels the batch, where the gradients are of no use; the same on all ranks.
        """
        # the ranks' gradients are averaged, whatever their shares: a smaller share weighs less
        autograd.backward((loss,), self._weight_of(loss))
        return None

    def _weight_of(self, loss: Tensor) -> Optional[tuple[Tensor]]:
        """What backward begins with, for a loss over a share that weighs more or less than others'."""
        return None if self._scale == 1.0 else (loss.new_tensor(self._scale),)

    def check_turns(self, models: Sequence[nn.Module], /) -> None:
        """Takes note of the models of a loop's objectives, which are called as they are.

        Args:
            models: The models.
        """
        self._of_objectives.update(models)

    def planned_turn(self, plan: BatchPlan[X, Y, P], opt: Optimizer, /) -> BatchPlan[X, Y, P]:
        """The plan of an objective's turns on this rank: its hooks vote, and the ranks' gradients are averaged.

        Args:
            plan: Whom to call at each event of a turn.
            opt: The objective's optimizer.
        """
        if self.world_size == 1 and self.mesh is None:
            return plan

        def backward(loss: Tensor) -> None:
            trained = trained_by(opt)
            whole = [parameter for parameter in trained if shard_of(parameter) is None]
            before = marks(whole)
            self.compute_gradients(loss, trained)
            average_gradients(whole, before, self.world_size)

        return attrs.evolve(agreed_turn(plan, self), backward=backward)

    def compute_gradients(self, loss: Tensor, parameters: Sequence[Tensor], /) -> None:
        """Computes the gradients of the parameters of an objective: this rank's own, apart from those of shards.

        Args:
            loss: The mean over this rank's own samples.
            parameters: The parameters.
        """
        autograd.backward((loss,), self._weight_of(loss), inputs=parameters)

    def compare(self, facts: Mapping[str, object], /) -> None:
        """Refuses what is not the same on all ranks.

        Args:
            facts: What this rank has, by name.

        Raises:
            EngineError: It names the fact, and what each rank has.
        """
        differs = first_difference(exchanged({name: str(fact) for name, fact in facts.items()}, self), "nothing")
        if differs is not None:
            name, seen = differs
            each = of_each(fact or "none" for fact in seen)
            raise EngineError(f"the ranks differ in {name}, which has to be the same on all. {each}.")

    def failed(self, error: BaseException, /) -> BaseException:
        """Tells the other ranks of an error, so that none waits for this one; what has gone wrong in truth."""
        return error if self.world_size == 1 else self._failures.failed(error)

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """What stands around a fit or a validation: `here()` is this engine, and an error of one rank ends all."""
        around = self._own, self._whole, self._scale, self._in_hook  # of the hook that this one runs in, if any
        self._in_hook, outermost = False, here() is not self
        if outermost:
            self._failures.count_from_here()
        with over(self):
            try:
                yield
                if outermost and self.world_size > 1 and not self._alone:
                    self.gather(())  # nobody goes on while another one may fail in its last hooks
            except BaseException as error:
                found = self.failed(error)
                if found is error:
                    raise
                raise found from error
            finally:
                self._own, self._whole, self._scale, self._in_hook = around

    def close(self) -> None:
        """Parts from the other processes; they have to come to the same end."""
        self._failures.close()
        self._processes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if error is None:
            self.close()
            return
        found = self.failed(error)
        if found is not error:
            raise found from error

    def _notes(self, name: str) -> Note:
        """What a loader tells of each batch that it hands out, whoever has asked for it.

        Args:
            name: What the loader is called.
        """

        def note(own: int, size: int) -> None:
            self._drawn = True
            if not self._in_hook:  # a callback that looks at data leaves the batch under way as it is
                self._note(own, size)
                if here() is self:  # a fit or a validation is under way
                    self._failures.count_batch(name)

        return note

    def _note(self, own: int, size: int) -> None:
        """Takes note of the batch that is handed out: how many samples are this rank's, and how many there are."""
        self._own = own
        self._whole = size
        self._scale = own * self.world_size / size

    def _check_all(self, what: str) -> None:
        if self._alone:
            raise EngineError(
                f'{self._alone} runs on the main rank alone, by ranks = "main", and asked for {what}(), which every '
                f'rank has to ask for: write ranks = "all".'
            )
        self._failures.count_collective()
