"""A loop of one's own is saved and taken up as a learner's is: bit for bit, in the middle of an epoch too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from recording import At
from runs import differing, everything
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from typedcb import CancelTrain, DataBunch, LoopError, LoopParts, MismatchError
from typedcb.callbacks import EMA, AvgStats, Checkpoint, GradientClip, Recorder, SmoothLoss
from typedcb.loop import Loop
from typedcb.store import steps


class Weighted(nn.Module):
    """A loss with a weight of its own, which is trained, and a buffer that each batch changes."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, pred: Tensor, yb: Tensor) -> Tensor:
        self.seen += 1
        return F.mse_loss(pred, yb) * torch.exp(-self.log_scale) + self.log_scale


def parts(seed: int = 0) -> LoopParts[Tensor, Tensor, Tensor, nn.Sequential]:
    torch.manual_seed(seed)
    x = torch.linspace(-1, 1, 14).reshape(-1, 1)
    samples = TensorDataset(x, 3 * x)
    model = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.2), nn.Linear(8, 1))
    loss = Weighted()
    opt = SGD([*model.parameters(), *loss.parameters()], lr=0.1, momentum=0.9)
    data = DataBunch(DataLoader(samples, 4, shuffle=True), DataLoader(samples, 7))
    made = LoopParts(Loop[Tensor, Tensor, Tensor](), model, opt, data, loss)
    made.loop.add(AvgStats(), SmoothLoss(), GradientClip(made, 1.0), EMA(made, 0.9), Recorder(made))
    return made


def train(parts: LoopParts[Any, Any, Any, Any], n_epochs: int = 2, resume: Path | None = None) -> None:
    """Somebody's own loop."""
    model, opt, loss = parts.model, parts.opt, parts.loss_func
    assert isinstance(loss, nn.Module)
    with parts.loop.fit(n_epochs, resume=None if resume is None else parts.resumption(resume)) as fit:
        for epoch in fit.epochs():
            model.train()
            for batch in epoch.train(parts.data.train_dl):
                out = batch.pred(model(batch.xb))
                out.loss(loss(out.pred, out.yb)).backward().step(opt)
            model.eval()
            with torch.no_grad():
                for held_out in epoch.validate(parts.data.valid_dl):
                    seen = held_out.pred(model(held_out.xb))
                    seen.loss(loss(seen.pred, seen.yb))


def all_of(parts: LoopParts[Any, Any, Any, Any]) -> dict[str, Any]:
    found = everything(parts)  # type: ignore[arg-type]  # it has what a learner has
    assert isinstance(parts.loss_func, nn.Module)
    return {**found, "loss": [(name, value.tolist()) for name, value in parts.loss_func.state_dict().items()]}


def saved(folder: Path) -> LoopParts[Any, Any, Any, Any]:
    made = parts()
    made.loop.add(Checkpoint(made, folder, every_seconds=1e-9, keep_last=1000))
    train(made)
    return made


def test_it_goes_on_bit_for_bit_from_every_place(tmp_path: Path) -> None:
    alone = parts()
    train(alone)
    assert differing(all_of(saved(tmp_path)), all_of(alone)) == [], "saving changes nothing"
    paths = steps(tmp_path)
    assert len(paths) == 2 * (4 + 2 + 1)
    for path in paths:
        again = parts(seed=5)
        train(again, resume=path)
        assert differing(all_of(again), all_of(alone)) == [], path.name


def test_after_a_cancel_the_newest_is_gone_on_from(tmp_path: Path) -> None:
    alone = parts()
    train(alone)
    stopped = parts()

    def stop(event: Any) -> CancelTrain | None:
        return CancelTrain("enough") if event.reached.epoch == 1 and event.reached.index == 1 else None

    stopped.loop.add(At("after_batch", stop, phase="train"), Checkpoint(stopped, tmp_path, at_end=True))
    train(stopped)
    again = parts(seed=5)
    train(again, resume=tmp_path)
    assert differing(all_of(again), all_of(alone)) == []


def test_at_rest_it_is_saved_and_loaded(tmp_path: Path) -> None:
    first = parts()
    train(first, 1)
    first.save(tmp_path / "step-00000001")
    second = parts(seed=5)
    second.load(tmp_path)
    assert differing(
        {name: value for name, value in all_of(second).items() if name != "random"},
        {name: value for name, value in all_of(first).items() if name != "random"},
    ) == []  # fmt: skip
    assert second.position is None


def test_it_is_not_loaded_in_a_fit(tmp_path: Path) -> None:
    made = parts()
    made.save(tmp_path / "step-00000001")

    def load(event: Any) -> None:
        with pytest.raises(LoopError, match="a fit is under way on this loop: a checkpoint is loaded"):
            made.load(tmp_path)

    made.loop.add(At("after_epoch", load))
    train(made, 1)


def test_another_loss_is_refused_before_anything_is_copied(tmp_path: Path) -> None:
    saved(tmp_path)

    class Other(Weighted):
        def __init__(self) -> None:
            super().__init__()
            self.log_scale = nn.Parameter(torch.zeros(2))

    for loss, match in (
        (Other(), r"loss: log_scale was float32 \[\], and is float32 \[2\]"),
        (F.mse_loss, "loss: it had weights or buffers, and has none"),
    ):
        made = parts(seed=5)
        other = LoopParts(made.loop, made.model, made.opt, made.data, loss)
        before = everything(other)  # type: ignore[arg-type]  # as above
        with pytest.raises(MismatchError, match=match):
            other.resumption(tmp_path)
        with pytest.raises(MismatchError, match=match):
            other.load(tmp_path)
        assert differing(everything(other), before) == []  # type: ignore[arg-type]  # as above
        other.load(tmp_path, {"loss": "reset"})


def test_a_loss_that_has_gained_a_state_is_refused(tmp_path: Path) -> None:
    made = parts()
    LoopParts(made.loop, made.model, made.opt, made.data, F.mse_loss).save(tmp_path / "step-00000001")
    with pytest.raises(MismatchError, match="loss: it has weights or buffers, and had none"):
        parts().load(tmp_path)


@dataclass(frozen=True)
class Nothing(SmoothLoss):
    """A callback that the saved loop did not have."""


def test_another_callback_is_refused_by_name(tmp_path: Path) -> None:
    saved(tmp_path)
    other = parts()
    other.loop.add(Nothing())
    with pytest.raises(MismatchError, match="Nothing is attached now, and was not when it was saved"):
        other.resumption(tmp_path)
    assert other.resumption(tmp_path, {"Nothing": "reset"}).position.epoch == 2
