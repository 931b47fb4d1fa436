"""What is fastai's own: its exceptions, callbacks that are given to one fit, its optimizers, and accumulation."""

from __future__ import annotations

import copy
import importlib
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from driving import Loader, driver
from driving_fastai import learner_of, losses_of
from five import TASK
from recording import At, Recorder, answering, raising
from test_grammar import assert_grammatical
from torch.optim import LBFGS, SGD

from typedcb import (
    AnyCallback,
    CallbackError,
    CancelBatch,
    Cancelled,
    Cell,
    Completed,
    Failed,
    LoopError,
    SkipStep,
    SkipValidate,
    SkipZeroGrad,
    cell,
)
from typedcb.callbacks import LR, AvgStats, EarlyStopping, ParamScheduler, SmoothLoss, linear


@pytest.fixture(autouse=True)
def _installed() -> None:
    driver("fastai")


def host(*callbacks: Any, **options: Any) -> Any:
    return importlib.import_module("typedcb.interop.fastai").host(*callbacks, **options)


def fastai(module: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what pandas has to say of fastai
        return importlib.import_module(f"fastai.{module}")


def test_callbacks_that_are_given_to_one_fit_are_of_that_fit() -> None:
    told = Recorder()
    learn = learner_of(TASK)
    hosting = host(told)
    learn.fit(1, cbs=[hosting])
    learn.fit(1)
    assert told.hooks.count("begin_fit") == told.hooks.count("after_fit") == 1
    assert isinstance(hosting.outcome, Completed)
    assert "fit" not in vars(learn)


def test_after_an_error_in_such_a_fit_after_fit_comes_too() -> None:
    error = ValueError("oops")
    hosting = host(told := Recorder(), At("after_loss", raising(error), epoch=1))
    with pytest.raises(ValueError, match=r"^oops"):
        learner_of(TASK).fit(3, cbs=[hosting])
    assert told.hooks[-1] == "after_fit"
    assert isinstance(hosting.outcome, Failed)
    assert hosting.outcome.error is error


def test_an_error_in_one_of_fastais_own_callbacks_ends_the_fit_too() -> None:
    base: Any = fastai("callback.core").Callback

    def before_fit(self: Any) -> None:
        raise ValueError("theirs")

    hosting = host(told := Recorder())
    learn = learner_of(TASK, hosting, type("Theirs", (base,), {"order": 90, "before_fit": before_fit})())
    with pytest.raises(ValueError, match="theirs"):
        learn.fit(1)
    assert told.hooks == ["begin_fit", "after_fit"]
    assert isinstance(hosting.outcome, Failed)


def test_two_hosts_in_one_learner_are_refused() -> None:
    with pytest.raises(CallbackError, match=r"several host\(\.\.\.\)"):
        learner_of(TASK, host(SmoothLoss()), host(SmoothLoss()))


def test_ways_to_train_that_have_no_place_for_callbacks_are_refused() -> None:
    with pytest.raises(LoopError, match=r"LBFGS\.step wants closure"):
        learner_of(TASK.count(opt=LBFGS), host(SmoothLoss())).fit(1)
    mixed: Any = fastai("callback.fp16").MixedPrecision
    with warnings.catch_warnings(), pytest.raises(LoopError, match="under MixedPrecision the gradients are scaled"):
        warnings.simplefilter("ignore")  # there is no GPU
        learner_of(TASK, host(SmoothLoss()), mixed()).fit(1)


@pytest.mark.parametrize("name", ["run_train", "run_valid"])
def test_half_of_an_epoch_is_refused(name: str) -> None:
    hosting = host(SmoothLoss())
    setattr(hosting, name, False)
    with pytest.raises(CallbackError, match=r"look at event\.phase"):
        learner_of(TASK, hosting).fit(1)


def test_callbacks_that_are_not_to_run_hear_of_nothing_until_the_fit_is_over() -> None:
    hosting = host(told := Recorder())
    learn = learner_of(TASK, hosting)
    hosting.run = False
    learn.fit(1)
    assert told.hooks == []
    learn.fit(1)
    assert told.hooks[-1] == "after_fit"


def test_an_epoch_that_fastai_skips_is_none() -> None:
    hosting = host(told := Recorder())
    learner_of(TASK, hosting).fit(3, start_epoch=1)
    assert [(event.start_epoch, event.n_epochs) for event in told.of("begin_fit")] == [(1, 3)]
    assert [event.epoch for event in told.of("begin_epoch")] == [1, 2]
    assert [event.epoch for event in told.of("after_epoch")] == [1, 2]
    assert isinstance(hosting.outcome, Completed)


def test_an_end_that_fastai_decides_on_is_a_cancel() -> None:
    core = fastai("callback.core")

    def after_batch(self: Any) -> None:
        if self.epoch == 1:
            raise core.CancelFitException

    hosting = host(told := Recorder())
    learner_of(TASK, hosting, type("Stops", (core.Callback,), {"after_batch": after_batch})()).fit(3)
    assert isinstance(hosting.outcome, Cancelled)
    assert "CancelFitException" in hosting.outcome.cancel.reason
    assert told.hooks[-3:] == ["after_batch", "after_cancel_train", "after_fit"]


def test_fastais_own_exceptions_leave_the_order_of_events() -> None:
    core = fastai("callback.core")

    def before_batch(self: Any) -> None:
        if self.iter == 1:
            raise core.CancelBatchException

    def after_pred(self: Any) -> None:
        if self.iter == 3:
            raise core.CancelTrainException if self.training else core.CancelValidException

    theirs = type("Theirs", (core.Callback,), {"before_batch": before_batch, "after_pred": after_pred})()
    hosting = host(told := Recorder())
    learn = learner_of(TASK.count(n_epochs=1), hosting)
    learn.fit(1, cbs=[theirs])
    train = [seen.index for seen in told.seen if seen.hook == "begin_batch" and seen.phase == "train"]
    assert train == [0, 2, 3]
    assert told.hooks.count("begin_batch") == told.hooks.count("after_batch")
    assert told.hooks[-3:] == ["after_validate", "after_epoch", "after_fit"]


def test_accumulation_is_fastais_and_after_step_comes_with_real_steps() -> None:
    accumulation: Any = fastai("callback.training").GradientAccumulation
    told = Recorder()
    bare = learner_of(TASK, accumulation(16))
    hosted = learner_of(TASK, accumulation(16), host(told))
    bare_losses, losses = losses_of(bare), losses_of(hosted)
    bare.fit(2)
    hosted.fit(2)
    assert losses == bare_losses
    assert [(event.epoch, event.index) for event in told.of("after_step")] == [(0, 1), (0, 3), (1, 0), (1, 2), (1, 4)]
    assert len(told.of("after_backward")) == 10


@pytest.mark.parametrize(("hook", "answer"), [("after_backward", SkipStep()), ("after_step", SkipZeroGrad())])
def test_gradients_that_are_to_stay_do(hook: str, answer: object) -> None:
    left: list[bool] = []
    learn = learner_of(
        TASK.count(n_epochs=1),
        host(
            At(hook, answering(answer), index=0),
            At("begin_batch", lambda event: left.append(next(iter(learn.model.parameters())).grad is not None)),
        ),
    )
    learn.fit(1)
    assert left[:3] == [False, True, False]


def test_fastais_own_optimizer_is_one_of_torchs_whose_groups_are_live() -> None:
    own: Any = fastai("optimizer").SGD
    rates: list[float] = []
    hosting = host(
        partial(ParamScheduler, param=LR, schedule=linear(0.5, 0.1)),
        At("after_step", lambda event: rates.append(learn.opt.hypers[0]["lr"])),
    )
    learn = learner_of(TASK.count(n_epochs=1), hosting, opt_func=own, lr=0.3)
    learn.fit(1)
    assert rates[0] == pytest.approx(0.5)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.3

    adapter: Any = importlib.import_module("typedcb.interop.fastai").FastaiOptimizer(learn.opt)
    weights = {id(weight) for weight in learn.model.parameters()}
    assert {id(weight) for group in adapter.param_groups for weight in group["params"]} == weights
    adapter.load_state_dict(adapter.state_dict())
    with pytest.raises(LoopError, match=r"Learner\(splitter=\.\.\.\)"):
        adapter.add_param_group({})


def test_a_validation_and_predictions_outside_of_a_fit_are_none_of_the_callbacks() -> None:
    hosting = host(told := Recorder())
    learn = learner_of(TASK, hosting)
    learn.validate()
    assert told.hooks == []


def test_a_copy_of_a_learner_has_callbacks_of_its_own() -> None:
    hosting = host(SmoothLoss())
    learn = learner_of(TASK, hosting, opt_func=partial(fastai("optimizer").OptimWrapper, opt=SGD))
    vars(learn).pop("logger")
    other = copy.deepcopy(learn)
    other.logger = lambda *args: None
    other.fit(1)
    [theirs] = [cb for cb in other.cbs if type(cb) is type(hosting)]
    assert theirs is not hosting
    assert theirs.learn is other
    assert theirs.get(SmoothLoss).count.value == len(TASK.train)
    assert hosting.get(SmoothLoss).count.value == 0


def test_a_batch_that_is_cancelled_is_cancelled_for_fastai_too() -> None:
    core = fastai("callback.core")
    cancelled: list[int] = []
    base = type("Looks", (core.Callback,), {"after_cancel_batch": lambda self: cancelled.append(self.iter)})
    learn = learner_of(TASK, host(At("after_pred", answering(CancelBatch()), epoch=0, index=1, phase="train")), base())
    learn.fit(1)
    assert cancelled == [1]
    assert torch.isfinite(learn.loss) if learn.loss is not None else True


SCHEDULED: dict[str, Any] = {
    "one cycle, twice": lambda learn: [learn.fit_one_cycle(2, 0.1), learn.fit_one_cycle(1, 0.05)],
    "fine tuning": lambda learn: learn.fine_tune(2, 0.1),
    "a search for a learning rate before": lambda learn: [found(learn), learn.fit(2)],
}


def found(learn: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what numpy has to say of what fastai loads
        return learn.lr_find(num_it=12, show_plot=False)


@pytest.mark.parametrize("how", SCHEDULED)
def test_a_hosted_fit_comes_to_what_fastais_own_comes_to(how: str, tmp_path: Any) -> None:
    fastai("callback.schedule")
    results: list[Any] = []
    for callbacks in ([], [host(Recorder(), SmoothLoss())]):
        learn = learner_of(TASK, *callbacks, path=tmp_path)
        losses = losses_of(learn)
        SCHEDULED[how](learn)
        results.append((losses, [weight.tolist() for weight in learn.model.parameters()]))
    assert results[0] == results[1]


def test_a_search_for_a_learning_rate_that_a_callback_sets_is_refused(tmp_path: Any) -> None:
    fastai("callback.schedule")
    hosting = host(partial(ParamScheduler, param=LR, schedule=linear(0.5, 0.1)))
    learn = learner_of(TASK, hosting, path=tmp_path)
    weights = [weight.tolist() for weight in learn.model.parameters()]
    with pytest.raises(LoopError, match=r"lr_find .* sets the learning rate"):
        found(learn)
    assert isinstance(hosting.outcome, Failed)
    assert [weight.tolist() for weight in learn.model.parameters()] == weights
    assert list((tmp_path / "models").iterdir()) == [], "the folder that the search saves the model in is put away"
    learn.fit(1)
    assert isinstance(hosting.outcome, Completed)


SAMPLES = [sample for xs, ys in TASK.train for sample in zip(xs, ys, strict=True)]


def inputs_of(place: int) -> Any:
    return SAMPLES[place][0]


def targets_of(place: int) -> Any:
    return SAMPLES[place][1]


def test_a_learner_that_is_exported_predicts_and_goes_on(tmp_path: Any) -> None:
    learner, data = fastai("learner"), fastai("data.core")
    hosting = host(SmoothLoss(), AvgStats())
    items = data.Datasets(range(len(SAMPLES)), [[inputs_of], [targets_of]], n_inp=1)
    dls = data.DataLoaders.from_dsets(items, items, bs=8, num_workers=0, device=torch.device("cpu"))
    learn = learner.Learner(dls, TASK.model(), TASK.loss, cbs=[hosting], path=tmp_path)
    learn.remove_cbs([cb for cb in learn.cbs if type(cb).__name__ == "ProgressCallback"])
    with learn.no_logging():
        learn.fit(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what fastai has to say of pickles
        learn.export("whole.pkl")
        other = learner.load_learner(tmp_path / "whole.pkl")
    xb, _ = TASK.valid[0]
    assert torch.equal(other.model(xb), learn.model(xb))
    [theirs] = [cb for cb in other.cbs if type(cb) is type(hosting)]
    assert theirs is not hosting
    assert theirs.get(SmoothLoss).count.value == hosting.get(SmoothLoss).count.value == len(TASK.train)
    other.dls = dls
    with other.no_logging():
        other.fit(1)
    assert isinstance(theirs.outcome, Completed)


@pytest.mark.parametrize("event", ["before_fit", "before_epoch", "before_train", "before_batch", "after_pred",
    "after_loss", "before_backward", "before_step", "after_step", "after_train", "before_validate", "after_validate",
    "after_epoch"])  # fmt: skip
@pytest.mark.parametrize("order", [0, 90])
def test_wherever_fastai_ends_the_fit_the_events_end_in_order(event: str, order: int) -> None:
    core = fastai("callback.core")

    def ends(self: Any) -> None:
        if event == "before_fit" or self.epoch == 1:
            raise core.CancelFitException

    hosting = host(told := Recorder())
    learn = learner_of(TASK, hosting, type("Ends", (core.Callback,), {"order": order, event: ends})())
    learn.fit(3)
    if (order, event) == (0, "before_fit"):
        assert told.hooks == [], "there was no fit to hear of"
    else:
        assert_grammatical(told.seen)
        assert isinstance(hosting.outcome, Cancelled)
        assert told.hooks[-1] == "after_fit"
    learn.remove_cbs([cb for cb in learn.cbs if type(cb).__name__ == "Ends"])
    told.told.restart()
    learn.fit(1)
    assert isinstance(hosting.outcome, Completed)


def test_over_several_processes_what_one_would_decide_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = AvgStats()
    looks, stops = learner_of(TASK, host(SmoothLoss())), learner_of(TASK, host(stats, EarlyStopping(
        stats.valid_loss, mode="min", patience=1)))  # fmt: skip
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    looks.fit(1)
    with pytest.raises(CallbackError, match=r"EarlyStopping\.after_epoch may answer CancelTrain.*several processes"):
        stops.fit(1)


@pytest.mark.parametrize(("n_epochs", "outcome"), [(5, Cancelled), (2, Completed)])
def test_the_epoch_after_which_fastais_early_stopping_ends_the_fit_is_whole(n_epochs: int, outcome: type) -> None:
    stops = fastai("callback.tracker").EarlyStoppingCallback(patience=1, min_delta=100.0)
    hosting = host(told := Recorder(), stats := AvgStats())
    learn = learner_of(TASK, hosting, stops)
    learn.fit(n_epochs)
    assert [event.epoch for event in told.of("after_epoch")] == [0, 1]
    assert isinstance(hosting.outcome, outcome)
    assert stats.valid_loss.value == pytest.approx(learn.recorder.values[-1][-1])
    assert_grammatical(told.seen)


def test_predictions_that_fastai_fetches_within_a_validation_are_none_of_the_callbacks() -> None:
    fetches = fastai("callback.core").FetchPredsCallback(dl=Loader(TASK.train))
    hosting = host(told := Recorder(), stats := AvgStats(), At("begin_validate", answering(SkipValidate()), epoch=1))
    learn = learner_of(TASK, hosting, fetches)
    learn.fit(3)
    assert [event.epoch for event in told.of("begin_validate")] == [0, 1, 2]
    assert [event.epoch for event in told.of("after_validate")] == [0, 2]
    assert len([seen for seen in told.seen if seen.hook == "begin_batch" and seen.phase == "valid"]) == 4
    assert len(fetches.preds[0]) == sum(len(yb) for _, yb in TASK.train)
    assert stats.valid_loss.value == pytest.approx(learn.recorder.values[-1][-1])


def test_callbacks_that_were_given_to_another_learner_are_refused_in_the_first_one() -> None:
    hosting = host(told := Recorder())
    first, second = learner_of(TASK, hosting), learner_of(TASK, hosting)
    with pytest.raises(CallbackError, match=r"given to another learner since"):
        first.fit(1)
    assert told.hooks == []
    second.fit(1)
    assert isinstance(hosting.outcome, Completed)


@dataclass(frozen=True)
class Counts(AnyCallback):
    """Counts the epochs that have ended."""

    epochs: Cell[int] = cell(0)

    def after_epoch(self, event: object, /) -> None:
        self.epochs.value += 1


def loaded_after(epochs: int, folder: Any) -> tuple[Any, Any]:
    """A learner that has loaded what another one saved after some epochs, and what hosts its callbacks."""
    saved = learner_of(TASK, host(SmoothLoss(), Counts()), path=folder)
    saved.fit(epochs)
    saved.save("m")
    learn = learner_of(TASK, hosting := host(SmoothLoss(), Counts()), path=folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what numpy has to say of fastai
        learn.load("m")
    return learn, hosting


def test_a_fit_that_would_run_epochs_again_that_had_ended_when_the_callbacks_were_saved_is_refused(
    tmp_path: Any,
) -> None:
    learn, hosting = loaded_after(2, tmp_path)
    with pytest.raises(LoopError) as refused:
        learn.fit(3, start_epoch=1)
    assert str(refused.value) == (
        "the callbacks were saved when 2 epochs had ended, and the fit begins with epoch 1: they would hear of epochs "
        "again that their cells hold already. Go on by fit(..., start_epoch=2), or begin anew without start_epoch."
    )
    learn.fit(3, start_epoch=2)  # what was loaded still waits
    assert hosting.get(Counts).epochs.value == 3
    assert hosting.get(SmoothLoss).count.value == 3 * len(TASK.train)


def test_a_fit_that_begins_anew_after_a_load_ends_each_of_its_epochs(tmp_path: Any) -> None:
    learn, hosting = loaded_after(2, tmp_path)
    learn.fit(3)
    assert hosting.get(Counts).epochs.value == 3
    assert hosting.get(SmoothLoss).count.value == 3 * len(TASK.train)
