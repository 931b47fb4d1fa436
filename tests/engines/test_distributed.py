"""What an engine of several processes keeps in mind, in one process whose others say what it says itself."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from typedcb import EngineError, Loop, Objective
from typedcb.engines import TorchEngine, torch_engine


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
