"""What a learner offers in one call: a learning-rate search, one cycle, freezing, a summary."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from typedcb import Completed, DataBunch, Learner
from typedcb.callbacks import MOMENTUM, Recorder

Pair = tuple[Tensor, Tensor]
Net = Learner[Tensor, Tensor, Tensor, nn.Sequential]


def learner(batches: int = 5) -> Net:
    torch.manual_seed(0)
    data: list[Pair] = [(torch.randn(6, 5), torch.arange(6) % 3) for _ in range(batches)]
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    opt = partial(SGD, lr=0.1, momentum=0.9)
    groups = lambda net: [[*net[0].parameters(), *net[1].parameters()], net[3].parameters()]  # noqa: E731
    return Learner(model, DataBunch(data, data), F.cross_entropy, opt, splitter=groups)


def test_lr_find_tries_growing_rates_and_leaves_the_learner_as_it_was() -> None:
    learn = learner()
    before = [value.clone() for value in learn.model.state_dict().values()]

    finder = learn.lr_find(1e-4, 1.0, n_batches=30)

    assert finder.lrs[0] == pytest.approx(1e-4)
    assert all(b > a for a, b in zip(finder.lrs.value, finder.lrs.value[1:], strict=False))
    assert all(map(torch.equal, before, learn.model.state_dict().values()))
    assert [group["lr"] for group in learn.opt.param_groups] == [0.1, 0.1]
    assert learn.cbs == ()
    assert 1e-4 <= finder.suggestion() <= 1.0


def test_fit_one_cycle_peaks_at_the_stated_rates_and_mirrors_the_momentum() -> None:
    learn = learner(batches=10)
    rates, momenta = Recorder(learn), Recorder(learn, MOMENTUM)

    outcome = learn.fit_one_cycle(4, (0.01, 0.2), cbs=[rates, momenta])

    assert isinstance(outcome, Completed)
    assert max(first for first, _ in rates.params) == pytest.approx(0.01, rel=0.01)
    assert max(last for _, last in rates.params) == pytest.approx(0.2, rel=0.01)
    assert min(first for first, _ in momenta.params) == pytest.approx(0.85, rel=0.01)
    assert learn.cbs == ()


def test_freeze_trains_the_last_group_alone_and_unfreeze_all() -> None:
    learn = learner()

    learn.freeze()
    frozen = [parameter.requires_grad for parameter in learn.model.parameters()]
    learn.unfreeze()

    assert frozen == [False, False, False, False, True, True]
    assert all(parameter.requires_grad for parameter in learn.model.parameters())


def test_a_summary_tells_of_each_module_and_changes_nothing() -> None:
    learn = learner()
    learn.freeze()
    learn.model[1].eval()
    before = [value.clone() for value in learn.model.state_dict().values()]

    summary = learn.summary()

    assert [layer.shapes for layer in summary.layers] == [((6, 8),), ((6, 8),), ((6, 8),), ((6, 3),)]
    assert [layer.kind for layer in summary.layers] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert summary.parameters == sum(parameter.numel() for parameter in learn.model.parameters()) == 91
    assert summary.trainable == 27
    assert [module.training for module in learn.model] == [True, False, True, True]
    assert all(map(torch.equal, before, learn.model.state_dict().values()))
    assert str(summary).splitlines()[1].split() == ["0", "Linear", "6x8", "48", "no"]
    assert str(summary).endswith("Sequential: 91 parameters, 27 of them train")


def test_a_shared_parameter_is_counted_once_in_the_model() -> None:
    shared = nn.Linear(5, 5)
    data: list[Pair] = [(torch.randn(6, 5), torch.randn(6, 5))]
    learn = Learner(nn.Sequential(shared, shared), DataBunch(data), F.mse_loss, partial(SGD, lr=0.1))

    assert learn.summary().parameters == 30


def test_a_search_over_rates_that_do_not_grow_is_refused() -> None:
    with pytest.raises(ValueError, match="0 < start_lr < end_lr"):
        learner().lr_find(1.0, 1e-3)


def test_a_search_on_a_diverging_problem_stops_early() -> None:
    finder = learner().lr_find(1e-3, 1e9, n_batches=200)

    assert len(finder.lrs) < 200
    assert math.isfinite(finder.suggestion())
