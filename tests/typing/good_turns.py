"""Several objectives in one loop: each has a payload, callbacks and an optimizer of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from typing_extensions import assert_type, override

from typedcb import AfterLoss, AfterPred, AnyCallback, BeginBatch, Callback, Loop, Objective, Phase
from typedcb.batches import TrainBatch
from typedcb.callbacks import AvgStats, EarlyStopping, GradientAccumulation, GradientClip, SmoothLoss
from typedcb.needs import HasModelAndOpt
from typedcb.scopes import Evaluated, ValidPredicted
from typedcb.turns import Turn, TurnBackward, TurnLoss, TurnPredicted, ValidTurn


class Scores(NamedTuple):
    """What a critic makes of a turn: two forward passes in one prediction."""

    real: Tensor
    fake: Tensor


class Critic(nn.Module):
    """A model with a field of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(2, 1)

    @override
    def forward(self, xb: Tensor) -> Tensor:
        scores: Tensor = self.score(xb)
        return scores


@dataclass(frozen=True)
class Gap(Callback[Tensor, Tensor, Scores]):
    """Reads the prediction of the critic, as what it is."""

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    @override
    def after_pred(self, event: AfterPred[Tensor, Tensor, Scores]) -> AfterPred[Tensor, Tensor, Scores]:
        assert_type(event.pred, Scores)
        return event.with_pred(event.pred._replace(fake=event.pred.fake.clamp(-1, 1)))


@dataclass(frozen=True)
class Shift(Callback[Tensor, tuple[Tensor, Tensor], Tensor]):
    """Over a payload that no other objective here has."""

    @override
    def begin_batch(self, event: BeginBatch[Tensor, tuple[Tensor, Tensor]]) -> None:
        assert_type(event.yb, tuple[Tensor, Tensor])

    @override
    def after_loss(
        self, event: AfterLoss[Tensor, tuple[Tensor, Tensor], Tensor]
    ) -> AfterLoss[Tensor, tuple[Tensor, Tensor], Tensor]:
        return event.with_loss(event.loss + 1)


def generator_loss(pred: Tensor, yb: tuple[Tensor, Tensor]) -> Tensor:
    """A loss over the generator's own payload."""
    return F.mse_loss(pred, yb[0])


batches = [(torch.zeros(4, 2), torch.zeros(4, 1)), (torch.ones(2, 2), torch.ones(2, 1))]
critic_net, generator_net = Critic(), nn.Linear(2, 2)

stats = AvgStats()
critic = Objective[Tensor, Tensor, Scores, Critic](
    critic_net,
    SGD(critic_net.parameters(), lr=0.1),
    [Gap(), stats, SmoothLoss()],
    [partial(GradientClip, clip=0.1), partial(GradientAccumulation, n=2)],
    name="critic",
)
generator = Objective[Tensor, tuple[Tensor, Tensor], Tensor](
    generator_net, SGD(generator_net.parameters(), lr=0.1), cbs=[Shift()]
)
# A callback of the loop, or of another objective, may depend on what an objective measures.
stop = EarlyStopping(stats.valid_loss, mode="min", patience=2)
loop = Loop[Tensor, Tensor]([stop], objectives=[critic, generator])

assert_type(critic.model, Critic)
assert_type(critic.model.score, nn.Linear)
assert_type(generator.model, nn.Module)
assert_type(critic.opt, Optimizer)
assert_type(critic.name, str)
assert_type(critic.steps, int)
assert_type(critic.cbs, tuple[Callback[Tensor, Tensor, Scores], ...])

with loop.fit(1) as fit:
    for epoch in fit.epochs():
        for batch in epoch.train(batches):
            assert_type(batch, TrainBatch[Tensor, Tensor, Tensor])
            turn = batch.turn(critic, batch.xb, batch.yb)
            assert_type(turn, Turn[Tensor, Tensor, Scores])
            assert_type(turn.xb, Tensor)
            assert_type(turn.cancelled, bool)
            with torch.no_grad():
                made = generator_net(turn.xb)
            out = turn.pred(Scores(critic_net(turn.xb), critic_net(made)))
            assert_type(out, TurnPredicted[Tensor, Tensor, Scores])
            assert_type(out.pred.fake, Tensor)
            assert_type(out.yb, Tensor)
            loss = out.loss((out.pred.fake - out.pred.real).mean())
            assert_type(loss, TurnLoss)
            assert_type(loss.value, Tensor)
            done = loss.backward()
            assert_type(done, TurnBackward)
            assert_type(done.cancelled, bool)
            done.step()

            # All in one line of calls, as it is mostly written, and over another payload.
            second = batch.turn(generator, batch.xb, (batch.xb, batch.yb))
            assert_type(second, Turn[Tensor, tuple[Tensor, Tensor], Tensor])
            moved = second.pred(generator_net(second.xb))
            moved.loss(generator_loss(moved.pred, moved.yb)).backward().step()

            # An objective may have several turns: the gradients of one without a step add to the next one's.
            for _ in range(2):
                again = batch.turn(generator, batch.xb, (batch.xb, batch.yb))
                more = again.pred(generator_net(again.xb))
                more.loss(generator_loss(more.pred, more.yb)).backward()
        for held_out in epoch.validate(batches):
            judged = held_out.turn(critic, held_out.xb, held_out.yb)
            assert_type(judged, ValidTurn[Tensor, Tensor, Scores])
            seen = judged.pred(Scores(critic_net(judged.xb), critic_net(judged.xb)))
            assert_type(seen, ValidPredicted[Tensor, Tensor, Scores])
            assert_type(seen.loss(seen.pred.real.mean()), Evaluated)


@dataclass(frozen=True)
class Counts(AnyCallback):
    """What needs a model and an optimizer may be given an objective."""

    learn: HasModelAndOpt


def counted(objective: Objective[Tensor, Tensor, Tensor]) -> Counts:
    """An objective is something with a model and an optimizer."""
    return Counts(objective)


made_by_function = Objective[Tensor, Tensor, Tensor](generator_net, SGD(generator_net.parameters()), cb_funcs=[counted])
