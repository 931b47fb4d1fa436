"""A loop with objectives is saved and taken up whole: models, optimizers, steps and the cells of all callbacks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Optional

import attrs
import pytest
import torch
from recording import At
from runs import differing, flat
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, Optimizer
from torch.utils.data import DataLoader, TensorDataset

from typedcb import CancelTrain, DataBunch, LoopError, LoopParts, MismatchError, Objective, ObjectiveParts
from typedcb.callbacks import EMA, AvgStats, Checkpoint, GradientClip, MixedPrecision, Recorder, SmoothLoss
from typedcb.dependencies import own_states
from typedcb.loop import Loop
from typedcb.randomness import random_states, saves_itself
from typedcb.store import steps

Pair = tuple[nn.Sequential, nn.Sequential]


@attrs.frozen
class Gan:
    """A small one, in which the critic steps twice in a batch, and the generator once in two batches."""

    parts: ObjectiveParts[Tensor, Tensor, Tensor]
    critic: Objective[Tensor, Tensor, Tensor, nn.Sequential]
    generator: Objective[Tensor, Tensor, Tensor, nn.Sequential]

    def turns(self, batch: Any) -> None:
        """What is done in a training batch."""
        critic, generator = self.critic, self.generator
        for _ in range(2):
            made = generator.model(torch.randn(len(batch.xb), 2)).detach()
            turn = batch.turn(critic, torch.cat([batch.xb, made]), torch.cat([batch.yb, batch.yb - 1]))
            out = turn.pred(critic.model(turn.xb))
            out.loss(F.binary_cross_entropy_with_logits(out.pred, out.yb)).backward().step()
        turn = batch.turn(generator, torch.randn(len(batch.xb), 2), batch.yb)
        out = turn.pred(critic.model(generator.model(turn.xb)))
        done = out.loss(F.binary_cross_entropy_with_logits(out.pred, out.yb)).backward()
        if batch.cursor.index % 2:  # the gradients of the batch before are still there
            done.step()

    def train(self, resume: Optional[Path] = None) -> None:
        """Somebody's own loop, of two epochs."""
        with self.parts.loop.fit(2, resume=None if resume is None else self.parts.resumption(resume)) as fit:
            for epoch in fit.epochs():
                self.critic.model.train()
                self.generator.model.train()
                for batch in epoch.train(self.parts.data.train_dl):
                    self.turns(batch)
                self.critic.model.eval()
                with torch.no_grad():
                    for held_out in epoch.validate(self.parts.data.valid_dl):
                        turn = held_out.turn(self.critic, held_out.xb, held_out.yb)
                        seen = turn.pred(self.critic.model(turn.xb))
                        seen.loss(F.binary_cross_entropy_with_logits(seen.pred, seen.yb))


def gan(
    seed: int = 0, *, names: tuple[str, str] = ("critic", "generator"), width: int = 6, opt: type[Optimizer] = Adam
) -> Gan:
    torch.manual_seed(seed)
    critic_net = nn.Sequential(nn.Linear(2, width), nn.Dropout(0.3), nn.Linear(width, 1))
    generator_net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    critic = Objective[Tensor, Tensor, Tensor, nn.Sequential](
        critic_net,
        opt(critic_net.parameters(), lr=0.01),  # type: ignore[call-arg]  # each of torch's has it
        [SmoothLoss(0.5), SmoothLoss(0.9), AvgStats()],
        [partial(GradientClip, clip=0.5), partial(EMA, decay=0.9), Recorder],
        name=names[0],
    )
    half = partial(MixedPrecision, dtype=torch.float16)
    generator = Objective[Tensor, Tensor, Tensor, nn.Sequential](
        generator_net, SGD(generator_net.parameters(), 0.1, 0.9), [SmoothLoss(0.9)], [half], name=names[1]
    )
    samples = TensorDataset(torch.randn(14, 2), torch.ones(14, 1))
    data = DataBunch(DataLoader(samples, 4, shuffle=True), DataLoader(samples, 7))
    loop = Loop[Tensor, Tensor, Tensor](objectives=[critic, generator])
    return Gan(ObjectiveParts(loop, data), critic, generator)


def all_of(made: Gan) -> dict[str, Any]:
    """All that training has made, by name."""
    found: dict[str, Any] = {"random": flat(random_states())}
    for one in (made.critic, made.generator):
        found[f"{one.name}.steps"] = one.steps
        found[f"{one.name}.model"] = flat(one.model.state_dict())
        found[f"{one.name}.opt"] = flat(one.opt.state_dict())
        for place, callback in enumerate(one.cbs):
            for field, state in own_states(callback).items():
                value: Any = getattr(state, "value", None)
                own = saves_itself(value)
                if state.saved:
                    found[f"{one.name}.{place}.{field}"] = flat(own.state_dict() if own else value)
    return found


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """What a run that is left alone comes to."""
    made = gan()
    made.train()
    assert (made.critic.steps, made.generator.steps) == (16, 4)
    return all_of(made)


PLACES: list[tuple[int, Any, int]] = [
    (e, phase, i) for e in (0, 1) for phase, n in (("train", 4), ("valid", 2)) for i in range(n)
]


@pytest.mark.parametrize(("epoch", "phase", "index"), PLACES)
def test_a_fit_that_is_left_at_any_batch_goes_on_bit_for_bit(
    epoch: int, phase: Any, index: int, alone: dict[str, Any], tmp_path: Path
) -> None:
    left = gan()
    left.parts.loop.add(
        At("after_batch", lambda event: CancelTrain("enough"), epoch=epoch, phase=phase, index=index),
        Checkpoint(left.parts, tmp_path, every_epochs=None, at_end=True),
    )
    left.train()
    again = gan()
    torch.rand(7)  # the process has drawn other numbers by now
    again.train(tmp_path)
    assert differing(all_of(again), alone) == []


def test_a_fit_goes_on_bit_for_bit_from_the_end_of_an_epoch(alone: dict[str, Any], tmp_path: Path) -> None:
    saved(tmp_path)
    again = gan()
    again.train(steps(tmp_path)[0])
    assert differing(all_of(again), alone) == []


def test_a_checkpoint_is_written_and_named_by_the_steps_of_all_optimizers(tmp_path: Path) -> None:
    made = gan()
    made.parts.loop.add(Checkpoint(made.parts, tmp_path, every_steps=6, every_epochs=None, keep_last=9))
    made.train()
    # 2, 5, 7, 10 steps after the batches of an epoch: a multiple of 6 was passed in each of these
    assert [path.name for path in steps(tmp_path)] == ["step-00000007", "step-00000012", "step-00000020"]


def test_at_rest_weights_and_cells_are_saved_and_loaded(tmp_path: Path) -> None:
    made = gan()
    made.train()
    made.parts.save(tmp_path / "weights")
    other = gan(seed=5)
    other.parts.load(tmp_path / "weights")
    left_out = {"random", "critic.steps", "generator.steps", "generator.0.scaler"}  # a fit makes the scaler
    assert set(differing(all_of(other), all_of(made))) <= left_out
    assert other.critic.cbs[0].value == made.critic.cbs[0].value != made.critic.cbs[1].value  # type: ignore[attr-defined]  # SmoothLoss


def saved(folder: Path) -> None:
    made = gan()
    made.parts.loop.add(Checkpoint(made.parts, folder))
    made.train()


def test_whatever_does_not_fit_is_named_with_its_objective(tmp_path: Path) -> None:
    saved(tmp_path)
    for other, match in (
        (gan(5, names=("critic", "painter")), "model: the objective generator was saved, and is not there now"),
        (gan(5, names=("critic", "painter")), "model: the objective painter is there now, and was not saved"),
        (gan(5, width=7), r"model: of critic: 0\.weight was float32 \[6, 2\], and is float32 \[7, 2\]"),
        (gan(5, opt=torch.optim.RMSprop), "optimizer: of critic: it was an Adam, and is an RMSprop"),
    ):
        before = all_of(other)
        with pytest.raises(MismatchError, match=match):
            other.parts.resumption(tmp_path)
        with pytest.raises(MismatchError, match=match):
            other.parts.load(tmp_path)
        assert differing(all_of(other), before) == []
    gan(opt=torch.optim.RMSprop).parts.load(tmp_path, {"optimizer": "reset"})


def test_a_callback_that_has_moved_to_another_objective_is_told_of(tmp_path: Path) -> None:
    made = gan()
    moved = SmoothLoss(0.9)
    one = Objective[Tensor, Tensor, Tensor](made.critic.model, made.critic.opt, [moved], name="critic")
    two = Objective[Tensor, Tensor, Tensor](made.generator.model, made.generator.opt, name="generator")
    ObjectiveParts(Loop[Tensor, Tensor, Tensor](objectives=[one, two]), made.parts.data).save(tmp_path / "one")
    one = Objective[Tensor, Tensor, Tensor](made.critic.model, made.critic.opt, name="critic")
    two = Objective[Tensor, Tensor, Tensor](made.generator.model, made.generator.opt, [SmoothLoss()], name="generator")
    parts = ObjectiveParts(Loop[Tensor, Tensor, Tensor](objectives=[one, two]), made.parts.data)
    with pytest.raises(MismatchError) as caught:
        parts.load(tmp_path / "one")
    assert "SmoothLoss of critic was attached when it was saved, and is not now" in str(caught.value)
    assert "SmoothLoss of generator is attached now, and was not when it was saved" in str(caught.value)
    parts.load(tmp_path / "one", {"SmoothLoss": "reset"})


def test_steps_are_given_by_name_when_objectives_stand_in_another_order(tmp_path: Path) -> None:
    saved(tmp_path)
    made = gan()
    loop = made.parts.loop
    other = gan()
    turned = Objective[Tensor, Tensor, Tensor, nn.Sequential](
        other.generator.model, other.generator.opt, [SmoothLoss(0.9)], [partial(MixedPrecision, dtype=torch.float16)],
        name="generator",
    )  # fmt: skip
    critic = Objective[Tensor, Tensor, Tensor, nn.Sequential](
        other.critic.model,
        other.critic.opt,
        [SmoothLoss(0.5), SmoothLoss(0.9), AvgStats()],
        [partial(GradientClip, clip=0.5), partial(EMA, decay=0.9), Recorder],
        name="critic",
    )
    parts = ObjectiveParts(Loop[Tensor, Tensor, Tensor](objectives=[turned, critic]), made.parts.data)
    assert [objective.name for objective in loop.objectives] == ["critic", "generator"]
    assert parts.resumption(tmp_path).position.objective_steps == (4, 16)


def test_a_loop_with_a_model_and_an_objective_is_saved_whole(tmp_path: Path) -> None:
    def parts(seed: int) -> tuple[LoopParts[Tensor, Tensor, Tensor, nn.Linear], nn.Linear]:
        torch.manual_seed(seed)
        model, net = nn.Linear(2, 1), nn.Linear(2, 1)
        critic = Objective[Tensor, Tensor, Tensor, nn.Linear](net, SGD(net.parameters(), 0.1), name="critic")
        loop = Loop[Tensor, Tensor, Tensor](objectives=[critic])
        return LoopParts(loop, model, SGD(model.parameters(), 0.1), gan().parts.data), net

    (one, net), (other, other_net) = parts(0), parts(1)
    one.save(tmp_path / "one")
    other.load(tmp_path / "one")
    assert other.model.weight.equal(one.model.weight)
    assert other_net.weight.equal(net.weight)


def test_a_checkpoint_of_objectives_is_none_of_a_model_and_the_other_way_about(tmp_path: Path) -> None:
    made = gan()
    made.parts.save(tmp_path / "objectives")
    model = nn.Linear(2, 1)
    plain = LoopParts(Loop[Tensor, Tensor, Tensor](), model, SGD(model.parameters(), 0.1), made.parts.data)
    with pytest.raises(MismatchError, match="a model of the loop's own is there now, and was not saved"):
        plain.load(tmp_path / "objectives")
    plain.save(tmp_path / "plain")
    with pytest.raises(MismatchError, match="a model of the loop's own was saved, and is not there now"):
        made.parts.load(tmp_path / "plain")


def test_names_have_to_tell_objectives_apart_and_there_have_to_be_some() -> None:
    with pytest.raises(LoopError, match=r"two objectives of this loop are called net.*name='critic'"):
        gan(names=("net", "net"))
    with pytest.raises(LoopError, match="this loop has no objectives"):
        ObjectiveParts(Loop[Tensor, Tensor, Tensor](), gan().parts.data)
