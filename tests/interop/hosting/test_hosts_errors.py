"""However a trainer's fit ends, after_fit is told, and an error says where it happened."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from driving import DRIVERS, Driver, driver
from five import TASK
from recording import At, Recorder, raising
from torch import Tensor, nn

from typedcb import AfterBatch, AfterStep, AnyCallback, Completed, Failed, LossEvent, OnlyBegun
from typedcb.interop.hosting import Hosting


class Oops(Exception):
    """What goes wrong."""


class Breaks(nn.Module):
    """A model whose n-th call fails."""

    def __init__(self, nth: int, error: BaseException) -> None:
        super().__init__()
        self.inner = TASK.model()
        self.left = nth
        self.error = error

    def forward(self, xb: Tensor) -> Tensor:
        self.left -= 1
        if not self.left:
            raise self.error
        pred: Tensor = self.inner(xb)
        return pred


def notes(error: BaseException) -> list[str]:
    return [note for note in getattr(error, "__notes__", []) if note.startswith("typedcb")]


def run(host: Driver, hosting: Hosting[Any, Any, Any], **changes: Any) -> None:
    host.fit(TASK.count(**changes), hosting, **({"num_sanity_val_steps": 0} if host.name == "lightning" else {}))


@pytest.mark.parametrize("name", DRIVERS)
def test_an_error_in_a_hook_ends_the_fit_with_its_place(name: str) -> None:
    host, told, error = driver(name), Recorder(), Oops("in a hook")
    hosting = host.hosting(told, At("after_loss", raising(error), epoch=1, index=2, phase="train"))
    with pytest.raises(Oops) as raised:
        run(host, hosting)
    assert raised.value is error
    assert notes(error) == ["typedcb: in At.after_loss, epoch 1, batch 2, train"]
    assert told.hooks[-2:] == ["after_batch", "after_fit"]
    assert told.events[-2].error is error
    assert isinstance(hosting.outcome, Failed)
    assert hosting.outcome.error is error


@pytest.mark.parametrize("name", DRIVERS)
def test_an_error_in_the_model_ends_the_fit_with_its_place(name: str) -> None:
    host, told, error = driver(name), Recorder(), Oops("in the model")
    hosting = host.hosting(told)
    with pytest.raises(Oops, match="in the model") as raised:  # Keras raises another one of its class
        run(host, hosting, model=lambda: Breaks(len(TASK.train) + 1, error))
    assert notes(raised.value) == ["typedcb: in epoch 0, batch 0, valid"]
    assert told.hooks[-2:] == ["after_batch", "after_fit"]
    assert told.events[-1].outcome.error is raised.value


@dataclass(frozen=True)
class LossAndEnd(AnyCallback):
    """Hears no more of a batch than its loss and its end, so that adapters take their shortest way."""

    ended: Annotated[list[AfterBatch[object, object, object]], "what the test looks at"]

    def after_loss(self, event: LossEvent) -> None: ...

    def after_batch(self, event: AfterBatch[object, object, object]) -> None:
        self.ended.append(event)


@pytest.mark.parametrize("name", DRIVERS)
def test_an_error_in_the_model_is_told_to_those_who_hear_little(name: str) -> None:
    host, error = driver(name), Oops("in the model")
    ended: list[AfterBatch[object, object, object]] = []
    with pytest.raises(Oops, match="in the model") as raised:
        run(host, host.hosting(LossAndEnd(ended)), model=lambda: Breaks(3, error))
    assert notes(raised.value) == ["typedcb: in epoch 0, batch 2, train"]
    assert len(ended) == 3
    assert [type(event.reached) for event in ended] == [AfterStep, AfterStep, OnlyBegun]
    assert [event.error for event in ended] == [None, None, raised.value]


@pytest.mark.parametrize("name", DRIVERS)
def test_ctrl_c_ends_the_fit_with_its_place(name: str) -> None:
    host, told, error = driver(name), Recorder(), KeyboardInterrupt()
    hosting = host.hosting(told)
    with contextlib.suppress(KeyboardInterrupt, SystemExit):  # skorch keeps it to itself, and Lightning exits
        run(host, hosting, model=lambda: Breaks(2, error))
    assert isinstance(hosting.outcome, Failed)
    assert hosting.outcome.error is error
    assert notes(error) == ["typedcb: in epoch 0, batch 1, train"]
    assert told.hooks[-1] == "after_fit"


@pytest.mark.parametrize("name", DRIVERS)
def test_what_goes_wrong_in_the_end_is_raised_beside_the_error(name: str) -> None:
    host = driver(name)
    first, second, last = Oops("first"), Oops("second"), Recorder()
    hosting = host.hosting(At("after_step", raising(first)), At("after_fit", raising(second)), last)
    with pytest.raises(ExceptionGroup) as raised:
        run(host, hosting)
    assert raised.value.exceptions == (first, second)
    assert last.hooks[-1] == "after_fit"


@pytest.mark.parametrize("name", DRIVERS)
def test_an_error_in_begin_fit_ends_it(name: str) -> None:
    host, told = driver(name), Recorder()
    hosting = host.hosting(told, At("begin_fit", raising(Oops())))
    with pytest.raises(Oops):
        run(host, hosting)
    assert told.hooks == ["begin_fit", "after_fit"]


@pytest.mark.parametrize("name", [name for name in DRIVERS if name != "ignite"])  # an engine is of one run's model
def test_after_a_fit_that_failed_another_one_runs(name: str) -> None:
    host, told = driver(name), Recorder()
    hosting = host.hosting(told)
    with pytest.raises(Oops):
        run(host, hosting, model=lambda: Breaks(2, Oops()))
    told.told.restart()
    run(host, hosting)
    assert isinstance(hosting.outcome, Completed)
    assert told.hooks.count("begin_epoch") == TASK.n_epochs
