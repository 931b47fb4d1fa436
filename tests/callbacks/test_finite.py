"""CheckFinite: what is bad is named, and no step is taken on it."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from recording import At, Recorder
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from typedcb import Completed, DataBunch, Learner, NonFiniteError
from typedcb.callbacks import CheckFinite, GradientClip


class Spoiled(torch.autograd.Function):
    """Hands a value on, and a nan back in place of one of its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * math.nan


def learner(batches: list[Any], loss_func: Any = F.mse_loss, *cbs: Any) -> Learner[Any, Any, Any, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    return Learner(model, DataBunch[Any, Any](batches), loss_func, partial(SGD, lr=0.1), cbs=list(cbs))


def grads(learn: Learner[Any, Any, Any, Any]) -> list[Tensor]:
    return [parameter.grad for parameter in learn.model.parameters() if parameter.grad is not None]


def batch(bad: float = 1.0) -> tuple[Tensor, Tensor]:
    xb = torch.ones(4, 2)
    xb[2, 1] = bad
    return xb, torch.ones(4, 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_input_is_named_with_its_index_before_the_model_sees_it(bad: float) -> None:
    recorder = Recorder()
    learn = learner([batch(), batch(bad)], F.mse_loss, recorder)
    with pytest.raises(NonFiniteError, match=r"nan or infinity in xb\[2, 1\] \(1 of 8\)") as found:
        learn.fit(1, cb_funcs=[CheckFinite])
    assert found.value.__notes__ == ["typedcb: in CheckFinite.begin_batch, epoch 0, batch 1, train"]
    assert recorder.hooks.count("after_step") == recorder.hooks.count("after_pred") == 1


def test_the_tensors_of_a_nest_are_named_by_their_keys_and_whole_numbers_are_passed_over() -> None:
    class Picks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 1)

        def forward(self, xb: Any) -> Tensor:
            return self.inner(xb["seen"][0])

    xb = {"ids": torch.ones(2, dtype=torch.long), "seen": (torch.ones(1, 2), torch.full((3,), math.nan))}
    data = DataBunch[Any, Any]([(xb, torch.full((1, 1), math.inf))])
    learn: Any = Learner(Picks(), data, F.mse_loss, partial(SGD, lr=0.1))
    with pytest.raises(NonFiniteError, match=r"in xb\['seen'\]\[1\]\[0\] \(3 of 3\), yb\[0, 0\] \(1 of 1\)"):
        learn.fit(1, cb_funcs=[CheckFinite])


def test_a_gradient_is_named_by_its_parameter_when_the_loss_is_sound() -> None:
    def loss_func(pred: Tensor, yb: Tensor) -> Tensor:
        return F.mse_loss(pred, yb) + 0 * learn.model[0].bias.sum() + Spoiled.apply(learn.model[2].weight).sum() * 0

    learn = learner([batch()], loss_func)
    before = [parameter.clone() for parameter in learn.model.parameters()]
    learn.add(GradientClip, clip=1.0)
    with pytest.raises(NonFiniteError, match=r"in the gradient of 2\.weight\."):
        learn.fit(1, cb_funcs=[CheckFinite])
    assert all(torch.equal(a, b) for a, b in zip(before, learn.model.parameters(), strict=True))


def test_a_loss_is_found_and_by_choice_its_batch_is_left_out() -> None:
    def loss_func(pred: Tensor, yb: Tensor) -> Tensor:
        return F.mse_loss(pred, yb) * (math.inf if yb[0] == 5 else 1.0)

    odd = torch.ones(4, 2), torch.full((4, 1), 5.0)
    with pytest.raises(NonFiniteError, match="the loss is inf"):
        learner([batch(), odd, batch()], loss_func).fit(1, cb_funcs=[CheckFinite])

    recorder = Recorder()
    learn, without = learner([batch(), odd, batch()], loss_func, recorder), learner([batch(), batch()])
    assert isinstance(learn.fit(2, cb_funcs=[partial(CheckFinite, on_bad="skip")]), Completed)
    without.fit(2)
    assert [event.cancel.reason for event in recorder.of("after_cancel_batch")] == ["the loss is inf"] * 2
    for a, b in zip(learn.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(a, b), "it is as if the batch had not been there"


def test_the_gradients_of_a_batch_that_is_left_out_are_dropped() -> None:
    def loss_func(pred: Tensor, yb: Tensor) -> Tensor:
        return F.mse_loss(Spoiled.apply(pred) if yb[0] == 5 else pred, yb)

    odd = torch.ones(4, 2), torch.full((4, 1), 5.0)
    learn, without = learner([odd, batch()], loss_func), learner([batch()])
    learn.fit(1, cb_funcs=[partial(CheckFinite, on_bad="skip")])
    without.fit(1)
    for a, b in zip(learn.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_gradients_that_are_large_and_sound_are_no_fault() -> None:
    learn = learner([batch()], lambda pred, yb: pred.mean() * 1e25)
    norms: list[float] = []
    look = At("after_backward", lambda event: norms.append(float(nn.utils.get_total_norm(grads(learn)))))
    learn.fit(1, cbs=[look], cb_funcs=[CheckFinite])
    assert norms == [math.inf], "the norm is beyond what its numbers can hold, and none of them is"


@pytest.mark.parametrize("what", ["inputs", "loss", "gradients"])
def test_what_is_not_to_be_looked_at_is_not(what: str) -> None:
    found: dict[str, Any] = {"inputs": False, "loss": False, "gradients": False}
    learn = learner([batch(math.nan), batch()], lambda pred, yb: F.mse_loss(pred.nan_to_num(), yb))
    learn.model[2].register_full_backward_hook(lambda module, grads, outs: tuple(g.nan_to_num() for g in grads))
    if what == "inputs":
        with pytest.raises(NonFiniteError, match="xb"):
            learn.fit(1, cb_funcs=[partial(CheckFinite, **{**found, what: True})])
    elif what == "loss":
        learn.fit(1, cb_funcs=[partial(CheckFinite, **{**found, what: True})])
    else:
        with pytest.raises(NonFiniteError, match="gradient of"):
            learn.fit(1, cb_funcs=[partial(CheckFinite, **{**found, what: True})])


def test_another_word_than_raise_or_skip_is_refused() -> None:
    with pytest.raises(ValueError, match='"raise" or "skip"'):
        learner([batch()]).add(CheckFinite, on_bad="warn")
