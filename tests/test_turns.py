"""Several objectives in one batch: who hears what, whose gradients are computed, and what a Cancel or Skip ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from recording import At, Recorder, answering, raising
from tiny import Weight, pairs
from torch import Tensor, nn
from torch.optim import LBFGS, SGD
from torch.optim.lr_scheduler import StepLR
from typing_extensions import override

from typedcb import (
    AfterEpoch,
    AnyCallback,
    CallbackError,
    CancelBatch,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    Cell,
    Completed,
    DependencyError,
    Failed,
    Loop,
    LoopError,
    Objective,
    SkipBackward,
    SkipStep,
    SkipZeroGrad,
    cell,
)
from typedcb.callbacks import (
    LR,
    AvgStats,
    EarlyStopping,
    GradientAccumulation,
    GradientClip,
    MixedPrecision,
    ParamScheduler,
    SmoothLoss,
    TorchScheduler,
    linear,
)
from typedcb.errors import BatchError
from typedcb.position import Position, Resumption
from typedcb.trace import Trace, read


def objective(name: str, *cbs: Any, lr: float = 1.0, **kwargs: Any) -> Objective[Any, Any, Any, Weight]:
    model = Weight()
    return Objective(model, SGD(model.parameters(), lr=lr), list(cbs), name=name, **kwargs)


def take_turn(batch: Any, one: Objective[Any, Any, Any, Weight], scale: float = 1.0) -> Any:
    """A whole turn, whose gradient is the batch's x times `scale`."""
    turn = batch.turn(one, batch.xb, batch.yb)
    out = turn.pred(one.model(turn.xb))
    out.loss((out.pred * out.yb).sum() * scale).backward().step()
    return turn


def run(loop: Loop[Any, Any, Any], *turns: Objective[Any, Any, Any, Weight], n: int = 2, n_epochs: int = 1) -> Any:
    """A fit whose batches give each of these a turn."""
    with loop.fit(n_epochs) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(n)):
                for one in turns:
                    take_turn(batch, one)
    return fit.outcome


def body(loop: Loop[Any, Any, Any], n: int = 1) -> Iterator[Any]:
    """The training batches of one epoch, inside of a fit."""
    with loop.fit(1) as fit:
        for epoch in fit.epochs():
            yield from epoch.train(pairs(n))


TURN = ["begin_batch", "after_pred", "after_loss", "after_backward", "after_step", "after_batch"]
AROUND = (["begin_fit", "begin_epoch"], ["after_epoch", "after_fit"])


# ------------------------------------------------------------------------------------------------ who hears what


def test_each_objectives_callbacks_hear_its_turns_alone_and_the_fit_with_everybody() -> None:
    whole, mine, other = Recorder(), Recorder(), Recorder()
    a, b = objective("a", mine), objective("b", other)
    outcome = run(Loop([whole], objectives=[a, b]), a, b, a)
    begins, ends = AROUND
    assert isinstance(outcome, Completed)
    assert whole.hooks == [*begins, *["begin_batch", "after_batch"] * 2, *ends]
    assert mine.hooks == [*begins, *TURN * 4, *ends]
    assert other.hooks == [*begins, *TURN * 2, *ends]


def test_an_event_holds_what_the_turn_was_given_and_the_batchs_place() -> None:
    mine = Recorder()
    a = objective("a", mine)
    for batch in body(Loop(objectives=[a]), 2):
        turn = batch.turn(a, "inputs", "targets")
        turn.pred({"score": a.model(batch.xb)})
    first, second = mine.of("after_pred")
    assert (first.xb, first.yb, list(first.pred)) == ("inputs", "targets", ["score"])
    assert (second.phase, second.epoch, second.index, second.n_batches, second.step) == ("train", 0, 1, 2, 0)


def test_step_counts_the_objectives_own_steps() -> None:
    often, seldom = Recorder(), Recorder()
    a, b = objective("a", often), objective("b", seldom)
    with Loop[Any, Any, Any](objectives=[a, b]).fit(2) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(2)):
                take_turn(batch, a)
                take_turn(batch, a)
                if batch.cursor.index:
                    take_turn(batch, b)
                assert fit.steps == 0, "the batch itself was not stepped on"
    assert [event.step for event in often.of("begin_batch")] == list(range(8))
    assert [event.step for event in often.of("after_step")] == list(range(8))
    assert [event.step for event in seldom.of("begin_batch")] == [0, 1]
    assert (a.steps, b.steps) == (8, 2)


def test_a_second_fit_counts_afresh() -> None:
    a = objective("a", Recorder())
    loop = Loop[Any, Any, Any](objectives=[a])
    run(loop, a)
    run(loop, a)
    assert a.steps == 2


def test_in_validation_a_turn_has_a_prediction_and_a_loss() -> None:
    mine, stats = Recorder(), AvgStats()
    a = objective("a", mine, stats)
    with Loop[Any, Any, Any](objectives=[a]).fit(1) as fit:
        for epoch in fit.epochs():
            for held_out in epoch.validate(pairs(2)):
                turn = held_out.turn(a, held_out.xb, held_out.yb)
                assert not turn.cancelled
                assert turn.pred(a.model(turn.xb)).loss(held_out.xb.sum()).value.item() == held_out.xb.item()
    events = ["begin_batch", "after_pred", "after_loss", "after_batch"] * 2
    assert mine.hooks[2:-2] == ["begin_validate", *events, "after_validate"]
    assert stats.valid_loss.value == 1.5
    assert a.steps == 0


def test_what_callbacks_make_of_a_turn_is_what_the_body_gets() -> None:
    a = objective(
        "a",
        At("begin_batch", lambda event: event.with_batch(event.xb + 10, event.yb + 20)),
        At("after_pred", lambda event: event.with_pred(event.pred * 2)),
        At("after_loss", lambda event: event.with_loss(event.loss * 3)),
    )
    for batch in body(Loop(objectives=[a])):
        turn = batch.turn(a, batch.xb, batch.yb)
        assert (turn.xb.item(), turn.yb.item()) == (11, 21)
        assert (batch.xb.item(), batch.yb.item()) == (1, 1)
        out = turn.pred(a.model(turn.xb))
        assert (out.xb.item(), out.yb.item(), out.pred.item()) == (11, 21, 22)
        loss = out.loss(out.pred.sum())
        assert loss.value.item() == 66
        loss.backward().step()
    assert a.model.w.item() == 1 - 66


def test_a_batch_may_have_a_step_of_its_own_beside_the_turns() -> None:
    whole, mine, main = Recorder(), Recorder(), Weight()
    a = objective("a", mine)
    opt = SGD(main.parameters(), lr=1.0)
    with Loop[Any, Any, Any]([whole], objectives=[a]).fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(2)):
                take_turn(batch, a)
                out = batch.pred(main(batch.xb))
                out.loss(out.pred.sum()).backward().step(opt)
    assert whole.hooks == [*AROUND[0], *TURN * 2, *AROUND[1]]
    assert mine.hooks == whole.hooks
    assert (main.w.item(), a.model.w.item(), fit.steps, a.steps) == (-2, -2, 2, 2)


def test_a_loop_that_nobody_listens_to_still_ends_the_turns_of_stepped_batches() -> None:
    mine, main = Recorder(), Weight()
    a = objective("a", mine)
    opt = SGD(main.parameters(), lr=1.0)
    for batch in body(Loop(objectives=[a]), 3):
        take_turn(batch, a)
        out = batch.pred(main(batch.xb))
        out.loss(out.pred.sum()).backward().step(opt)
    assert [seen.index for seen in mine.seen if seen.hook == "after_batch"] == [0, 1, 2]


def test_turns_of_two_objectives_may_stand_in_each_other() -> None:
    a, b = objective("a", Recorder()), objective("b", Recorder())
    for batch in body(Loop(objectives=[a, b])):
        first, second = batch.turn(a, batch.xb, batch.yb), batch.turn(b, batch.xb, batch.yb)
        out, other = first.pred(a.model(first.xb)), second.pred(b.model(second.xb))
        loss, other_loss = out.loss(out.pred.sum()), other.loss(other.pred.sum() * 2)
        done, other_done = loss.backward(), other_loss.backward()
        other_done.step()
        done.step()
    assert (a.model.w.item(), b.model.w.item()) == (0, -1)


# ------------------------------------------------------------------------------------------------------ gradients


def test_backward_reaches_the_objectives_own_parameters_alone() -> None:
    critic, generator = objective("critic"), objective("generator")
    for batch in body(Loop(objectives=[critic, generator])):
        turn = batch.turn(generator, batch.xb, batch.yb)
        out = turn.pred(critic.model(generator.model(turn.xb)))
        done = out.loss(out.pred.sum()).backward()
        assert critic.model.w.grad is None
        assert generator.model.w.grad is not None
        done.step()
        assert generator.model.w.grad is None
    assert (critic.model.w.item(), generator.model.w.item()) == (1, 0)


def test_the_gradients_of_turns_without_a_step_add_up() -> None:
    a = objective("a", Recorder())
    for batch in body(Loop(objectives=[a])):
        for scale in (1.0, 10.0):
            turn = batch.turn(a, batch.xb, batch.yb)
            out = turn.pred(a.model(turn.xb))
            done = out.loss(out.pred.sum() * scale).backward()
        done.step()
    assert a.model.w.item() == 1 - 11
    assert a.steps == 1


def test_a_gradient_penalty_is_a_term_of_the_loss() -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    twin = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    twin.load_state_dict(net.state_dict())

    class Scores(NamedTuple):
        real: Tensor
        fake: Tensor
        slope: Tensor

    def judged(net: nn.Module, real: Tensor, fake: Tensor) -> Scores:
        between = ((real + fake) / 2).requires_grad_()
        (slope,) = torch.autograd.grad(net(between).sum(), between, create_graph=True)
        return Scores(net(real), net(fake), slope.norm(dim=1))

    def penalized(scores: Scores) -> Tensor:
        return scores.fake.mean() - scores.real.mean() + ((scores.slope - 1) ** 2).mean()

    real, fake = torch.ones(3, 2), torch.zeros(3, 2)
    seen = Recorder()
    critic = Objective[Tensor, Tensor, Scores](net, SGD(net.parameters(), lr=0.5), [seen])
    with Loop[Tensor, Tensor](objectives=[critic]).fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train([(real, fake)]):
                turn = batch.turn(critic, batch.xb, batch.yb)
                out = turn.pred(judged(net, turn.xb, turn.yb))
                out.loss(penalized(out.pred)).backward().step()
    penalized(judged(twin, real, fake)).backward()
    SGD(twin.parameters(), lr=0.5).step()
    assert all(torch.equal(mine, other) for mine, other in zip(net.parameters(), twin.parameters(), strict=True))
    (stepped,) = seen.of("after_step")
    assert not any(scores.requires_grad for scores in stepped.pred), "detached, every one of them"


def test_a_loss_without_a_graph_is_refused_in_words() -> None:
    critic = objective("critic")
    no_graph = pytest.raises(BatchError, match=r"the loss has no graph.*detached")
    with no_graph as refused, Loop[Any, Any](objectives=[critic]).fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(1)):
                turn = batch.turn(critic, batch.xb, batch.yb)
                out = turn.pred(critic.model(turn.xb).detach())
                out.loss(out.pred.mean()).backward().step()
    assert "typedcb: in the turn of critic" in refused.value.__notes__


def test_a_loss_that_reaches_none_of_the_parameters_is_refused() -> None:
    critic, generator = objective("critic"), objective("generator")
    with pytest.raises(LoopError, match="the loss of generator depends on none of the 1 parameters") as refused:
        for batch in body(Loop(objectives=[critic, generator])):
            turn = batch.turn(generator, batch.xb, batch.yb)
            out = turn.pred(critic.model(generator.model(turn.xb).detach()))
            out.loss(out.pred.sum()).backward()
    assert "is it another objective's loss, or was something on the way detached?" in str(refused.value)


@pytest.mark.parametrize("n_left", [1, 2])
def test_a_loss_that_reaches_none_is_refused_where_a_turn_before_has_left_gradients(n_left: int) -> None:
    critic, generator = objective("critic"), objective("generator")
    seen: list[float] = []
    with pytest.raises(LoopError, match="the loss of generator depends on none of the 1 parameters"):
        for batch in body(Loop(objectives=[critic, generator])):
            for _ in range(n_left):
                turn = batch.turn(generator, batch.xb, batch.yb)
                out = turn.pred(generator.model(turn.xb))
                out.loss(out.pred.sum()).backward()
                seen += [float(weight.grad.sum()) for weight in generator.model.parameters() if weight.grad is not None]
            turn = batch.turn(generator, batch.xb, batch.yb)
            out = turn.pred(critic.model(turn.xb))
            out.loss(out.pred.sum()).backward()
    assert seen == [seen[0] * n for n in range(1, n_left + 1)], "turns that reach them add to what was left"


def test_an_objective_that_is_frozen_whole_is_refused() -> None:
    a = objective("a")
    a.model.requires_grad_(False)
    with pytest.raises(LoopError, match="the optimizer of a has no parameter that requires a gradient"):
        for batch in body(Loop(objectives=[a])):
            take_turn(batch, a)


@pytest.mark.parametrize("loss", [torch.ones(3, requires_grad=True), 1.5])
def test_a_loss_that_is_no_scalar_tensor_is_refused(loss: Any) -> None:
    a = objective("a")
    with pytest.raises(BatchError, match="has to be a scalar tensor"):
        for batch in body(Loop(objectives=[a])):
            batch.turn(a, batch.xb, batch.yb).pred(batch.xb).loss(loss)


# ------------------------------------------------------------------------------------------------- skips and cancels


@pytest.mark.parametrize(
    ("hook", "skip", "stepped"),
    [
        ("after_loss", SkipBackward(), -2.0),
        ("after_backward", SkipStep(), -2.0),
        ("after_step", SkipZeroGrad(), -2.0),
    ],
)
def test_a_skip_is_for_the_turn_that_it_was_answered_in(hook: str, skip: Any, stepped: float) -> None:
    a, b = objective("a", At(hook, answering(skip), index=0)), objective("b")
    run(Loop(objectives=[a, b]), a, b)
    assert b.model.w.item() == 1 - 1 - 2
    assert a.model.w.item() == {"after_loss": 1 - 2, "after_backward": 1 - 3, "after_step": 1 - 1 - 3}[hook]


@pytest.mark.parametrize("hook", ["begin_batch", "after_pred", "after_loss", "after_backward", "after_step"])
def test_cancel_batch_ends_the_turn_and_nothing_else(hook: str) -> None:
    mine, whole, other = Recorder(), Recorder(), Recorder()
    a, b = objective("a", mine, At(hook, answering(CancelBatch()), index=0)), objective("b", other)
    run(Loop([whole], objectives=[a, b]), a, b)
    first = [seen.hook for seen in mine.seen if seen.index == 0]
    assert first == [*TURN[: TURN.index(hook) + 1], "after_cancel_batch", "after_batch"]
    assert whole.hooks == [*AROUND[0], *["begin_batch", "after_batch"] * 2, *AROUND[1]]
    assert other.hooks == [*AROUND[0], *TURN * 2, *AROUND[1]]
    assert b.model.w.item() == 1 - 3
    assert a.model.w.item() == 1 - 2 - (hook == "after_step")
    assert a.model.w.grad is None, "dropped"


@pytest.mark.parametrize("cancel", [CancelEpoch(), CancelTrain()], ids=lambda cancel: type(cancel).__name__)
@pytest.mark.parametrize("hook", ["begin_batch", "after_pred", "after_loss", "after_backward", "after_step"])
def test_a_cancel_for_more_than_the_turn_ends_the_turns_that_follow_too(hook: str, cancel: Any) -> None:
    mine, whole, other = Recorder(), Recorder(), Recorder()
    a, b = objective("a", mine, At(hook, answering(cancel))), objective("b", other)
    loop = Loop[Any, Any, Any]([whole], objectives=[a, b])
    with loop.fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(2)):
                assert take_turn(batch, a).cancelled
                assert take_turn(batch, b).cancelled
    ends = {CancelEpoch: ["after_cancel_epoch", "after_epoch"], CancelTrain: ["after_cancel_train"]}[type(cancel)]
    assert whole.hooks == ["begin_fit", "begin_epoch", "begin_batch", "after_batch", *ends, "after_fit"]
    assert mine.hooks[2:] == [*TURN[: TURN.index(hook) + 1], "after_batch", *ends, "after_fit"]
    assert other.hooks == ["begin_fit", "begin_epoch", *ends, "after_fit"]
    assert isinstance(fit.outcome, Completed if isinstance(cancel, CancelEpoch) else Cancelled)
    assert b.model.w.item() == 1


@pytest.mark.parametrize("cancel", [CancelEpoch(), CancelTrain()], ids=lambda cancel: type(cancel).__name__)
def test_a_cancel_from_the_end_of_a_turn_reaches_the_batch(cancel: Any) -> None:
    whole = Recorder()
    a, b = objective("a", At("after_batch", answering(cancel))), objective("b")
    run(Loop([whole], objectives=[a, b]), a, b)
    assert whole.hooks.count("begin_batch") == 1
    assert b.model.w.item() == 0, "the turn of a ended with the batch, after that of b"


def test_a_cancel_from_the_end_of_a_turn_leaves_out_the_objectives_next() -> None:
    whole, mine = Recorder(), Recorder()
    a = objective("a", mine, At("after_batch", answering(CancelEpoch())))
    run(Loop([whole], objectives=[a]), a, a, a)
    assert mine.hooks[2:-2] == [*TURN, "after_cancel_epoch"]
    assert whole.hooks[2:-2] == ["begin_batch", "after_batch", "after_cancel_epoch"]


def test_the_strongest_cancel_of_a_batchs_turns_is_taken() -> None:
    a = objective("a", At("after_batch", answering(CancelTrain("all"))))
    b = objective("b", At("after_batch", answering(CancelEpoch())))
    for order in ([a, b], [b, a]):
        outcome = run(Loop(objectives=order), a, b)
        assert isinstance(outcome, Cancelled)
        assert outcome.cancel.reason == "all"


def test_a_cancel_batch_of_the_loops_own_leaves_out_the_turns() -> None:
    mine = Recorder()
    a = objective("a", mine)
    run(Loop([At("begin_batch", answering(CancelBatch()), index=0)], objectives=[a]), a)
    assert [seen.index for seen in mine.seen if seen.hook == "begin_batch"] == [1]


def test_turns_after_the_batchs_own_cancel_do_nothing() -> None:
    mine = Recorder()
    a = objective("a", mine)
    for batch in body(Loop([At("after_pred", answering(CancelBatch()))], objectives=[a])):
        batch.pred(batch.xb)
        assert take_turn(batch, a).cancelled
    assert mine.hooks == [*AROUND[0], *AROUND[1]]
    assert a.model.w.item() == 1


# ------------------------------------------------------------------------------------------------- mistakes and errors


def test_each_of_a_turns_calls_comes_once_and_in_turn() -> None:
    a = objective("a", Recorder())
    for batch in body(Loop(objectives=[a])):
        turn = batch.turn(a, batch.xb, batch.yb)
        scope: Any = turn.cursor
        for call in ("backward", "step"):
            with pytest.raises(LoopError, match=rf"{call} is out of turn \(the turn of a, epoch 0, batch 0, train\)"):
                getattr(scope, call)()
        with pytest.raises(LoopError, match="loss is out of turn"):
            scope.loss(torch.ones(()))
        out = turn.pred(a.model(turn.xb))
        with pytest.raises(LoopError, match="pred is out of turn"):
            turn.pred(out.pred)
        loss = out.loss(out.pred.sum())
        with pytest.raises(LoopError, match="loss is out of turn"):
            out.loss(out.pred.sum())
        done = loss.backward()
        with pytest.raises(LoopError, match="backward is out of turn"):
            loss.backward()
        done.step()
        with pytest.raises(LoopError, match="step is out of turn"):
            done.step()
    assert a.steps == 1


def test_a_turn_ends_with_the_objectives_next_and_with_the_batch() -> None:
    a = objective("a", Recorder())
    kept = []
    for batch in body(Loop(objectives=[a]), 2):
        first = batch.turn(a, batch.xb, batch.yb)
        kept.append(batch.turn(a, batch.xb, batch.yb))
        with pytest.raises(LoopError, match=r"\(the turn of a, epoch 0, batch ., train\) has ended"):
            first.pred(batch.xb)
    with pytest.raises(LoopError, match="has ended"):
        kept[0].pred(torch.ones(1))
    with pytest.raises(LoopError, match=r"this batch .* has ended: batch\.turn belongs inside the body"):
        batch.turn(a, batch.xb, batch.yb)


def test_an_objective_of_no_loop_or_of_another_gets_no_turn() -> None:
    here, elsewhere = objective("here"), objective("elsewhere")
    other = Loop[Any, Any, Any](objectives=[elsewhere])
    for batch in body(Loop(objectives=[here])):
        for stranger in (elsewhere, objective("unheard of")):
            with pytest.raises(LoopError, match=r"no objective of this loop: .*Loop\(\.\.\., objectives="):
                batch.turn(stranger, batch.xb, batch.yb)
    assert other.objectives == (elsewhere,)


def test_an_objective_belongs_to_one_loop_and_stands_there_once() -> None:
    a = objective("a")
    loop = Loop[Any, Any, Any](objectives=[a])
    with pytest.raises(CallbackError, match="this Objective is attached to another loop"):
        Loop(objectives=[a])
    b = objective("b")
    with pytest.raises(CallbackError, match="this Objective is attached to this loop twice"):
        Loop(objectives=[b, b])
    assert Loop(objectives=[b]).objectives == (b,), "the failed one holds nothing"
    assert loop.objectives == (a,)


def test_a_callback_stands_with_one_objective() -> None:
    shared = Recorder()
    with pytest.raises(CallbackError, match="this Recorder is attached to this loop twice"):
        Loop(objectives=[objective("a", shared), objective("b", shared)])
    with pytest.raises(CallbackError, match="this Recorder is attached to this loop twice"):
        Loop([shared], objectives=[objective("a", shared)])


def test_a_callback_that_was_made_for_another_objective_is_refused() -> None:
    generator = objective("generator")
    with pytest.raises(CallbackError, match=r"GradientClip\.learn is another objective than the one whose turns"):
        objective("critic", GradientClip(generator, clip=1.0))


def test_what_is_no_callback_is_refused() -> None:
    with pytest.raises(CallbackError, match="Recorder in cbs is a class"):
        Loop(objectives=[objective("a", Recorder)])
    with pytest.raises(CallbackError, match=r"Recorder in cb_funcs is an instance, .* called with the objective"):
        objective("a", cb_funcs=[Recorder()])
    with pytest.raises(CallbackError, match=r"made None, which is no callback: .* called with the objective"):
        objective("a", cb_funcs=[lambda objective: None])


@pytest.mark.parametrize("hook", TURN)
def test_an_error_of_a_hook_says_in_whose_turn_and_ends_all_turns(hook: str) -> None:
    whole, mine, other = Recorder(), Recorder(), Recorder()
    a, b = objective("a", mine, At(hook, raising(ZeroDivisionError))), objective("b", other)
    with pytest.raises(ZeroDivisionError) as raised:
        run(Loop([whole], objectives=[a, b]), b, a)
    assert raised.value.__notes__ == [f"typedcb: in At.{hook}, epoch 0, batch 0, train", "typedcb: in the turn of a"]
    for recorder in (whole, mine, other):
        assert recorder.hooks.count("begin_batch") == recorder.hooks.count("after_batch") == 1
        assert isinstance(recorder.of("after_fit")[0].outcome, Failed)
        if hook != "after_batch":
            assert recorder.of("after_batch")[0].error is raised.value


def test_an_error_of_the_body_ends_the_turns_with_it() -> None:
    mine, never = Recorder(), Recorder()
    a, b = objective("a", mine), objective("b", never)
    with pytest.raises(ZeroDivisionError) as raised, Loop[Any, Any, Any](objectives=[a, b]).fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(1)):
                batch.turn(a, batch.xb, batch.yb).pred(batch.xb)
                raise ZeroDivisionError
    assert mine.hooks[-2:] == ["after_batch", "after_fit"]
    assert mine.of("after_batch")[0].error is raised.value
    assert "after_batch" not in never.hooks
    assert raised.value.__notes__ == ["typedcb: in epoch 0, batch 0, train"]


def test_errors_of_ending_the_turns_are_raised_together() -> None:
    a = objective("a", At("after_batch", raising(ZeroDivisionError)))
    b = objective("b", At("after_batch", raising(KeyError)))
    with pytest.raises(ExceptionGroup) as raised, Loop[Any, Any, Any](objectives=[a, b]).fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(1)):
                take_turn(batch, a)
                take_turn(batch, b)
                raise OSError("the body")
    assert [type(error) for error in raised.value.exceptions] == [OSError, ZeroDivisionError, KeyError]


def test_a_break_ends_the_turns() -> None:
    mine = Recorder()
    a = objective("a", mine)
    with Loop[Any, Any, Any](objectives=[a]).fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(3)):
                take_turn(batch, a)
                break
    assert mine.hooks == [*AROUND[0], *TURN, *AROUND[1]]


# ------------------------------------------------------------------------------------ the ready-made ones, in turns


def test_each_objectives_ready_made_callbacks_work_on_its_own_model_and_optimizer() -> None:
    def made(name: str, *cbs: Any) -> Objective[Any, Any, Any, Weight]:
        rate = partial(ParamScheduler, param=LR, schedule=linear(1.0, 0.0))
        return objective(name, *cbs, cb_funcs=[partial(GradientClip, clip=1.5), rate])

    first, second, smooth = AvgStats(), AvgStats(), SmoothLoss()
    a, b = made("a", first), made("b", second, smooth)
    with Loop[Any, Any, Any](objectives=[a, b]).fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(2)):
                take_turn(batch, a)
                take_turn(batch, b, scale=-0.5)
    # a: gradients 1 and 2, the second clipped to 1.5; rates 1 and 0.5
    assert a.model.w.item() == pytest.approx(1 - 1 * 1 - 0.5 * 1.5)
    assert b.model.w.item() == pytest.approx(1 + 1 * 0.5 + 0.5 * 1)
    assert first.train_loss.value == pytest.approx((1 * 1 + 0 * 2) / 2)
    assert second.train_loss.value == pytest.approx((-0.5 * 1 - 0.5 * 2 * 1.5) / 2)
    assert smooth.count.value == 2


def test_accumulation_holds_one_objectives_gradients() -> None:
    a = objective("a", cb_funcs=[partial(GradientAccumulation, n=2)])
    b = objective("b")
    run(Loop(objectives=[a, b]), a, b, n=4)
    assert (a.steps, b.steps) == (2, 4)
    assert a.model.w.item() == 1 - (1 + 2) / 2 - (3 + 4) / 2
    assert b.model.w.item() == 1 - 10


def test_a_scheduler_of_torch_follows_its_own_optimizer() -> None:
    halves: Callable[[Any], Any] = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    a = objective("a", cb_funcs=[partial(TorchScheduler, factory=halves, every="epoch")], lr=1.0)
    b = objective("b", lr=1.0)
    run(Loop(objectives=[a, b]), a, b, n_epochs=2)
    assert (a.model.w.item(), b.model.w.item()) == (1 - 3 - 3 * 0.5, 1 - 3 - 3)


def test_half_precision_is_one_objectives() -> None:
    kinds = []
    a = objective("a", At("after_pred", lambda event: kinds.append(event.pred.dtype)), cb_funcs=[MixedPrecision])
    for batch in body(Loop(objectives=[a])):
        turn = batch.turn(a, batch.xb, batch.yb)
        out = turn.pred(nn.functional.linear(turn.xb[None], a.model.w.reshape(1, 1)))
        out.loss(out.pred.float().sum()).backward().step()
        kinds.append(nn.functional.linear(batch.xb[None], a.model.w.reshape(1, 1)).dtype)
    assert kinds == [torch.bfloat16, torch.float32]


def test_a_callback_of_the_loop_may_depend_on_what_an_objective_measures() -> None:
    stats = AvgStats()
    a = objective("a", stats)
    stop = EarlyStopping(stats.train_loss, mode="max", patience=1)
    outcome = run(Loop([stop], objectives=[a]), a, n_epochs=5)
    assert isinstance(outcome, Cancelled)
    with pytest.raises(DependencyError, match=r"reads AvgStats\.train_loss, whose AvgStats is not attached"):
        Loop([EarlyStopping(AvgStats().train_loss, mode="min", patience=1)], objectives=[objective("b")])


def test_objectives_may_depend_on_each_other_and_run_in_that_order() -> None:
    stats = AvgStats()
    reads = Reads(stats)
    first, second = objective("first", reads), objective("second", stats)
    run(Loop(objectives=[first, second]), first, second)
    assert reads.read.value == 0.5, "what the epoch came to, though the other stands behind"


@dataclass(frozen=True)
class Reads(AnyCallback):
    """Reads another callback's figure at the end of an epoch."""

    stats: AvgStats
    read: Cell[float] = cell(0.0)

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        self.read.value = self.stats.train_loss.value


def test_cells_of_an_objectives_callbacks_reset_with_the_fit() -> None:
    smooth = SmoothLoss()
    a = objective("a", smooth)
    loop = Loop[Any, Any, Any](objectives=[a])
    run(loop, a)
    run(loop, a)
    assert smooth.count.value == 2


# ------------------------------------------------------------------------------------------------ where a fit stands


def test_the_position_has_the_steps_of_each_objective_and_a_fit_goes_on_from_them() -> None:
    mine = Recorder()
    a, b = objective("a", mine), objective("b")
    loop = Loop[Any, Any, Any](objectives=[a, b])
    with loop.fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(2)):
                take_turn(batch, a)
                take_turn(batch, a)
                take_turn(batch, b)
                left = loop.position
            assert loop.position == left == Position(0, "train", 2, 0, (4, 2))
    assert left
    with loop.fit(1, resume=Resumption(left, lambda: None, lambda: 2, lambda: None)) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(3)):
                take_turn(batch, a)
    assert mine.of("begin_batch")[-1].step == 4
    assert (a.steps, b.steps) == (5, 2)


def test_a_trace_of_the_loop_records_the_turns_of_all_objectives(tmp_path: Path) -> None:
    a, b = objective("a", SmoothLoss()), objective("b", AvgStats())
    run(Loop([Trace(a, tmp_path / "trace")], objectives=[a, b]), a, b, n=1)
    (traced,) = read(tmp_path / "trace").runs
    assert [event.hook for event in traced.events] == [
        *(*AROUND[0], "begin_batch", *TURN[:-1], *TURN[:-1], *["after_batch"] * 3, *AROUND[1])
    ]
    assert [len(event.calls) for event in traced.events if event.hook == "after_loss"] == [1, 1]


def test_an_objective_refuses_an_optimizer_that_wants_a_closure() -> None:
    net = nn.Linear(1, 1)
    with pytest.raises(LoopError, match=r"LBFGS\.step wants closure"):
        Objective[Tensor, Tensor, Tensor](net, LBFGS(net.parameters()))


def test_an_optimizer_that_a_scheduler_of_torch_has_changed_before_is_no_such_one() -> None:
    net = nn.Linear(1, 1)
    opt = SGD(net.parameters(), lr=0.1)
    StepLR(opt, 1)  # its function in place of opt.step shows a self in its signature
    assert Objective[Tensor, Tensor, Tensor](net, opt).opt is opt
