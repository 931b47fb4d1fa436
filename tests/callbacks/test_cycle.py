"""OneCycle: learning rate and momentum of v1 where a phase is whole batches, and of torch's OneCycleLR."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from recorded import RECORDED, SCENARIOS, Net, batches, flat, learner, scenarios, train_losses
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam
from torch.optim.lr_scheduler import OneCycleLR

from typedcb import Loop
from typedcb.callbacks import MOMENTUM, OneCycle, Recorder

V1_END = 25.0 * 1e4
"""v1 ends at highest / (start_div * 1e4); here end_div is a number of its own, 1e5 by default."""

DIFFERENCES = {
    "v1cb/one_cycle/": "v1 rounds the way up down to whole batches; here it is the share of the fit. "
    "v1 leaves the values after the last batch in the optimizer; here those of the last batch stay",
    "v1cb/one_cycle/1x4,pct_start=0.1": "a way up of less than a batch got one, and the way down was cut off; here "
    "both have their share",
    "v1cb/one_cycle/1x4,pct_start=1.0": "v1 takes an empty way down; here it is refused",
    "v1cb/one_cycle/3x4,tot_epochs=2": "v1 stops a fit that is longer than its cycle; here both are as long",
}


def run(n_epochs: int, *, opt_func: Any = partial(SGD, lr=0.1, momentum=0.9), **settings: Any) -> tuple[Net, Any, Any]:
    learn = learner(opt_func=opt_func)
    learn.add(OneCycle, 0.1, **settings)
    lrs, momenta = learn.add(Recorder), learn.add(Recorder, MOMENTUM)
    learn.fit(n_epochs)
    return learn, [lr for (lr,) in lrs.params], [momentum for (momentum,) in momenta.params]


@pytest.mark.parametrize("name", ["v1cb/one_cycle/3x4", "v1cb/one_cycle/3x4,final_div=100"])
def test_the_cycle_of_v1_where_the_way_up_is_whole_batches(name: str) -> None:
    recorded = SCENARIOS[name]
    end_div = recorded["action"]["fit_one_cycle"].get("final_div", V1_END)
    learn, lrs, momenta = run(3, warm_up=int(12 * 0.3) / 12, end_div=end_div)
    assert lrs == pytest.approx(recorded["lr_per_batch"], rel=1e-12)
    assert momenta == pytest.approx(recorded["mom_per_batch"], rel=1e-12)
    assert flat(learn.model) == pytest.approx(flat(recorded["weights"]), rel=1e-4, abs=1e-6)
    assert learn.get(OneCycle).momentum == (0.95, 0.85)
    assert train_losses(recorded)[0] == pytest.approx(1.162957787513733)


def test_the_cycle_of_v1_over_twelve_batches() -> None:
    recorded = RECORDED["fastai_v1"]["one_cycle"]
    cycle = OneCycle(learner(), recorded["lr_max"], tuple(recorded["moms"]), 3 / 12, recorded["div_factor"], V1_END)
    (lr,), momentum = cycle.lr_schedules, cycle.momentum_schedule
    assert momentum is not None
    assert [lr(i / 12) for i in range(13)] == pytest.approx(recorded["lr"], rel=1e-12)
    assert [momentum(i / 12) for i in range(13)] == pytest.approx(recorded["momentum"], rel=1e-12)


def test_a_fit_that_is_taken_up_goes_on_in_the_middle_of_the_cycle() -> None:
    recorded = SCENARIOS["v1cb/one_cycle/3x4,start_epoch=1"]
    learn = learner(opt_func=partial(SGD, lr=0.1, momentum=0.9))
    cycle, lrs, momenta = OneCycle(learn, 0.1, warm_up=3 / 12, end_div=V1_END), [], []
    with Loop[Tensor, Tensor, Tensor]([cycle]).fit(3, start_epoch=1) as fit:
        for epoch in fit.epochs():
            for _ in epoch.train(batches()):
                lrs.append(learn.opt.param_groups[0]["lr"])
                momenta.append(learn.opt.param_groups[0]["momentum"])
    assert lrs == pytest.approx(recorded["lr_per_batch"], rel=1e-12)
    assert momenta == pytest.approx(recorded["mom_per_batch"], rel=1e-12)


@pytest.mark.parametrize("name", scenarios("v1cb/one_cycle/"))
def test_what_v1_did_otherwise_is_known(name: str) -> None:
    recorded = SCENARIOS[name]
    n, share = len(recorded["lr_per_batch"]), recorded["action"]["fit_one_cycle"].get("pct_start", 0.3)
    if name.endswith("pct_start=1.0"):
        with pytest.raises(
            ValueError, match=r"OneCycle.warm_up is 1.0, and has to be above 0 and below 1: a share of the fit"
        ):
            run(1, warm_up=share)
    elif "start_epoch" not in name:
        _, lrs, _ = run(n // 4, warm_up=share, end_div=V1_END)
        assert lrs != pytest.approx(recorded["lr_per_batch"][: len(lrs)], rel=1e-3)
        assert lrs[0] == pytest.approx(recorded["lr_per_batch"][0])


def test_torchs_cycle_between_its_first_and_last_batch() -> None:
    opt = SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    theirs = OneCycleLR(opt, 0.1, total_steps=13, pct_start=4 / 12, div_factor=25, final_div_factor=1e5 / 25)
    expected: list[tuple[float, float]] = []
    for _ in range(12):
        expected.append((opt.param_groups[0]["lr"], opt.param_groups[0]["momentum"]))
        opt.step()
        theirs.step()
    # torch's way up ends a step early: at pct_start * total_steps - 1
    up = (4 / 12 * 13 - 1) / 12
    _, lrs, momenta = run(3, warm_up=up)
    assert lrs == pytest.approx([lr for lr, _ in expected])
    assert momenta == pytest.approx([momentum for _, momentum in expected])


def test_adams_momentum_is_its_first_beta() -> None:
    learn, _, momenta = run(1, opt_func=partial(Adam, lr=0.1, betas=(0.9, 0.99)), warm_up=0.5)
    assert momenta == pytest.approx([0.95, 0.9, 0.85, 0.9])
    assert learn.opt.param_groups[0]["betas"][1] == 0.99


def test_momentum_none_leaves_the_momentum_alone() -> None:
    assert run(1, momentum=None)[2] == [0.9] * 4


def test_each_group_has_its_own_peak() -> None:
    learn = learner(splitter=lambda net: [net[0].parameters(), net[2].parameters()])
    learn.add(OneCycle, (0.1, 1.0), warm_up=0.5)
    recorder = learn.add(Recorder)
    learn.fit(1)
    assert recorder.params[2] == (0.1, 1.0)


def test_a_second_fit_is_a_cycle_of_its_own_length() -> None:
    learn = learner()
    learn.add(OneCycle, 0.1, warm_up=0.5)
    recorder = learn.add(Recorder)
    for n_epochs in (1, 3, 1):
        learn.fit(n_epochs)
        lrs = [lr for (lr,) in recorder.params]
        assert (lrs[0], max(lrs), lrs.index(max(lrs))) == (0.004, 0.1, 2 * n_epochs)


def test_the_last_of_two_side_by_side_holds() -> None:
    learn = learner()
    learn.add(OneCycle, 9.0)
    learn.add(OneCycle, 0.1)
    recorder = learn.add(Recorder)
    learn.fit(1)
    assert max(lr for (lr,) in recorder.params) <= 0.1


@pytest.mark.parametrize(
    ("highest", "settings", "message"),
    [
        ((0.1, 0.2), {}, "highest has 2 learning rates, and the optimizer 1 parameter groups: give one for each"),
        (0.0, {}, "all of these have to be above 0"),
        (0.1, {"end_div": 0.0}, "all of these have to be above 0"),
        (0.1, {"warm_up": 0.0}, "warm_up is 0.0, and has to be above 0 and below 1: a share of the fit"),
        (0.1, {"momentum": (0.95, 1.0)}, r"momentum is \(0.95, 1.0\), and both have to be at least 0 and below 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(highest: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OneCycle(learner(), highest, **settings)


def test_an_optimizer_without_momentum_is_refused_with_the_fix() -> None:
    learn = learner(opt_func=partial(Adagrad, lr=0.1))
    with pytest.raises(ValueError, match=r"Adagrad has no momentum to schedule; .* Give OneCycle momentum=None"):
        learn.add(OneCycle, 0.1)
    learn.add(OneCycle, 0.1, momentum=None)
    learn.fit(1)
