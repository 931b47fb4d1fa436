"""What an engine of several processes keeps in mind, in one process whose others say what it says itself."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from typedcb import EngineError, Loop, Objective
from typedcb.engines import TorchEngine, torch_engine
from typedcb.position import Position, Resumption


class Echo:
    """The processes, the others of which say what this one says."""

    rank = 0
    world_size = 2
    over = False

    def __init__(self, timeout: float) -> None:
        self.store = dist.HashStore()
        self.rounds = 0

    def gather(self, values: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        self.rounds += 1
        return (tuple(values),) * 2

    def exchange(self, text: str, is_over: Callable[[], bool]) -> tuple[str, ...]:
        return (text,) * 2

    def close(self) -> None: ...


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[TorchEngine]:
    monkeypatch.setattr(torch_engine, "Processes", Echo)
    monkeypatch.setattr(dist, "broadcast", lambda tensor, rank: None)
    monkeypatch.setattr(torch_engine, "DistributedDataParallel", lambda model, **settings: ("wrapped", model))
    with TorchEngine(device="cpu") as made:
        failures: Any = made._failures
        monkeypatch.setattr(failures, "failed", lambda error: error)  # nobody is there to be told of it
        yield made


def loader(n: int) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(torch.arange(n), torch.arange(n)), 4)


def test_a_callback_that_looks_at_data_waits_for_nobody_and_leaves_the_batch_under_way(engine: TorchEngine) -> None:
    processes: Any = engine._processes
    train, valid = engine.split("train_dl", loader(8)), engine.split("valid_dl", loader(3))
    with engine.running():
        next(iter(train))
        together, under_way = processes.rounds, (engine.whole(2), engine.counted(2))
        assert together > 0
        engine.in_hook(True)
        assert len(list(valid)) == 1
        with engine.running():  # a fit in a hook
            assert len(list(valid)) == 1
            assert processes.rounds == together + 2
        assert len(list(valid)) == 1
        engine.in_hook(False)
        assert processes.rounds == together + 2
        assert (engine.whole(2), engine.counted(2)) == under_way == (4, 2)
        assert len(list(valid)) == 1
        assert processes.rounds == together + 4


def test_who_runs_on_one_rank_alone_asks_for_no_collective(engine: TorchEngine) -> None:
    with engine.running():
        engine.alone("Shows.after_loss")
        with pytest.raises(EngineError, match=r"Shows.after_loss runs on the main rank alone"):
            engine.gather((1,))
        engine.alone("")
        assert engine.gather((1,)) == ((1,), (1,))


def objective(net: nn.Module) -> Objective[Any, Any, Any]:
    return Objective(net, torch.optim.SGD(net.parameters(), lr=0.1))


PAIRS = [(torch.ones(4, 1), torch.ones(4, 1))] * 3


def go_over(engine: TorchEngine, phase: str, dl: Any) -> int:
    """A pass over a loader, in a loop of one's own: how many batches it has."""
    loop = Loop[Any, Any, Any](engine=engine)
    if phase == "predict":
        with loop.validation() as scope:
            return len([batch.pred(batch.xb) for batch in scope.predict(dl)])
    with loop.fit(1) as fit:
        (found,) = [
            len([batch.pred(batch.xb) for batch in (epoch.train(dl) if phase == "train" else epoch.validate(dl))])
            for epoch in fit.epochs()
        ]
    return found


@pytest.mark.parametrize("phase", ["train", "valid", "predict"])
def test_a_loader_that_every_rank_would_have_the_whole_of_is_refused(engine: TorchEngine, phase: str) -> None:
    name = "train" if phase == "train" else "valid"
    engine.split("train_dl", PAIRS)  # which is split, and not gone over
    with pytest.raises(EngineError, match=rf"^the loader of this pass \({name}\) is none of this engine's") as refused:
        go_over(engine, phase, PAIRS)
    assert f'engine.split("{name}_dl", dl)' in str(refused.value)
    assert f'engine.presplit("{name}_dl", dl)' in str(refused.value)


@pytest.mark.parametrize("phase", ["train", "valid", "predict"])
def test_whatever_stands_around_a_loader_of_the_engine_it_stays_one(engine: TorchEngine, phase: str) -> None:
    split = engine.split("train_dl", PAIRS)
    assert go_over(engine, phase, split) == 3
    assert go_over(engine, phase, islice(split, 2)) == 2
    assert go_over(engine, phase, (pair for pair in split)) == 3
    assert go_over(engine, phase, engine.presplit("train_dl", PAIRS)) == 3
    assert go_over(engine, phase, engine.split("train_dl", loader(8))) == 2


def test_shares_that_were_all_drawn_before_the_pass_are_refused(engine: TorchEngine) -> None:
    drawn = list(engine.split("train_dl", PAIRS))  # each weighs by what was noted with it, which is gone
    with pytest.raises(EngineError, match="none of this engine's"):
        go_over(engine, "train", drawn)


def test_one_process_by_an_engine_goes_over_whatever_there_is(engine: TorchEngine) -> None:
    processes: Any = engine._processes
    processes.world_size = 1
    assert go_over(engine, "train", PAIRS) == 3


@pytest.mark.parametrize("split", [False, True])
def test_a_fit_that_is_taken_up_in_a_pass_goes_over_shares_too(engine: TorchEngine, split: bool) -> None:
    dl = engine.split("train_dl", PAIRS) if split else PAIRS
    for done in (1, 3):
        resume = Resumption(Position(0, "train", done), lambda: None, lambda done=done: done, lambda: None)  # type: ignore[misc]
        scope = Loop[Any, Any, Any](engine=engine).fit(1, resume=resume)
        refused = nullcontext() if split or done == 3 else pytest.raises(EngineError, match="none of this engine's")
        with refused, scope as fit:
            for epoch in fit.epochs():
                assert len([batch.pred(batch.xb) for batch in epoch.train(dl)]) == 3 - done


def test_the_model_of_an_objective_is_wrapped_again_once_it_is_prepared_to_train_by_itself(engine: TorchEngine) -> None:
    net = nn.Linear(1, 1)
    wrapped: Any = ("wrapped", net)
    assert engine.forward(net) == wrapped
    Loop[Any, Any, Any](objectives=[objective(net)], engine=engine)
    assert engine.forward(net) is net
    engine.prepare(net, None)
    assert engine.forward(net) == wrapped


def test_an_engine_keeps_no_model_of_a_loop_that_is_gone(engine: TorchEngine) -> None:
    net = nn.Linear(1, 1)
    Loop[Any, Any, Any](objectives=[objective(net)], engine=engine)
    seen = weakref.ref(net)
    del net
    gc.collect()
    assert seen() is None
