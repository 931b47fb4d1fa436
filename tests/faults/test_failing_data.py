"""Section C: loaders that raise, die, end too soon or never, and batches that cannot be trained on."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import torch
from recording import At, Recorder, raising
from tiny import Weight, bunch, learner, own_loop, pairs, total
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset, get_worker_info

from typedcb import (
    BatchWarning,
    CallbackError,
    CancelEpoch,
    Cancelled,
    Completed,
    DataBunch,
    Failed,
    Learner,
    Loop,
    NonFiniteError,
)
from typedcb.callbacks import AvgStats, CheckFinite, EarlyStopping, SaveBest, StopAfterNBatches


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Numbers; at one of them something goes wrong, in whatever process it is asked for."""

    def __init__(self, n: int = 12, bad: int = -1, what: str = "") -> None:
        self.n, self.bad, self.what = n, bad, what

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index == self.bad and self.what == "raise":
            raise LookupError(f"sample {index} is missing")
        if index == self.bad and self.what == "die":
            assert get_worker_info() is not None
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.tensor([float(index)]), torch.ones(1)


def loader(workers: int = 2, persistent: bool = False, **samples: Any) -> DataLoader[tuple[Tensor, Tensor]]:
    return DataLoader(Samples(**samples), batch_size=2, num_workers=workers, persistent_workers=persistent)


def fit(train_dl: Any, *cbs: Any, n_epochs: int = 1, lr: float = 0.001) -> Any:
    return Learner(Weight(), DataBunch(train_dl), total, partial(SGD, lr=lr), cbs=list(cbs)).fit(n_epochs)


def children() -> list[int]:
    """The processes that this one has started, and that have not ended."""
    found: list[int] = []
    for task in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError), open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
            found += map(int, file.read().split())
    return found


@pytest.fixture
def others() -> Iterator[set[int]]:
    """The processes that were there before, such as the resource tracker's."""
    gc.collect()
    yield set(children())


def no_worker_is_left(before: set[int]) -> bool:
    """Whether all workers have ended; no collector of garbage has to run for that."""
    limit = time.monotonic() + 10
    while (left := set(children()) - before) and time.monotonic() < limit:
        time.sleep(0.02)
    return not left


# ------------------------------------------------------------------------------------------- C1, C2: it raises, it dies


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_data_keeps_its_type_says_where_it_was_and_leaves_no_worker(
    workers: int, others: set[int]
) -> None:
    recorder = Recorder()
    with pytest.raises(LookupError, match="sample 7 is missing") as failed:
        fit(loader(workers, bad=7, what="raise"), recorder)
    assert failed.value.__notes__ == ["typedcb: in loading batches, epoch 0, train, after batch 2"]
    assert recorder.hooks[-2:] == ["after_batch", "after_fit"]
    assert recorder.hooks.count("begin_batch") == recorder.hooks.count("after_batch") == 3
    assert isinstance(recorder.events[-1].outcome, Failed)
    assert no_worker_is_left(others), "the error, with its traceback, is still held here"


def test_a_worker_that_is_killed_ends_the_fit_and_the_other_workers(others: set[int]) -> None:
    recorder = Recorder()
    with pytest.raises(RuntimeError, match=r"worker.*(killed by signal: Killed|exited unexpectedly)") as failed:
        fit(loader(bad=6, what="die"), recorder)
    assert any("in loading batches, epoch 0, train" in note for note in failed.value.__notes__)
    assert recorder.hooks[-1] == "after_fit"
    assert recorder.hooks.count("begin_batch") == recorder.hooks.count("after_batch")
    assert no_worker_is_left(others)


@pytest.mark.parametrize("hook", ["begin_batch", "after_loss", "after_batch"])
def test_an_error_in_a_hook_leaves_no_worker(hook: str, others: set[int]) -> None:
    with pytest.raises(ZeroDivisionError) as failed:
        fit(loader(), At(hook, raising(ZeroDivisionError()), index=1))
    assert failed.value.__traceback__ is not None
    assert no_worker_is_left(others)


def test_a_cancelled_pass_and_a_break_leave_no_worker(others: set[int]) -> None:
    fit(loader(), At("after_batch", lambda event: CancelEpoch(), index=1))
    assert no_worker_is_left(others)
    with Loop[Any, Any, Any]().fit(1) as running:
        for epoch in running.epochs():
            for _ in epoch.train(loader()):
                break
            assert no_worker_is_left(others), "before the fit is over"


def test_workers_that_are_to_persist_do(others: set[int]) -> None:
    train_dl = loader(persistent=True)
    with pytest.raises(ZeroDivisionError):
        fit(train_dl, At("after_loss", raising(ZeroDivisionError()), index=1))
    workers = set(children()) - others
    assert len(workers) == 2
    fit(train_dl, n_epochs=2)
    assert set(children()) - others == workers, "they are the loader's, and serve the next fit"
    for worker in workers:
        os.kill(worker, signal.SIGTERM)  # torch takes it for an end in order, and is spared its wait for them
    del train_dl
    gc.collect()
    assert no_worker_is_left(others)


# ------------------------------------------------------------------------------------------------------ C6: its length


class Says:
    """Batches whose number is another than the length that is told."""

    def __init__(self, *given: int, told: int) -> None:
        self.given, self.told = iter(given), told

    def __len__(self) -> int:
        return self.told

    def __iter__(self) -> Iterator[Any]:
        return iter(pairs(next(self.given)))


@pytest.mark.parametrize("given", [1, 2, 4])
def test_a_loader_that_gives_another_number_of_batches_than_it_says_is_warned_of_and_counted_right(given: int) -> None:
    recorder = Recorder()
    with pytest.warns(BatchWarning, match=rf"has a length of 3, and gave {given} batches in the train pass of epoch 0"):
        fit(Says(given, told=3), recorder)
    assert [event.reached.index for event in recorder.of("after_batch")] == list(range(given))


def test_a_validation_loader_is_warned_of_too() -> None:
    learn = Learner(Weight(), DataBunch[Any, Any](pairs(1), Says(1, told=2)), total, partial(SGD, lr=0.1))
    with pytest.warns(BatchWarning, match="gave 1 batches in the valid pass"):
        learn.fit(1)


def test_a_loader_whose_length_changes_from_epoch_to_epoch_is_all_right() -> None:
    class Grows:
        n = 0

        def __len__(self) -> int:
            return self.n + 1

        def __iter__(self) -> Iterator[Any]:
            self.n += 1
            return iter(pairs(self.n))

    recorder = Recorder()
    fit(Grows(), recorder, n_epochs=3)
    assert [event.n_batches for event in recorder.of("begin_batch")] == [1, 2, 2, 3, 3, 3]


def test_a_pass_that_is_left_early_is_no_wrong_length() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner(At("after_batch", lambda event: CancelEpoch()), n_train=3).fit(1)
        with Loop[Any, Any, Any]().fit(1) as running:
            for epoch in running.epochs():
                for _ in epoch.train(pairs(3)):
                    break


# -------------------------------------------------------------------------------------------------- C7: without an end


class Endless:
    def __iter__(self) -> Iterator[Any]:
        return itertools.cycle(pairs(3))


def test_a_loader_without_an_end_is_trained_on_for_as_long_as_a_callback_says() -> None:
    recorder = Recorder()
    assert isinstance(fit(Endless(), recorder, StopAfterNBatches(7)), Cancelled)
    assert recorder.hooks.count("after_step") == 7
    recorder = Recorder()
    epochs = At(
        "after_batch", lambda event: CancelEpoch("an epoch has 5 batches") if event.reached.index == 4 else None
    )
    assert isinstance(fit(Endless(), recorder, epochs, n_epochs=2), Completed)
    assert recorder.hooks.count("after_step") == 10


# ------------------------------------------------------------------------------------------- C8, C9: what is in batches


def test_a_single_sample_before_batch_normalisation_fails_as_torch_does_with_its_place() -> None:
    model = nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    x = torch.linspace(-1, 1, 5).reshape(-1, 1)
    uneven = [(x[:4], x[:4]), (x[4:], x[4:])]
    learn = Learner(model, DataBunch([uneven[0]], uneven), F.mse_loss, partial(SGD, lr=0.1))
    learn.fit(1)  # in validation it is no fault
    with pytest.raises(ValueError, match="more than 1 value per channel when training") as failed:
        Learner(model, DataBunch(uneven), F.mse_loss, partial(SGD, lr=0.1)).fit(1)
    assert failed.value.__notes__ == ["typedcb: in epoch 0, batch 1, train"]


def test_nan_in_the_inputs_is_found_by_name_and_index_where_that_is_asked_for() -> None:
    batches = pairs(2)
    batches[1][0][0] = torch.nan
    learn = Learner(Weight(), DataBunch(batches), total, partial(SGD, lr=0.1))
    with pytest.raises(NonFiniteError, match=r"nan or infinity in xb\[0\] \(1 of 1\)"):
        learn.fit(1, cb_funcs=[CheckFinite])
    assert learn.model.w.isfinite()


# --------------------------------------------------------------------------------------------- C10: without validation


def test_what_watches_a_figure_of_the_validation_is_refused_where_there_is_no_data_for_one() -> None:
    stats = AvgStats[Any, Any](lambda pred, yb: pred.mean())
    expected = r"EarlyStopping.monitor reads AvgStats.valid_loss, which a validation gives its value.*valid_dl"
    with pytest.raises(CallbackError, match=expected):
        learner(stats, EarlyStopping(stats.valid_loss, "min"), n_valid=0)
    learn: Any = Learner(Weight(), bunch(n_valid=0), total, partial(SGD, lr=0.1), cbs=[stats])
    with pytest.raises(CallbackError, match=r"SaveBest.monitor reads AvgStats.valid_metrics"):
        learn.add(SaveBest, stats.valid(stats.all_metrics[0]), "max")
    with pytest.raises(CallbackError, match=r"EarlyStopping.monitor reads AvgStats.valid_loss"):
        learn.fit(1, cbs=[EarlyStopping(stats.valid_loss, "min")])
    learn.fit(1, cbs=[EarlyStopping(stats.train_loss, "min")])
    assert learn.cbs == (stats,)


def test_in_a_loop_of_ones_own_there_may_be_a_validation_whoever_has_the_data() -> None:
    stats = AvgStats[Any, Any]()
    own_loop(Loop([stats, EarlyStopping(stats.valid_loss, "min")]), n_valid=2)
