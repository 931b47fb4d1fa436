"""A learner: the loop with a model, its data, its loss and its optimizer, and callbacks that come and go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, ClassVar

import pytest
import torch
from recording import At, Recorder, answering, raising
from tiny import Weight, bunch, learner, pairs, total
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import LBFGS, SGD, AdamW
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from typedcb import (
    AnyCallback,
    AnyLearnerCallback,
    BatchError,
    CallbackError,
    CancelBatch,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    Cell,
    Completed,
    DataBunch,
    DependencyError,
    Learner,
    LoopError,
    SkipStep,
    SkipValidate,
    cell,
)


@dataclass(frozen=True)
class Scale(AnyLearnerCallback):
    """Scales the gradient, of a learner."""

    by: float = 2.0

    def after_backward(self, event: object) -> None:
        for parameter in self.learn.model.parameters():
            if parameter.grad is not None:
                parameter.grad *= self.by


@dataclass(frozen=True)
class Mean(AnyCallback):
    """The mean of the training losses of an epoch."""

    phases: ClassVar[Any] = ("train",)
    total: Cell[float] = cell(0.0, reset="epoch")

    def after_loss(self, event: Any) -> None:
        self.total.value += event.loss.item() / 2


@dataclass(frozen=True)
class Reads(AnyCallback):
    """Depends on a cell."""

    of: Cell[float]
    read: Annotated[list[float], "of all fits"] = field(default_factory=list)

    def after_epoch(self, event: object) -> None:
        self.read.append(self.of.value)


# ---------------------------------------------------------------------------------------------------------- fit


def test_fit_trains_as_a_plain_loop_does() -> None:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(20, 4), torch.randint(3, (20,)))
    model, twin = nn.Linear(4, 3), nn.Linear(4, 3)
    twin.load_state_dict(model.state_dict())
    dl = DataLoader(data, batch_size=6)
    assert isinstance(Learner(model, DataBunch(dl, dl), F.cross_entropy, AdamW).fit(3), Completed)
    opt = AdamW(twin.parameters())
    for _ in range(3):
        for xb, yb in dl:
            F.cross_entropy(twin(xb), yb).backward()
            opt.step()
            opt.zero_grad()
    assert torch.equal(model.weight, twin.weight)
    assert torch.equal(model.bias, twin.bias)


def test_fit_says_how_it_ended() -> None:
    assert isinstance(learner().fit(1), Completed)
    stop = CancelTrain("enough")
    outcome = learner(At("after_step", answering(stop))).fit(1)
    assert isinstance(outcome, Cancelled)
    assert outcome.cancel is stop


def test_without_validation_data_nothing_is_validated() -> None:
    recorder = Recorder()
    learner(recorder, n_valid=0).fit(1)
    assert not {"begin_validate", "after_validate"} & set(recorder.hooks)
    assert recorder.hooks[-2:] == ["after_epoch", "after_fit"]


def test_a_negative_number_of_epochs_is_refused_and_leaves_no_callback_behind() -> None:
    learn = learner()
    with pytest.raises(ValueError, match="n_epochs=-1"):
        learn.fit(-1, cbs=[Recorder()])
    assert learn.cbs == ()


@pytest.mark.parametrize("inside", ["fit", "validate", "predict"])
def test_a_fit_inside_of_a_fit_of_the_same_learner_is_refused(inside: str) -> None:
    learn = learner()
    args = (1,) if inside == "fit" else ()
    with pytest.raises(LoopError, match="a fit is under way on this loop") as refused:
        learn.fit(1, cbs=[At("after_batch", lambda event: getattr(learn, inside)(*args))])
    assert refused.value.__notes__ == ["typedcb: in At.after_batch, epoch 0, batch 0, train"]
    assert learn.cbs == ()
    learn.fit(1)


def test_another_learner_may_be_fitted_inside_of_a_fit() -> None:
    other = learner()
    learner(At("after_epoch", lambda event: other.fit(1) and None)).fit(2)
    assert other.model.w.item() == 1 - 2 * 3


def test_callbacks_cannot_be_added_or_removed_during_a_fit() -> None:
    learn = learner(Recorder())
    for act in (lambda event: learn.add(Scale) and None, lambda event: learn.remove(*learn.cbs)):
        with pytest.raises(LoopError, match=r"a fit is under way on this loop: callbacks are (added|removed)"):
            learn.fit(1, cbs=[At("begin_epoch", act)])
    assert len(learn.cbs) == 1


def test_gradients_that_a_failed_fit_left_are_not_taken_by_the_next_one() -> None:
    learn = learner(n_train=1, n_valid=0)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(1, cbs=[At("after_backward", raising(KeyboardInterrupt()))])
    learn.fit(1)
    assert learn.model.w.item() == 0


def test_a_cancelled_batch_computes_no_loss() -> None:
    computed: list[Tensor] = []

    def loss_func(pred: Tensor, yb: Tensor) -> Tensor:
        computed.append(pred)
        return total(pred, yb)

    cancels = At("after_pred", answering(CancelBatch()), index=0)
    learn = Learner(Weight(), bunch(), loss_func, partial(SGD, lr=1.0), cbs=[cancels])
    learn.fit(1)
    assert len(computed) == 2
    learn.validate()
    assert len(computed) == 3


# ---------------------------------------------------------------------------------------------- errors of the parts


@pytest.mark.parametrize("phase", ["train", "valid"])
@pytest.mark.parametrize("part", ["model", "loss", "loader"])
def test_an_error_in_the_model_the_loss_or_the_loader_says_where_it_was(part: str, phase: str) -> None:
    error = ArithmeticError("mine")

    def fails(here: str, x: float) -> None:
        if part == here and x == 2 and current[0] == phase:
            raise error

    class Model(Weight):
        def forward(self, xb: Tensor) -> Tensor:
            fails("model", xb.item())
            return super().forward(xb)

    def loss_func(pred: Tensor, yb: Tensor) -> Tensor:
        fails("loss", xs[-1])
        return total(pred, yb)

    class Loader:
        def __init__(self, name: str) -> None:
            self.name = name

        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            current[0] = self.name
            for xb, yb in pairs(2):
                fails("loader", xb.item())
                xs.append(xb.item())
                yield xb, yb

    current, xs, recorder = [""], [0.0], Recorder()
    learn = Learner(
        Model(), DataBunch(Loader("train"), Loader("valid")), loss_func, partial(SGD, lr=0.0), cbs=[recorder]
    )
    with pytest.raises(ArithmeticError, match="mine") as failed:
        learn.fit(1)
    where = f"loading batches, epoch 0, {phase}, after batch 0" if part == "loader" else f"epoch 0, batch 1, {phase}"
    assert failed.value is error
    assert failed.value.__notes__ == [f"typedcb: in {where}"]
    assert recorder.hooks[-1] == "after_fit"
    assert recorder.hooks.count("begin_batch") == recorder.hooks.count("after_batch")


@pytest.mark.parametrize(
    ("loss_func", "what"),
    [(lambda pred, yb: (pred * yb).expand(3), r"a tensor of shape \(3,\)"), (lambda pred, yb: 0.5, "a float")],
)
def test_a_loss_function_that_gives_no_scalar_tensor_is_refused(loss_func: Any, what: str) -> None:
    for cbs in ([], [Recorder()]):
        with pytest.raises(BatchError, match=f"the loss is {what}, and has to be a scalar tensor"):
            Learner(Weight(), bunch(), loss_func, partial(SGD, lr=0.1), cbs=cbs).fit(1)


# -------------------------------------------------------------------------------------------------- validate, predict


def test_validate_is_the_mean_loss_over_all_samples() -> None:
    data = [(torch.tensor([1.0, 1.0, 1.0]), torch.ones(3)), (torch.tensor([5.0]), torch.ones(1))]
    learn = Learner(Weight(), DataBunch(data, data), lambda pred, yb: (pred * yb).mean(), partial(SGD, lr=0.1))
    assert learn.validate() == (1 + 1 + 1 + 5) / 4
    assert learn.validate(pairs(1)) == 1
    assert learn.model.w.item() == 1, "nothing is trained"
    assert learn.model.w.grad is None


def test_validate_leaves_cancelled_batches_out() -> None:
    learn = learner()
    assert learn.validate(cbs=[At("after_loss", answering(CancelBatch()), index=0)]) == 2
    assert learn.validate(cbs=[At("after_pred", answering(CancelEpoch()), index=1)]) == 1
    nothing = learn.validate(cbs=[At("begin_batch", answering(CancelBatch()))])
    assert nothing != nothing, "the mean of nothing is nan"
    skipped = learn.validate(cbs=[At("begin_validate", answering(SkipValidate()))])
    assert skipped != skipped
    assert learn.cbs == ()


def test_validate_without_validation_data_is_refused() -> None:
    with pytest.raises(BatchError, match="has no valid_dl"):
        learner(n_valid=0).validate()
    with pytest.raises(BatchError, match="has no valid_dl"):
        learner(n_valid=0).predict()
    assert learner(n_valid=0).validate(pairs(1)) == 1


def test_predict_gives_the_predictions_as_the_callbacks_left_them_and_computes_no_loss() -> None:
    def refuse(pred: object, yb: object) -> Tensor:
        raise AssertionError("a loss was computed")

    learn = Learner(Weight(), bunch(), refuse, partial(SGD, lr=0.1))
    changes = [
        At("begin_batch", lambda event: event.with_batch(event.xb * 10, event.yb)),
        At("after_pred", lambda event: event.with_pred(event.pred + 1)),
    ]
    assert [pred.item() for pred in learn.predict(cbs=changes)] == [11, 21]
    assert [pred.item() for pred in learn.predict(cbs=[At("begin_batch", answering(CancelBatch()), index=0)])] == [2]
    assert not any(pred.requires_grad for pred in learn.predict())


# --------------------------------------------------------------------------------------------------- train and eval


class WithDropout(nn.Module):
    """Writes down in which mode it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.BatchNorm1d(1)
        self.drop = nn.Dropout(0.5)
        self.layer = nn.Linear(1, 1)
        self.modes: list[tuple[bool, bool, bool]] = []

    def forward(self, xb: Tensor) -> Tensor:
        self.modes.append((self.drop.training, self.frozen.training, torch.is_grad_enabled()))
        return self.layer(xb)


@dataclass(frozen=True)
class KeepsEval(AnyLearnerCallback):
    """Keeps a part of the model in eval mode."""

    def begin_fit(self, event: object) -> None:
        self.learn.model.get_submodule("frozen").eval()


def test_the_model_trains_in_train_mode_and_validates_in_eval_mode_without_gradients() -> None:
    model = WithDropout().eval()
    learn = Learner(model, bunch(1, 1), F.mse_loss, partial(SGD, lr=0.1))
    learn.fit(2)
    assert model.modes == [(True, True, True), (False, False, False)] * 2
    model.modes.clear()
    learn.validate()
    learn.predict()
    assert model.modes == [(False, False, False)] * 2
    assert model.drop.training


def test_a_module_that_is_kept_in_eval_mode_stays_so_after_a_validation() -> None:
    model = WithDropout()
    learn = Learner(model, bunch(1, 1), F.mse_loss, partial(SGD, lr=0.1), cb_funcs=[KeepsEval])
    learn.fit(2)
    assert model.modes == [(True, False, True), (False, False, False)] * 2
    assert not model.frozen.training
    assert model.drop.training


def test_the_mode_comes_back_after_an_error_in_validation() -> None:
    model = WithDropout()
    learn = Learner(model, bunch(1, 1), F.mse_loss, partial(SGD, lr=0.1))
    with pytest.raises(ValueError, match="mine"):
        learn.validate(cbs=[At("after_loss", raising(ValueError("mine")))])
    assert model.training
    assert torch.is_grad_enabled()


# ------------------------------------------------------------------------------------------------------- callbacks


def test_instances_come_before_what_factories_make() -> None:
    recorder = Recorder()
    learn = learner(recorder, cb_funcs=[Scale, partial(Scale, by=3.0), lambda learn: Scale(learn, 4.0)])
    assert learn.cbs[0] is recorder
    scales = learn.cbs[1:]
    assert [scale.by for scale in scales] == [2, 3, 4]
    assert all(scale.learn is learn for scale in scales)


def test_callbacks_can_depend_on_each_other_across_cbs_and_cb_funcs() -> None:
    mean = Mean()
    learn = learner(mean, cb_funcs=[lambda learn: Reads(mean.total)])
    learn.fit(2)
    assert learn.get(Reads).read == [mean_of_epoch_0 := (1 + 0) / 2, mean.total.value]
    assert mean_of_epoch_0 != mean.total.value


def test_the_callers_own_lists_are_left_as_they_were() -> None:
    cbs: list[Any] = [Recorder()]
    factories: list[Any] = [Scale]
    learn = Learner(Weight(), bunch(), total, partial(SGD, lr=0.1), cbs=cbs, cb_funcs=factories)
    more: list[Any] = [Mean()]
    learn.fit(1, cbs=more, cb_funcs=factories)
    assert (len(cbs), len(factories), len(more)) == (1, 1, 1)


def test_an_instance_among_the_factories_is_refused_with_where_it_belongs() -> None:
    with pytest.raises(
        CallbackError, match=r"Recorder in cb_funcs is an instance, .* called with the learner: pass it in"
    ):
        learner(cb_funcs=[Recorder()])
    learn = learner()
    with pytest.raises(CallbackError, match="Recorder in cb_funcs is an instance"):
        learn.fit(1, cb_funcs=[Recorder()])


@pytest.mark.parametrize("made", [None, 3, Recorder], ids=["None", "3", "class"])
def test_a_factory_that_makes_no_callback_is_refused(made: object) -> None:
    def make(learn: object) -> Any:
        return made

    expected = "the factory make made .*, which is no callback: a factory is called with the learner, and returns"
    with pytest.raises(CallbackError, match=expected):
        learner(cb_funcs=[make])
    with pytest.raises(CallbackError, match=expected):
        learner().add(make)


def test_add_makes_the_callback_with_its_fields_and_returns_it() -> None:
    learn = learner(n_train=1, n_valid=0)
    scale = learn.add(Scale, by=3.0)
    assert (type(scale), scale.by, scale.learn) == (Scale, 3.0, learn)
    assert learn.cbs == (scale,)
    learn.fit(1)
    assert learn.model.w.item() == 1 - 3


def test_add_refuses_an_instance() -> None:
    with pytest.raises(CallbackError, match=r"Recorder is an instance, and learn\.add takes a class or factory"):
        learner().add(Recorder())  # type: ignore[arg-type]


def test_a_callback_of_another_learner_is_refused() -> None:
    other = learner()
    expected = (
        r"Scale\.learn is another learner than the one that it is attached to: make it by learn\.add\(Scale, \.\.\.\)"
    )
    with pytest.raises(CallbackError, match=expected):
        learner(Scale(other))
    with pytest.raises(CallbackError, match=expected):
        learner().fit(1, cbs=[Scale(other)])


def test_callbacks_for_one_fit_are_gone_after_it() -> None:
    learn, recorder = learner(), Recorder()
    learn.fit(1, cbs=[recorder], cb_funcs=[Scale])
    assert learn.cbs == ()
    seen = len(recorder.seen)
    learn.fit(1)
    assert len(recorder.seen) == seen
    learn.fit(1, cbs=[recorder])
    assert len(recorder.seen) == 2 * seen


@pytest.mark.parametrize("hook", ["begin_fit", "after_step", "after_fit"])
def test_callbacks_for_one_fit_are_gone_also_after_an_error(hook: str) -> None:
    learn = learner()
    with pytest.raises(ValueError, match="mine"):
        learn.fit(1, cbs=[At(hook, raising(ValueError("mine")))])
    assert learn.cbs == ()


def test_callbacks_for_one_fit_may_come_from_a_generator() -> None:
    learn = learner()
    learn.fit(1, cbs=(Recorder() for _ in range(2)))  # type: ignore[arg-type]
    assert learn.cbs == ()


def test_callbacks_for_one_fit_run_among_the_others_by_order_and_dependency() -> None:
    mean = Mean()
    learn = learner(At("begin_fit", answering(None)), mean)
    reads = Reads(mean.total)
    ran: list[str] = []
    first = Recorder()
    learn.fit(1, cbs=[reads, first, At("begin_fit", lambda event: ran.extend(type(c).__name__ for c in learn.cbs))])
    assert ran == ["Recorder", "At", "Mean", "Reads", "At"]
    assert reads.read


def test_a_callback_for_one_fit_whose_dependency_is_missing_is_refused() -> None:
    learn = learner()
    with pytest.raises(DependencyError, match=r"Reads\.of reads Mean\.total, whose Mean is not attached"):
        learn.fit(1, cbs=[Reads(Mean().total)])
    assert learn.cbs == ()


def test_added_attaches_for_the_length_of_a_block() -> None:
    learn, recorder = learner(), Recorder()
    with learn.added(recorder):
        assert learn.cbs == (recorder,)
        learn.fit(1)
    assert learn.cbs == ()
    with pytest.raises(ValueError, match="mine"), learn.added(recorder):
        raise ValueError("mine")
    assert learn.cbs == ()
    with learn.added():
        pass


def test_get_finds_the_one_callback_of_a_class_or_of_a_base_of_it() -> None:
    mean, recorder = Mean(), Recorder()
    learn = learner(mean, recorder)
    assert learn.get(Mean) is mean
    assert learn.get(Recorder) is recorder
    with pytest.raises(LookupError, match="0 callbacks of class Scale are attached; there are: Recorder, Mean"):
        learn.get(Scale)
    with pytest.raises(LookupError, match="2 callbacks of class Callback are attached"):
        learn.get(AnyCallback.__origin__)  # type: ignore[attr-defined]
    with pytest.raises(LookupError, match="there are: none"):
        learner().get(Mean)


def test_remove_takes_callbacks_away() -> None:
    mean, recorder = Mean(), Recorder()
    learn = learner(mean, recorder)
    learn.remove(mean)
    assert learn.cbs == (recorder,)
    with pytest.raises(CallbackError, match="Mean is not attached"):
        learn.remove(mean)


def test_a_learner_shows_what_it_is_made_of() -> None:
    assert repr(learner(Mean())) == "Learner(Weight, SGD, cbs=[Mean])"


# ------------------------------------------------------------------------------------------------ the optimizer


class TwoLayers(nn.Module):
    """Two groups of parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(1, 1, bias=False)
        self.head = nn.Linear(1, 1, bias=False)

    def forward(self, xb: Tensor) -> Tensor:
        return self.head(self.body(xb))


def two_layers(splitter: Any) -> Learner[Any, Any, Any, TwoLayers]:
    model = TwoLayers()
    nn.init.ones_(model.body.weight)
    nn.init.ones_(model.head.weight)
    return Learner(model, bunch(1, 0), total, partial(SGD, lr=0.5), splitter=splitter)


def test_the_optimizer_is_there_from_the_beginning() -> None:
    learn = learner()
    assert isinstance(learn.opt, SGD)
    assert learn.opt.param_groups[0]["params"] == list(learn.model.parameters())


def test_a_splitter_gives_each_group_a_learning_rate_of_its_own() -> None:
    learn = two_layers(lambda model: [model.body.parameters(), model.head.parameters()])
    body, head = learn.opt.param_groups
    assert (body["params"], head["params"]) == ([learn.model.body.weight], [learn.model.head.weight])
    assert (body["lr"], head["lr"]) == (0.5, 0.5)
    body["lr"] = 0.0
    learn.fit(1)
    assert (learn.model.body.weight.item(), learn.model.head.weight.item()) == (1.0, 0.5)


def test_a_splitter_that_leaves_parameters_out_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"the splitter leaves out head\.weight: put them into a group, or freeze them"
    ):
        two_layers(lambda model: [model.body.parameters()])


def test_a_splitter_may_leave_out_what_is_frozen() -> None:
    def freezes(model: TwoLayers) -> Any:
        model.body.requires_grad_(False)
        return [model.head.parameters()]

    assert len(two_layers(freezes).opt.param_groups) == 1


# ------------------------------------------------------------------------------------------------------- payloads


def mse(pred: Tensor, yb: Tensor) -> Tensor:
    return F.mse_loss(pred, yb)


class Sums(nn.Module):
    """Takes whatever nests tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def forward(self, xb: Any) -> Tensor:
        parts = xb.values() if isinstance(xb, dict) else xb
        return self.w * sum(parts)


@pytest.mark.parametrize(
    "xb", [{"a": torch.ones(2), "b": torch.ones(2)}, (torch.ones(2), torch.ones(2)), [torch.ones(2)]], ids=repr
)
def test_inputs_may_be_dicts_tuples_and_lists(xb: Any) -> None:
    recorder = Recorder()
    data = DataBunch[Any, Tensor]([(xb, torch.ones(2))], [(xb, torch.ones(2))])
    learn = Learner(Sums(), data, mse, partial(SGD, lr=0.1), cbs=[recorder])
    learn.fit(2)
    assert learn.model.w.item() > 0
    assert recorder.of("begin_batch")[0].xb is xb


def test_a_data_set_of_dicts_comes_through_a_data_loader() -> None:
    items = [({"a": torch.ones(()), "b": torch.ones(())}, torch.ones(())) for _ in range(4)]
    data = DataBunch[dict[str, Tensor], Tensor](DataLoader(items, batch_size=2))  # type: ignore[arg-type]
    learn = Learner(Sums(), data, mse, partial(SGD, lr=0.1))
    learn.fit(1)
    assert learn.model.w.item() > 0


def test_targets_may_be_class_numbers() -> None:
    items = [(torch.randn(4), n % 3) for n in range(6)]
    dl = DataLoader(items, batch_size=3)  # type: ignore[arg-type]
    recorder = Recorder()
    learn = Learner(nn.Linear(4, 3), DataBunch(dl, dl), nn.CrossEntropyLoss(), partial(SGD, lr=0.1), cbs=[recorder])
    learn.fit(1)
    assert recorder.of("begin_batch")[0].yb.dtype == torch.int64
    assert learn.validate() > 0


def test_a_loader_of_unknown_length_trains_and_validates() -> None:
    class Stream(IterableDataset[tuple[Tensor, Tensor]]):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            yield from pairs(4)

    dl = DataLoader(Stream(), batch_size=2)
    recorder = Recorder()
    learn = Learner(Weight(), DataBunch(dl, dl), total, partial(SGD, lr=0.1), cbs=[recorder])
    learn.fit(2)
    assert {event.n_batches for event in recorder.of("begin_batch")} == {None}
    assert recorder.hooks.count("after_batch") == 8


def test_a_skip_adds_the_gradients_of_batches_up() -> None:
    learn = learner(At("after_backward", answering(SkipStep()), index=0), n_valid=0)
    learn.fit(1)
    assert learn.model.w.item() == 1 - (1 + 2)


def test_an_optimizer_over_another_model_is_refused() -> None:
    other = Weight()
    with pytest.raises(ValueError, match="the optimizer holds no parameter of this model"):
        Learner(Weight(), bunch(2, 0), total, lambda _: SGD(other.parameters(), lr=0.1))


def test_an_optimizer_that_wants_a_closure_is_refused_when_the_learner_is_made() -> None:
    """LBFGS computes the loss of a batch several times in one step, and callbacks hear of each batch once."""
    for splitter in (None, lambda model: [list(model.parameters())]):
        with pytest.raises(LoopError, match=r"LBFGS\.step wants closure: it computes the loss .* such as AdamW"):
            Learner(Weight(), bunch(), total, LBFGS, splitter=splitter)
