"""Old callbacks of several systems beside typed ones, and validations by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import pytest
from interop_bases import CourseBase, HandlerBase, RunnerBase, V1Base
from legacy_fits import Fit

from typedcb import AnyCallback, BatchEvent, CancelBatch
from typedcb.callbacks import GradientClip
from typedcb.interop.legacy import course, handler04, runner04, v1

ADAPTERS = [
    pytest.param(course, CourseBase, id="course"),
    pytest.param(runner04, RunnerBase, id="runner04"),
    pytest.param(handler04, HandlerBase, id="handler04"),
    pytest.param(v1, V1Base, id="v1"),
]


@pytest.mark.parametrize(("adapter", "base"), ADAPTERS)
def test_an_old_callback_that_does_nothing_changes_nothing(adapter: Any, base: Any) -> None:
    plain, ran = Fit().run(), Fit().run(partial(adapter, callbacks=base()))
    assert (ran.losses, ran.weights, ran.error, ran.warned) == (plain.losses, plain.weights, None, [])


def test_all_systems_run_side_by_side() -> None:
    plain = Fit().run()
    ran = Fit().run(*(partial(adapter, callbacks=[base(), base()]) for adapter, base in (p.values for p in ADAPTERS)))
    assert (ran.losses, ran.weights, ran.error, ran.warned) == (plain.losses, plain.weights, None, [])


@pytest.mark.parametrize(("adapter", "base"), ADAPTERS)
def test_a_validation_by_itself_runs_them_too(adapter: Any, base: Any) -> None:
    learn = Fit().run().learn
    before = learn.validate()
    learn.add(adapter, base())
    assert learn.validate() == before
    assert len(learn.predict()) == 2


@pytest.mark.parametrize(("adapter", "base"), ADAPTERS)
def test_a_batch_that_a_typed_callback_cancels_is_no_trouble(adapter: Any, base: Any) -> None:
    @dataclass(frozen=True)
    class CancelSecond(AnyCallback):
        order: ClassVar[int] = -1

        def begin_batch(self, event: BatchEvent) -> CancelBatch | None:
            return CancelBatch() if event.index == 1 else None

    def cancel(learn: object) -> CancelSecond:
        return CancelSecond()

    plain = Fit().run(cancel)
    ran = Fit().run(cancel, partial(adapter, callbacks=base()))
    assert (ran.losses, ran.weights, ran.error, ran.warned) == (plain.losses, plain.weights, None, [])


def test_a_typed_callback_clips_what_an_old_one_scaled() -> None:
    class Scale(CourseBase):
        def after_loss(self) -> None:
            if self.in_train:
                self.run.loss = self.loss * 1000

    norms: list[float] = []

    @dataclass(frozen=True)
    class Norms(AnyCallback):
        learn: Any

        def after_step(self, event: BatchEvent) -> None:
            norms.append(sum(float(p.grad.square().sum()) for p in self.learn.model.parameters()) ** 0.5)

    ran = Fit().run(partial(course, callbacks=Scale()), partial(GradientClip, clip=0.1), Norms, epochs=1)
    assert ran.error is None
    assert norms == pytest.approx([0.1] * 4, rel=1e-4)
