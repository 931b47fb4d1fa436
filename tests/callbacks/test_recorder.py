"""Recorder: the losses and hyperparameters of all training batches, whatever ends the fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from recorded import SCENARIOS, flat, learner, train_losses
from torch.optim import SGD

from typedcb import AnyCallback, LossEvent
from typedcb.callbacks import MOMENTUM, ParamScheduler, Recorder, linear


@dataclass(frozen=True)
class FailAt(AnyCallback):
    """Fails in one batch of the second epoch."""

    index: int

    def after_loss(self, event: LossEvent) -> None:
        if (event.epoch, event.index) == (1, self.index):
            raise RuntimeError("the test's")


def test_losses_learning_rates_and_weights_are_those_of_v1() -> None:
    recorded = SCENARIOS["v1cb/fit/normal(real Learner, SGD, wd=0)"]
    learn = learner()
    recorder = learn.add(Recorder)
    learn.fit(recorded["epochs"])
    assert list(recorder.losses) == pytest.approx(train_losses(recorded), rel=1e-6)
    assert [lr for (lr,) in recorder.params] == recorded["lr_per_batch"]
    assert recorder.epoch_ends.value == tuple(4 * (i + 1) for i in range(recorded["epochs"]))
    assert flat(learn.model) == pytest.approx(flat(recorded["weights"]), rel=1e-5, abs=1e-7)


def test_each_groups_value_of_another_hyperparameter() -> None:
    split = {"splitter": lambda net: [net[0].parameters(), net[2].parameters()]}
    learn = learner(opt_func=partial(SGD, lr=0.1, momentum=0.9), **split)
    learn.add(ParamScheduler, MOMENTUM, (linear(0.0, 0.8), linear(0.8, 0.0)))
    recorder = learn.add(Recorder, MOMENTUM)
    learn.fit(1)
    assert flat(list(map(list, recorder.params))) == pytest.approx([0.0, 0.8, 0.2, 0.6, 0.4, 0.4, 0.6, 0.2])


def test_what_was_computed_before_an_error_is_there() -> None:
    learn = learner()
    recorder = learn.add(Recorder)
    with pytest.raises(RuntimeError):
        learn.fit(2, cbs=[FailAt(2)])
    assert (len(recorder.losses), len(recorder.params), recorder.epoch_ends.value) == (7, 7, (4,))
    assert len(recorder.pending) == 0


def test_a_second_fit_begins_anew() -> None:
    learn = learner()
    recorder = learn.add(Recorder)
    learn.fit(2)
    learn.fit(1)
    assert (len(recorder.losses), recorder.epoch_ends.value) == (4, (4,))


def test_two_side_by_side_record_their_own() -> None:
    learn = learner(opt_func=partial(SGD, lr=0.1, momentum=0.9))
    lr, momentum = learn.add(Recorder), learn.add(Recorder, MOMENTUM)
    learn.fit(1)
    assert (lr.params[0], momentum.params[0]) == ((0.1,), (0.9,))
    assert lr.losses.value == momentum.losses.value


def test_the_picture_has_the_losses_and_the_parameter(tmp_path: Any) -> None:
    learn = learner()
    recorder = learn.add(Recorder)
    learn.fit(2)
    figure = recorder.plot()
    above, below = figure.axes
    assert list(above.lines[0].get_ydata()) == list(recorder.losses)
    assert list(below.lines[0].get_ydata()) == [0.1] * 8
    figure.savefig(tmp_path / "fit.png")
    assert (tmp_path / "fit.png").stat().st_size > 1000
