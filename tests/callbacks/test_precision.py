"""MixedPrecision: autocast around model and loss, true gradients for everybody, and nothing lost on an overflow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, ClassVar, Optional

import pytest
import torch
from recording import At
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from typing_extensions import override

from typedcb import (
    AfterLoss,
    AnyCallback,
    BatchEvent,
    Callback,
    CallbackError,
    CancelBatch,
    Cell,
    DataBunch,
    Learner,
    Loop,
    Objective,
    Phase,
    SkipStep,
    SkipZeroGrad,
    cell,
)
from typedcb.callbacks import (
    GradientAccumulation,
    GradientClip,
    LabelSmoothing,
    MixedPrecision,
    MixUp,
    Recorder,
    SmoothGradNorm,
)

Pair = tuple[Tensor, Tensor]
Net = Learner[Tensor, Tensor, Tensor, nn.Sequential]


def learner(factor: float = 1.0, lr: float = 0.1) -> Net:
    torch.manual_seed(0)
    data: list[Pair] = [(factor * torch.randn(6, 5), torch.arange(6) % 3) for _ in range(4)]
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    return Learner(model, DataBunch(data, data), F.cross_entropy, partial(SGD, lr=lr))


def by_hand(learn: Net, dtype: torch.dtype) -> list[float]:
    """torch's own recipe over the learner's model and data: its losses."""
    scaler = torch.amp.GradScaler("cpu", enabled=dtype is torch.float16)
    losses = []
    for xb, yb in learn.data.train_dl:
        with torch.autocast("cpu", dtype):
            loss = F.cross_entropy(learn.model(xb), yb)
        scaler.scale(loss).backward()
        scaler.step(learn.opt)
        scaler.update()
        learn.opt.zero_grad()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_ends_with_the_weights_and_losses_of_torchs_own_recipe(dtype: torch.dtype) -> None:
    ours, theirs = learner(), learner()
    recorder = ours.add(Recorder)
    ours.add(MixedPrecision, dtype=dtype)

    ours.fit(1)

    assert recorder.losses.value == pytest.approx(by_hand(theirs, dtype))
    for own, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert own.dtype is torch.float32
        assert torch.equal(own, other)


def test_other_callbacks_see_true_gradients_and_an_unscaled_loss() -> None:
    plain, half = learner(), learner()
    norms, losses = [], []
    for learn in (plain, half):
        if learn is half:
            learn.add(MixedPrecision, dtype=torch.float16)
        norm = SmoothGradNorm(learn, beta=0.0)
        recorder = learn.add(Recorder)
        learn.fit(1, cbs=[norm])
        norms.append(norm.value)
        losses.append(recorder.losses[-1])

    assert norms[1] == pytest.approx(norms[0], rel=0.02)
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def grads(learn: Net) -> Tensor:
    return torch.cat([weight.grad.flatten() for weight in learn.model.parameters() if weight.grad is not None])


def skip_every_other(event: Any) -> SkipStep | None:
    return None if event.index % 2 else SkipStep()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_clipping_and_accumulation_work_on_true_gradients(dtype: torch.dtype) -> None:
    plain, half = learner(), learner()
    for learn in (plain, half):
        learn.add(GradientClip, clip=0.1)
        learn.add(GradientAccumulation, n=2)
    half.add(MixedPrecision, dtype=dtype)

    plain.fit(2)
    half.fit(2)

    for own, other in zip(half.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=0.02, atol=2e-3)


@pytest.mark.parametrize("keeps", [At("after_backward", skip_every_other), At("after_step", lambda _: SkipZeroGrad())])
def test_gradients_that_are_kept_for_the_next_batch_stay_true(keeps: AnyCallback) -> None:
    """They are in `grad` when the next batch's, which are scaled, come to them: all are scaled down together."""
    ends: list[list[Tensor]] = []
    for half in (False, True):
        learn = learner(lr=0.01)
        if half:
            learn.add(MixedPrecision, dtype=torch.float16)
        seen: list[Tensor] = []
        learn.fit(1, cbs=[keeps, At("after_backward", lambda _, learn=learn, seen=seen: seen.append(grads(learn)))])
        ends.append(seen)

    for true, own in zip(*ends, strict=True):
        torch.testing.assert_close(own, true, rtol=0.02, atol=2e-3)
    assert float(ends[0][1].norm()) > 1.2 * float(ends[0][0].norm()), "the first batch's are among the second's"


@dataclass(frozen=True)
class Cancelled(AnyCallback):
    """Counts the cancelled batches."""

    count: Cell[int] = cell(0)

    @override
    def after_cancel_batch(self, event: object) -> None:
        self.count.value += 1


def test_a_batch_whose_gradients_overflow_is_cancelled_and_the_scale_falls_until_they_do_not() -> None:
    learn = learner()
    mixed = learn.add(MixedPrecision, dtype=torch.float16, init_scale=2.0**24)
    cancelled = Cancelled()
    before = learn.model[0].weight.clone()

    learn.fit(4, cbs=[cancelled])

    assert 1 <= cancelled.count.value < 16
    assert mixed.scaler.value is not None
    assert mixed.scaler.value.get_scale() == 2.0 ** (24 - cancelled.count.value)
    assert not torch.equal(before, learn.model[0].weight)
    assert all(bool(parameter.isfinite().all()) for parameter in learn.model.parameters())


@dataclass(frozen=True)
class Breaks(AnyCallback):
    """Cancels or fails in the middle of a batch."""

    error: bool
    order = 10  # type: ignore[misc]  # a ClassVar of the base

    @override
    def after_pred(self, event: object) -> CancelBatch:
        if self.error:
            raise RuntimeError("enough")
        return CancelBatch()


@pytest.mark.parametrize("error", [False, True])
def test_autocast_is_closed_after_a_cancel_and_after_an_error(error: bool) -> None:
    learn = learner()
    learn.add(MixedPrecision)
    if error:
        with pytest.raises(RuntimeError, match="enough"):
            learn.fit(1, cbs=[Breaks(error)])
    else:
        learn.fit(1, cbs=[Breaks(error)])

    assert not torch.is_autocast_enabled("cpu")


@dataclass(frozen=True)
class Penalty(Callback):
    """Adds the size of the weights to the loss: part of the new loss is the old one, and part is not."""

    model: nn.Module
    order = 10  # type: ignore[misc]  # a ClassVar of the base

    @override
    def after_loss(self, event: AfterLoss) -> AfterLoss:
        return event.with_loss(event.loss + sum(weight.square().sum() for weight in self.model.parameters()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "replaces",
    [
        lambda learn: LabelSmoothing(0.2),
        lambda learn: MixUp(partial(F.cross_entropy, reduction="none")),
        lambda learn: Penalty(learn.model),
    ],
)
def test_a_callback_may_put_another_loss_in_place_of_the_first(
    replaces: Callable[[Net], Callback], dtype: torch.dtype
) -> None:
    """Its gradients are the true ones, as those of the first loss are, and it is computed in float32 as that is."""
    plain, half = learner(), learner()
    kinds = set()
    for learn in (plain, half):
        if learn is half:
            learn.add(MixedPrecision, dtype=dtype)
        torch.manual_seed(1)
        learn.fit(2, cbs=[replaces(learn), At("after_backward", lambda event: kinds.add(event.loss.dtype))])

    assert kinds == {torch.float32}
    for own, other in zip(half.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=0.05, atol=0.02)


def test_autocast_is_closed_after_a_cancel_by_one_who_has_seen_the_loss() -> None:
    learn = learner()
    learn.add(MixedPrecision, dtype=torch.float16)
    learn.fit(1, cbs=[At("after_loss", lambda event: CancelBatch())])
    assert not torch.is_autocast_enabled("cpu")


def sees(order_: int, *, phases_: tuple[Phase, ...] = ("train", "valid")) -> Callback[object, object, object]:
    """A callback of some order that looks at gradients."""

    @dataclass(frozen=True)
    class Sees(AnyCallback):
        order: ClassVar[int] = order_
        phases: ClassVar[tuple[Phase, ...]] = phases_

        precision: Optional[MixedPrecision] = None

        @override
        def after_backward(self, event: BatchEvent) -> None: ...

    return Sees()


@pytest.mark.parametrize("order", [-101, -100])
def test_a_callback_that_would_see_scaled_gradients_is_refused_when_it_is_attached(order: int) -> None:
    before = (
        rf"^Sees\.after_backward would see gradients that are scaled up for float16: its order is {order}, .* above"
    )
    learn = learner()
    sees_scaled = sees(order)
    learn._attach([sees_scaled])
    with pytest.raises(CallbackError, match=before):
        learn.add(MixedPrecision, torch.float16)
    assert learn.cbs == (sees_scaled,)
    with pytest.raises(CallbackError, match=before):
        learn.fit(1, cb_funcs=[partial(MixedPrecision, dtype=torch.float16)])
    learn.add(MixedPrecision, torch.bfloat16)


def test_a_callback_that_sees_scaled_gradients_of_its_own_objective_is_refused() -> None:
    def objective(*cbs: Any, **settings: Any) -> Objective[Any, Any, Any]:
        net = nn.Linear(1, 1)
        half = partial(MixedPrecision, dtype=torch.float16)
        return Objective(net, SGD(net.parameters(), lr=0.1), cbs, [half] if settings else [])

    Loop[Any, Any, Any]([sees(-101)], objectives=[objective(sees(-101)), objective(half=True)])  # batches of others
    with pytest.raises(CallbackError, match="would see gradients that are scaled up"):
        Loop[Any, Any, Any](objectives=[objective(sees(-101), half=True)])


def test_whoever_runs_behind_or_sees_no_gradients_is_taken() -> None:
    learn = learner()
    half = MixedPrecision(learn, torch.float16)
    behind: Any = type(sees(-101))
    learn._attach([sees(-99), sees(-101, phases_=("valid",)), behind(half), half, Early()])
    assert [type(callback).__name__ for callback in learn.cbs[-2:]] == ["Sees", "Sees"]
    learn.fit(1)


@dataclass(frozen=True)
class Early(AnyCallback):
    """Runs before all others, and looks at no gradients."""

    order: ClassVar[int] = -1000

    @override
    def begin_batch(self, event: BatchEvent) -> None: ...


def test_another_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match=r"torch\.bfloat16 or torch\.float16"):
        learner().add(MixedPrecision, dtype=torch.float64)
