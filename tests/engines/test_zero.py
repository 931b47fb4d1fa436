"""An optimizer that ZeRO has step on a part, by a stand-in that lays parameters out as DeepSpeed does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from typedcb import EngineError
from typedcb.engines.zero import Zero

OPTIMIZERS = [partial(SGD, lr=0.1), partial(SGD, lr=0.1, momentum=0.9), partial(AdamW, lr=0.01)]


@pytest.fixture(autouse=True)
def one_process() -> Iterator[None]:
    """A process that has itself to talk to."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class LaysOut:
    """The one part of all parameters, which the optimizer has in place of them."""

    def __init__(self, opt: Optimizer) -> None:
        self.opt = opt
        self.trained = [[one for one in group["params"] if one.requires_grad] for group in opt.param_groups]
        self.bit16_groups_flat = [torch.cat([one.detach().flatten() for one in group]) for group in self.trained]
        self.parts = [whole.clone().requires_grad_() for whole in self.bit16_groups_flat]
        for group, part in zip(opt.param_groups, self.parts, strict=True):
            group["params"] = [part]
        for parameters, whole in zip(self.trained, self.bit16_groups_flat, strict=True):
            for one, piece in zip(parameters, whole.split([one.numel() for one in parameters]), strict=True):
                one.data = piece.view(one.shape)

    def refresh_fp32_params(self) -> None:
        for part, whole in zip(self.parts, self.bit16_groups_flat, strict=True):
            part.detach().copy_(whole)

    def step(self) -> None:
        for parameters, part, whole in zip(self.trained, self.parts, self.bit16_groups_flat, strict=True):
            part.grad = torch.cat([torch.zeros(0) if one.grad is None else one.grad.flatten() for one in parameters])
        self.opt.step()
        for part, whole in zip(self.parts, self.bit16_groups_flat, strict=True):
            whole.copy_(part.detach())


def model() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))


def groups(net: nn.Sequential) -> list[dict[str, Any]]:
    return [{"params": [*net[0].parameters()]}, {"params": [*net[2].parameters()], "lr": 0.02}]


def compute(net: nn.Module, number: int) -> None:
    net.zero_grad()
    xb = torch.randn(8, 4, generator=torch.Generator().manual_seed(number))
    net(xb).square().sum().backward()


class InParts:
    """A model with an optimizer that steps on a part of it."""

    def __init__(self, opt_func: Callable[..., Optimizer], net: nn.Sequential | None = None) -> None:
        self.net = model() if net is None else net
        self.opt = opt_func(groups(self.net))
        self.lay_out()

    def lay_out(self) -> None:
        made: list[LaysOut] = []

        def make() -> LaysOut:
            made.append(LaysOut(self.opt))
            return made[0]

        self.zero = Zero(self.opt, make, 0, 1, lambda what: None)
        self.inner = made[0]

    def step(self, number: int) -> None:
        compute(self.net, number)
        self.zero.step(self.inner.step)


def plain(opt_func: Callable[..., Optimizer], n: int) -> tuple[nn.Sequential, Optimizer]:
    net = model()
    opt = opt_func(groups(net))
    for number in range(n):
        compute(net, number)
        opt.step()
    return net, opt


def flat(state: Any) -> list[Any]:
    """All that is in a state, in order, of tensors their numbers."""
    if isinstance(state, dict):
        return [value for key in sorted(state, key=str) for value in (key, *flat(state[key]))]
    if isinstance(state, list):
        return [value for one in state for value in flat(one)]
    return state.flatten().tolist() if isinstance(state, Tensor) else [state]


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("opt_func", OPTIMIZERS)
def test_weights_and_state_are_those_of_the_optimizer_alone(opt_func: Any) -> None:
    there = InParts(opt_func)
    for number in range(3):
        there.step(number)
    net, opt = plain(opt_func, 3)
    assert same_weights(there.net, net)
    assert flat(there.opt.state_dict()) == flat(opt.state_dict())


@pytest.mark.parametrize("opt_func", OPTIMIZERS)
def test_a_state_is_loaded_before_the_parameters_are_laid_out_and_after(opt_func: Any) -> None:
    net, opt = plain(opt_func, 2)
    whole, _ = plain(opt_func, 4)
    early = InParts(opt_func)
    early.zero.give_back(lambda: None)
    early.opt.load_state_dict(opt.state_dict())
    early.net.load_state_dict(net.state_dict())
    early.lay_out()
    late = InParts(opt_func)
    late.step(9)
    late.opt.load_state_dict(opt.state_dict())
    late.net.load_state_dict(net.state_dict())  # weights, too, are stepped from as they were loaded
    for there in (early, late):
        there.step(2)
        there.step(3)
        assert same_weights(there.net, whole)


def test_the_optimizer_is_over_the_models_own_parameters_at_all_times_but_in_a_step() -> None:
    there = InParts(OPTIMIZERS[2])
    seen: list[bool] = []
    own = [*there.net.parameters()]

    def are_own() -> bool:
        shown = [one for group in there.opt.param_groups for one in group["params"]]
        return all(one is other for one, other in zip(shown, own, strict=False))

    compute(there.net, 0)
    there.zero.step(lambda: (seen.append(are_own()), there.inner.step())[1])
    assert [are_own(), *seen] == [True, False]


def test_a_rate_that_is_set_outside_holds_in_the_step_and_a_group_that_is_frozen_is_left_out() -> None:
    net = model()
    net[0].requires_grad_(False)
    before = net[0].weight.clone()
    there = InParts(OPTIMIZERS[0], net)
    there.opt.param_groups[1]["lr"] = 0.0
    last = net[2].weight.clone()
    there.step(0)
    assert torch.equal(net[0].weight, before)
    assert torch.equal(net[2].weight, last)
    there.opt.param_groups[1]["lr"] = 0.1
    there.step(1)
    assert not torch.equal(net[2].weight, last)


def test_what_is_trained_later_goes_on_from_its_own_state() -> None:
    net = model()
    net[0].requires_grad_(False)
    there = InParts(OPTIMIZERS[2], net)
    there.step(0)
    there.zero.give_back(lambda: None)
    net[0].requires_grad_(True)
    there.lay_out()
    there.step(1)
    counts = [float(kept["step"]) for _, kept in sorted(there.opt.state_dict()["state"].items())]
    assert counts == [1.0, 1.0, 2.0, 2.0]


def test_a_step_of_the_optimizer_itself_is_refused() -> None:
    there = InParts(OPTIMIZERS[2])
    with pytest.raises(EngineError, match=r"AdamW\.step\(\) was called, and ZeRO has its state.*engine\.steps\(opt\)"):
        there.opt.step()
    there.zero.give_back(lambda: None)
    there.opt.step()  # it is its own again


def test_groups_that_are_added_after_all_were_laid_out_are_refused() -> None:
    there = InParts(OPTIMIZERS[0])
    there.opt.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    with pytest.raises(EngineError, match="SGD had 2 parameter groups when ZeRO laid them out, and has 3"):
        there.step(0)


def test_parameters_of_one_group_that_were_stepped_on_differently_often_are_refused() -> None:
    there = InParts(OPTIMIZERS[2])
    there.net[0].bias.requires_grad_(False)
    there.zero.give_back(lambda: None)
    there.lay_out()
    there.step(0)
    there.zero.give_back(lambda: None)
    there.net[0].bias.requires_grad_(True)
    with pytest.raises(EngineError, match=r"group 0 of AdamW .* differently often \(0, 1 times\)"):
        there.lay_out()


def test_another_layout_than_is_known_is_refused() -> None:
    opt = SGD(model().parameters(), lr=0.1)

    def make() -> LaysOut:
        made = LaysOut(opt)
        made.parts[0].data = made.parts[0].data.flip(0)
        return made

    with pytest.raises(EngineError, match="this version of DeepSpeed lays parameters out in another way"):
        Zero(opt, make, 0, 1, lambda what: None)
