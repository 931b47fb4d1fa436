"""What is saved and loaded outside of a fit, and state that is not in plain cells."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from recording import At
from runs import differing, everything, run
from test_refused import replaced, tampered
from torch import Tensor, nn
from torch.nn import functional as F

from typedcb import DataBunch, Learner
from typedcb.callbacks import EMA, Checkpoint, Progress, Timer
from typedcb.errors import CheckpointError, CheckpointWarning, MismatchError
from typedcb.interop.legacy import course
from typedcb.store import STATE, steps

EVERY_BATCH: dict[str, Any] = {"every_seconds": 1e-9, "keep_last": 1000}


class Margins(nn.Module):
    """A loss that keeps a running mean."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, pred: Tensor, yb: Tensor) -> Tensor:
        if self.training:
            self.mean.mul_(0.9).add_(pred.detach().float().mean(0), alpha=0.1)  # type: ignore[operator]
        return F.cross_entropy(pred - self.mean, yb)  # type: ignore[operator]


def learner(loss: Any, *cbs: Any) -> Learner[Any, Any, Any, Any]:
    torch.manual_seed(0)
    x = torch.randn(12, 6)
    data = DataBunch([(x[i : i + 3], torch.arange(3)) for i in range(0, 12, 3)])
    return Learner(nn.Linear(6, 3), data, loss, partial(torch.optim.SGD, lr=0.1), cbs=list(cbs))


def test_a_loss_that_is_a_module_goes_on_with_its_state(tmp_path: Path) -> None:
    alone = learner(Margins())
    alone.fit(2)
    saving = learner(Margins())
    saving.add(Checkpoint, tmp_path, **EVERY_BATCH)
    saving.fit(2)
    for path in steps(tmp_path):
        again = learner(Margins())
        again.fit(2, resume=path)
        assert torch.equal(again.model.weight, alone.model.weight)
        assert torch.equal(again.loss_func.mean, alone.loss_func.mean)  # type: ignore[attr-defined]
    loaded = learner(Margins())
    loaded.load(tmp_path)
    assert torch.equal(loaded.loss_func.mean, alone.loss_func.mean)  # type: ignore[attr-defined]


def test_a_loss_without_a_state_is_as_good_as_a_function(tmp_path: Path) -> None:
    first = learner(nn.CrossEntropyLoss())
    first.add(Checkpoint, tmp_path)
    first.fit(1)
    learner(F.cross_entropy).fit(2, resume=tmp_path)


def test_the_averaged_weights_are_loaded_at_rest(tmp_path: Path) -> None:
    trained = learner(F.cross_entropy)
    ema = trained.add(EMA, 0.5)
    trained.fit(2)
    trained.save(tmp_path / "step-00000001")
    loaded = learner(F.cross_entropy)
    average = loaded.add(EMA, 0.5)
    loaded.load(tmp_path)
    assert torch.equal(loaded.model.weight, trained.model.weight)
    ema.copy_to(trained.model)
    average.copy_to(loaded.model)
    assert torch.equal(loaded.model.weight, trained.model.weight)
    assert not torch.equal(trained.model.weight, learner(F.cross_entropy).model.weight)


# -------------------------------------------------------------------------------------------------------------- clocks


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes by a second whenever it is moved."""
    now = [1000.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr("typedcb.callbacks.progress.time.monotonic", lambda: now[0])
    return now


def test_clocks_go_on_from_the_seconds_that_they_had(tmp_path: Path, clock: list[float]) -> None:
    def tick(event: Any) -> None:
        clock[0] += 1

    def made(*more: Any) -> tuple[Any, Timer, Progress]:
        timer, progress = Timer(), Progress()
        return learner(F.cross_entropy, At("after_pred", tick), timer, progress, *more), timer, progress

    first, _, _ = made()
    first.add(Checkpoint, tmp_path, every_steps=1, every_epochs=None)
    first.fit(1)
    clock[0] = 5.0  # another process, whose clock has another beginning
    again, timer, progress = made()
    again.fit(1, resume=steps(tmp_path)[1])
    [epoch] = timer.epochs
    assert (epoch.whole, epoch.computing, epoch.waiting, epoch.batches) == (4.0, 4.0, 0.0, 4)
    assert progress.rows.value == ((4.0,),)


# ------------------------------------------------------------------------------------------------------- old callbacks


class OldCallback:
    """A callback of the course, which counts in an attribute."""

    _order = 0

    def __init__(self) -> None:
        self.count = 0

    def set_runner(self, run: Any) -> None:
        self.run = run

    def __call__(self, name: str) -> Any:
        f = getattr(self, name, None)
        return f() if f else False

    def after_step(self) -> None:
        self.count += 1


def test_what_old_callbacks_keep_is_refused_by_name(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn = learner(F.cross_entropy)
        learn._attach((course(learn, OldCallback()),))
    before = everything(learn)
    checkpoint = learn.add(Checkpoint, tmp_path)
    with pytest.raises(CheckpointError, match=r"OldCallback: what they keep in attributes of their own .*is not saved"):
        learn.fit(1)
    assert differing(everything(learn), before) == []
    learn.remove(checkpoint)
    learn.add(Checkpoint, tmp_path, exact=False)
    learn.fit(1)
    with pytest.warns(CheckpointWarning, match="is without a part of the state. OldCallback"):
        learn.save(tmp_path / "weights")


def with_random(path: Path, change: Any) -> Path:
    """A checkpoint with other random states, signed by somebody who knows how."""
    tampered(STATE, lambda tree: change(dict(dict(dict(tree["dict"])["fit"]["dict"])["now"]["dict"])["random"]))(path)
    return path


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("cuda", ["no state"] * 99, "it was saved with 99 CUDA devices, and there are"),
        ("python", {"tuple": [3, {"tuple": [1]}, None]}, "the random states are none"),
    ],
)
def test_random_states_that_cannot_be_set_are_refused(tmp_path: Path, key: str, value: Any, match: str) -> None:
    run(tmp_path).fit(1)

    def change(random: Any) -> None:
        for item in random["dict"]:
            if item[0] == key:
                item[1] = value

    [path] = steps(tmp_path)
    with_random(path, change)
    learn = run()
    before = everything(learn)
    with pytest.raises(MismatchError, match=f"random: {match}"):
        learn.fit(2, resume=path)
    assert differing(everything(learn), before) == []
    learn.fit(2, resume=path, on_mismatch={"random": "reset"})


def test_tensors_of_a_device_that_is_not_here_come_to_the_one_that_is(tmp_path: Path) -> None:
    first = run(tmp_path)
    first.fit(1)
    [path] = steps(tmp_path)
    text = (path / STATE).read_text()
    assert '"cpu"]' in text
    replaced(STATE, text.replace('"cpu"]', '"cuda"]').encode())(path)
    again = run()
    again.fit(1, resume=path)
    assert differing(everything(again), everything(first)) == []
