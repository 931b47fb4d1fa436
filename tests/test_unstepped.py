"""A training pass whose body forgets the step is told of; one that is meant, or is a callback's doing, is not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from recording import At, Recorder, answering
from tiny import Weight, own_loop, pairs, total
from torch.optim import LBFGS, SGD

from typedcb import CancelBatch, CancelEpoch, Loop, Objective, SkipBackward, SkipStep, UnsteppedWarning
from typedcb.callbacks import GradientAccumulation
from typedcb.needs import Parts

Body = Callable[[Any, Weight, SGD], None]


def run(body: Body, *cbs: Any, n: int = 3, epochs: int = 2, **settings: Any) -> list[str]:
    """What is warned of in a fit with some body."""
    model = Weight()
    opt = SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Loop[Any, Any, Any](list(cbs), **settings).fit(epochs) as fit:
            for epoch in fit.epochs():
                for batch in epoch.train(pairs(n)):
                    body(batch, model, opt)
    assert all(warning.category is UnsteppedWarning for warning in caught)
    assert all(warning.filename == __file__ for warning in caught), "it is the body's loop that is shown"
    return [str(warning.message) for warning in caught]


def lost(batch: Any, model: Weight) -> Any:
    out = batch.pred(model(batch.xb))
    return out.loss(total(out.pred, out.yb))


def by_the_book(batch: Any, model: Weight, opt: SGD) -> None:
    lost(batch, model).backward().step(opt)


def no_step(batch: Any, model: Weight, opt: SGD) -> None:
    lost(batch, model).backward()


def step_by_hand(batch: Any, model: Weight, opt: SGD) -> None:
    lost(batch, model).backward()
    opt.step()
    opt.zero_grad()


def no_backward(batch: Any, model: Weight, opt: SGD) -> None:
    lost(batch, model)


ON_SECOND = At("after_backward", lambda event: SkipStep() if event.index == 1 else None)


@pytest.mark.parametrize("cbs", [[], [Recorder()], [ON_SECOND]], ids=["nobody", "all", "some skipped"])
@pytest.mark.parametrize("body", [no_step, step_by_hand])
def test_a_body_that_never_steps_is_told_of_once_in_a_fit(body: Body, cbs: list[Any]) -> None:
    (told,) = run(body, *cbs)
    assert told.startswith("no batch of the training pass of epoch 0 was stepped on, by no callback's doing: the body")
    assert "without .step(opt), and its gradients are left there" in told
    assert "Write loss.backward().step(opt) in each batch" in told


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_body_that_never_steps_where_a_callback_accumulates_is_told_of(n: int) -> None:
    model = Weight()
    accumulation = GradientAccumulation(Parts(model, SGD(model.parameters(), lr=0.1)), n=2)
    assert len(run(no_step, accumulation, n=n)) == 1


@pytest.mark.parametrize("cbs", [[], [Recorder()]], ids=["nobody", "all"])
def test_a_body_that_never_goes_back_is_told_of(cbs: list[Any]) -> None:
    (told,) = run(no_backward, *cbs)
    assert "their bodies ended with a loss, without .backward().step(opt)" in told


def test_the_next_fit_of_the_same_loop_is_told_of_again() -> None:
    model, loop = Weight(), Loop[Any, Any, Any]()
    for _ in range(2):
        with pytest.warns(UnsteppedWarning), loop.fit(1) as fit:
            for epoch in fit.epochs():
                for batch in epoch.train(pairs(1)):
                    lost(batch, model).backward()


def by_hand(when: Callable[[int], bool]) -> Body:
    """A body that accumulates, and steps by itself."""

    def body(batch: Any, model: Weight, opt: SGD) -> None:
        done = lost(batch, model).backward()
        if when(batch.cursor.index):
            done.step(opt)

    return body


def without_gradients(batch: Any, model: Weight, opt: SGD) -> None:
    with torch.no_grad():
        lost(batch, model)


def predicting(batch: Any, model: Weight, opt: SGD) -> None:
    batch.pred(model(batch.xb))


def nothing(batch: Any, model: Weight, opt: SGD) -> None: ...


class Looks:
    """What stands for an optimizer where gradients are looked at, and no step is wanted."""

    def step(self) -> None: ...

    def zero_grad(self) -> None: ...


def looking(batch: Any, model: Weight, opt: SGD) -> None:
    lost(batch, model).backward().step(Looks())


class Closure:
    """LBFGS by a closure of one's own."""

    def __init__(self, batch: Any, model: Weight) -> None:
        self.opt = LBFGS(model.parameters(), lr=0.1, max_iter=2)
        self.batch, self.model = batch, model

    def step(self) -> None:
        self.opt.step(self._loss)

    def zero_grad(self) -> None:
        self.opt.zero_grad()

    def _loss(self) -> torch.Tensor:
        self.opt.zero_grad()
        loss = total(self.model(self.batch.xb), self.batch.yb).square()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        return loss


def by_closure(batch: Any, model: Weight, opt: SGD) -> None:
    lost(batch, model).backward().step(Closure(batch, model))


@pytest.mark.parametrize(
    "body",
    [
        by_the_book,
        by_hand(lambda index: index == 2),
        by_hand(lambda index: index == 0),
        by_hand(lambda index: index % 2 == 1),
        without_gradients,
        predicting,
        nothing,
        looking,
        by_closure,
    ],
)
@pytest.mark.parametrize("heard", [False, True])
def test_what_a_body_means_is_not_told_of(body: Body, heard: bool) -> None:
    assert run(body, *([Recorder()] if heard else [])) == []


@pytest.mark.parametrize(
    "callback",
    [
        At("after_backward", answering(SkipStep())),
        At("after_backward", answering(CancelBatch())),
        At("after_loss", answering(SkipBackward())),
        At("begin_batch", answering(CancelBatch())),
        At("after_pred", answering(CancelBatch())),
        At("begin_batch", answering(CancelEpoch())),
        At("after_backward", answering(CancelEpoch())),
    ],
)
def test_what_a_callback_leaves_out_is_not_told_of(callback: Any) -> None:
    assert run(by_the_book, callback) == []


def test_a_pass_that_is_left_by_a_break_is_not_told_of() -> None:
    model = Weight()
    with Loop[Any, Any, Any]().fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(3)):
                lost(batch, model).backward()
                break


def test_a_loop_with_objectives_steps_in_their_turns() -> None:
    model = Weight()
    one = Objective[Any, Any, Any](model, SGD(model.parameters(), lr=0.1))

    def turn(batch: Any, _: Weight, opt: SGD) -> None:
        out = batch.turn(one, batch.xb, batch.yb)
        pred = out.pred(model(out.xb))
        pred.loss(total(pred.pred, pred.yb)).backward().step()

    assert run(turn, objectives=[one]) == []
    assert one.steps == 6


def test_a_whole_loop_with_validations_is_not_told_of() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        own_loop(Loop(), n_epochs=2)
        own_loop(Loop([Recorder()]), n_epochs=2)
    assert caught == []
