"""Turns of objectives whose models are in shards, in one process that has all of them."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F

from typedcb import EngineError, Loop, LoopError, Objective
from typedcb.engine import ONE_DEVICE
from typedcb.engines import FSDP, TorchEngine

XB = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def sharding() -> Iterator[TorchEngine]:
    """The parameters of whole models are gathered, and not those of their layers apart."""
    with pytest.MonkeyPatch.context() as patch, socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
        found.close()
        for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
            patch.setenv(name, str(value))
        with TorchEngine(FSDP(units=lambda model: []), device="cpu") as engine:
            yield engine


class Gan:
    """A critic and a maker, and a batch in which a test gives them turns."""

    def __init__(self, engine: Any, extra: tuple[nn.Parameter, ...] = ()) -> None:
        torch.manual_seed(0)
        self.critic_net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        self.maker_net = nn.Sequential(nn.Linear(3, 3))
        for net in (self.critic_net, self.maker_net):
            engine.prepare(net, None)
        critic_opt = torch.optim.SGD([*self.critic_net.parameters(), *extra], lr=0.5)
        maker_opt = torch.optim.SGD(self.maker_net.parameters(), lr=0.5)
        self.critic = Objective[Any, Any, Any](self.critic_net, critic_opt, name="critic")
        self.maker = Objective[Any, Any, Any](self.maker_net, maker_opt, name="maker")
        self.loop = Loop[Any, Any, Any](objectives=[self.critic, self.maker], engine=engine)

    def batch(self, body: Callable[[Gan, Any], None]) -> Gan:
        with self.loop.fit(1) as fit:
            for epoch in fit.epochs():
                for batch in epoch.train([(XB, XB)]):
                    body(self, batch)
        return self

    def critic_loss(self, batch: Any) -> Any:
        turn = batch.turn(self.critic, batch.xb, None)
        return turn.pred(self.critic_net(turn.xb)).loss

    def maker_turn(self, batch: Any) -> Any:
        turn = batch.turn(self.maker, batch.xb, None)
        pred = turn.pred(self.critic_net(self.maker_net(turn.xb))).pred
        return turn.cursor.loss(F.softplus(-pred).mean())

    def gradients(self) -> list[Any]:
        parameters = [*self.critic_net.parameters(), *self.maker_net.parameters()]
        return [None if p.grad is None else whole(p.grad).tolist() for p in parameters]

    def weights(self) -> list[float]:
        parameters = [*self.critic_net.parameters(), *self.maker_net.parameters()]
        return torch.cat([whole(p.detach()).flatten() for p in parameters]).tolist()


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def test_the_gradients_are_those_of_the_objective_alone(sharding: TorchEngine) -> None:
    def body(gan: Gan, batch: Any) -> None:
        gan.maker_turn(batch).backward()

    found = Gan(sharding).batch(body).gradients()
    assert found[:4] == 4 * [None]
    assert found == Gan(ONE_DEVICE).batch(body).gradients()


def test_a_turn_adds_to_the_gradients_of_the_one_before_that_was_not_stepped(sharding: TorchEngine) -> None:
    def body(gan: Gan, batch: Any) -> None:
        gan.maker_turn(batch).backward()
        gan.maker_turn(batch).backward()

    assert Gan(sharding).batch(body).gradients() == Gan(ONE_DEVICE).batch(body).gradients()


def test_a_second_turn_that_reaches_nothing_is_found_out(sharding: TorchEngine) -> None:
    def body(gan: Gan, batch: Any) -> None:
        gan.maker_turn(batch).backward()
        turn = batch.turn(gan.maker, batch.xb, None)
        pred = turn.pred(gan.critic_net(gan.maker_net(turn.xb).detach()))
        pred.loss(pred.pred.mean()).backward()

    with pytest.raises(LoopError, match="depends on none of the 2 parameters"):
        Gan(sharding).batch(body)


def test_turns_may_stand_in_each_other(sharding: TorchEngine) -> None:
    def body(gan: Gan, batch: Any) -> None:
        first = batch.turn(gan.critic, batch.xb, None)
        scores = first.pred(gan.critic_net(first.xb))
        second = gan.maker_turn(batch)
        done = scores.loss(F.softplus(scores.pred).mean()).backward()
        second.backward().step()
        done.step()

    assert Gan(sharding).batch(body).weights() == Gan(ONE_DEVICE).batch(body).weights()


def test_a_model_that_was_called_before_a_step_is_called_with_the_new_weights_after_it(sharding: TorchEngine) -> None:
    seen: list[list[float]] = []

    def body(gan: Gan, batch: Any) -> None:
        done = gan.maker_turn(batch).backward()
        gan.maker_net(batch.xb)  # gathers what the step is about to change
        done.step()
        seen.append(gan.maker_net(batch.xb).flatten().tolist())

    Gan(sharding).batch(body)
    Gan(ONE_DEVICE).batch(body)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("in_shards", [True, False])
def test_a_step_between_prediction_and_backward_is_the_error_that_it_is_without_shards(
    sharding: TorchEngine, in_shards: bool
) -> None:
    def body(gan: Gan, batch: Any) -> None:
        loss = gan.maker_turn(batch)
        turn = batch.turn(gan.critic, batch.xb, None)
        pred = turn.pred(gan.critic_net(turn.xb))
        pred.loss(F.softplus(pred.pred).mean()).backward().step()
        loss.backward()  # through the critic as it was

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        Gan(sharding if in_shards else ONE_DEVICE).batch(body)


def penalized(gan: Gan, batch: Any) -> None:
    turn = batch.turn(gan.critic, batch.xb.clone().requires_grad_(), None)
    score = gan.critic_net(turn.xb)
    (slope,) = torch.autograd.grad(score.sum(), turn.xb, create_graph=True)
    out = turn.pred((score, slope))
    out.loss(out.pred[0].mean() + (out.pred[1].norm(2, 1) - 1).pow(2).mean()).backward().step()


def test_a_gradient_penalty_needs_the_parameters_to_stay_and_is_told_so(sharding: TorchEngine) -> None:
    with pytest.raises(EngineError, match=r"gradient penalty .* set_reshard_after_backward\(False\)"):
        Gan(sharding).batch(penalized)


def test_a_gradient_penalty_is_that_of_one_process_where_the_parameters_stay(sharding: TorchEngine) -> None:
    gan: Any = Gan(sharding)
    gan.critic_net.set_reshard_after_backward(False)
    clipped: list[bool] = []

    def body(both: Any, batch: Any) -> None:
        penalized(both, batch)
        clipped.append(all(isinstance(p, DTensor) for p in both.critic_net.parameters()))
        both.maker_turn(batch).backward().step()

    assert gan.batch(body).weights() == pytest.approx(Gan(ONE_DEVICE).batch(body).weights(), abs=1e-6)
    assert clipped == [True, False]  # callbacks find the shards, and their gradients


def test_gradients_that_were_not_averaged_are_an_error_and_do_not_stay(
    sharding: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gan: Any = Gan(sharding)
    gan.maker_net.set_requires_gradient_sync(False)  # so that fully_shard leaves them where they are

    def body(both: Gan, batch: Any) -> None:
        both.maker_turn(batch).backward()

    with pytest.raises(EngineError, match="backward went through a sharded model twice"):
        gan.batch(body)
    gan.maker_net.set_requires_gradient_sync(True)
    gan.batch(body)
    assert gan.gradients() == Gan(ONE_DEVICE).batch(body).gradients()


def test_a_parameter_beside_the_model_is_trained_with_it(sharding: TorchEngine) -> None:
    def body(gan: Gan, batch: Any) -> None:
        beside = gan.critic.opt.param_groups[0]["params"][-1]
        turn = batch.turn(gan.critic, batch.xb, None)
        pred = turn.pred(gan.critic_net(turn.xb) * beside)
        pred.loss(pred.pred.mean()).backward().step()

    ends = [Gan(engine, (nn.Parameter(torch.ones(1)),)).batch(body) for engine in (sharding, ONE_DEVICE)]
    assert ends[0].weights() == ends[1].weights()
    first, second = (end.critic.opt.param_groups[0]["params"][-1] for end in ends)
    assert torch.equal(first, second) and first.item() != 1.0


def test_a_shard_of_another_model_is_refused(sharding: TorchEngine) -> None:
    other = nn.Linear(2, 2)
    sharding.prepare(other, None)

    def body(gan: Gan, batch: Any) -> None:
        turn = batch.turn(gan.critic, batch.xb, None)
        pred = turn.pred(gan.critic_net(turn.xb))
        pred.loss(pred.pred.mean()).backward()

    with pytest.raises(EngineError, match=r"\[2, 2\] that is not in the objective's own model"):
        Gan(sharding, tuple(other.parameters())).batch(body)


def test_neither_the_engine_nor_its_optimizer_keeps_a_shard_of_a_loop_that_is_gone(sharding: TorchEngine) -> None:
    gan = Gan(sharding).batch(lambda both, batch: both.maker_turn(batch).backward().step())
    seen = [weakref.ref(shard) for shard in gan.maker_net.parameters()]
    assert all(shard() in sharding._shards._wholes for shard in seen)
    del gan
    gc.collect()
    assert [shard() for shard in seen] == [None, None]
