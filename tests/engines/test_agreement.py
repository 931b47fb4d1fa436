"""What ranks decide together, in threads of one process: who votes, what wins, and who is called."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Optional, Union

import pytest
import torch
from threads import Rank, on_ranks

from typedcb import (
    AfterLoss,
    AnyCallback,
    BeginBatch,
    Callback,
    CancelBatch,
    CancelEpoch,
    CancelTrain,
    EngineError,
    HookError,
    Series,
    SkipBackward,
    series,
)
from typedcb.agreement import agreed, agreed_turn, check_ranks
from typedcb.callbacks import AvgStats, EarlyStopping, SmoothLoss
from typedcb.dispatch import BatchPlan, Plan, Skipped, batch_plan, fold, plan_of
from typedcb.events import AfterBatch, OnlyBegun
from typedcb.hooks import AFTER_BATCH, AFTER_EPOCH, AFTER_LOSS, BEGIN_BATCH, HookSpec
from typedcb.ranks import ALONE

BATCH = BeginBatch("train", 0, 3, 9, 3, torch.ones(2), torch.ones(2))
LOSS: Any = AfterLoss("train", 0, 3, 9, 3, torch.ones(2), torch.ones(2), torch.ones(2), torch.ones(()))
ENDED: Any = AfterBatch(OnlyBegun("train", 0, 3, 9, 3, torch.ones(2), torch.ones(2)))


def plan(*callbacks: Any) -> Plan[Any, Any, Any]:
    return plan_of(callbacks, callbacks, ())


@dataclass(frozen=True)
class Answers(AnyCallback):
    """Answers, or raises, what it is told to."""

    make: Callable[[], Any] = lambda: None
    raises: bool = False
    heard: Series[int] = series()

    def after_loss(self, event: Any) -> Optional[Union[SkipBackward, CancelBatch, CancelEpoch, CancelTrain]]:
        self.heard.append(event.index)
        answer: Any = self.make()
        if self.raises and answer is not None:
            raise answer
        return answer  # type: ignore[no-any-return]  # whatever it is told to

    def after_batch(self, event: Any) -> Optional[Union[CancelEpoch, CancelTrain]]:
        self.heard.append(-1)
        answer: Any = self.make()
        return answer  # type: ignore[no-any-return]  # as said


@dataclass(frozen=True)
class Reads(AnyCallback):
    """Decides nothing, and asks all ranks for something."""

    rank: Any
    heard: Series[int] = series()

    def after_loss(self, event: Any) -> None:
        self.heard.append(len(self.rank.gather((event.index,))))


ANSWERS: list[Callable[[], Any]] = [
    lambda: None,
    SkipBackward,
    partial(CancelBatch, "batch"),
    partial(CancelEpoch, "epoch"),
    partial(CancelTrain, "train"),
]
"""By how far they reach."""


def kind(answer: object) -> int:
    """Which of the answers something that `fold` gives is."""
    if isinstance(answer, Skipped):
        return 1
    kinds = {CancelBatch: 2, CancelEpoch: 3, CancelTrain: 4}
    return kinds.get(type(answer), 0)  # type: ignore[call-overload]  # anything else is an event


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("raises", [False, True])
def test_of_all_combinations_of_answers_the_farthest_is_everybodys(world: int, raises: bool) -> None:
    for told in itertools.product(range(5), repeat=world):
        if raises and 1 in told:
            continue  # a Skip is answered, and never raised

        def outcome(rank: Rank, told: Any = told) -> tuple[int, str, int]:
            answers = Answers(ANSWERS[told[rank.rank]], raises)
            mine = agreed(plan(answers), rank)
            answer: Any = fold(AFTER_LOSS, mine.train.after_loss, LOSS)
            return kind(answer), getattr(answer, "reason", ""), len(answers.heard)

        found = on_ranks(world, outcome)
        farthest = max(told)
        assert {one[0] for one in found} == {farthest}, told
        assert [one[2] for one in found] == [1] * world
        who = [rank for rank, place in enumerate(told) if place == farthest]
        if farthest > 1:
            word = ("batch", "epoch", "train")[farthest - 2]
            by = "" if len(who) == world else f" (asked for by rank {', '.join(map(str, who))} of {world})"
            assert {one[1] for one in found} == {word + by}


def test_a_hook_behind_one_that_cancels_on_another_rank_is_called_on_no_rank() -> None:
    def heard(rank: Rank) -> tuple[int, list[int], list[int]]:
        first = Answers(partial(CancelBatch, "odd") if rank.rank else lambda: None)
        behind, last = Reads(rank), Answers()
        answer = fold(AFTER_LOSS, agreed(plan(first, behind, last), rank).train.after_loss, LOSS)
        return kind(answer), list(behind.heard), list(last.heard)

    assert on_ranks(3, heard) == [(2, [], [])] * 3


def test_a_hook_behind_one_that_skips_is_called_on_all_ranks() -> None:
    def heard(rank: Rank) -> tuple[int, list[int]]:
        behind = Reads(rank)
        first = Answers(SkipBackward if rank.rank else lambda: None)
        answer = fold(AFTER_LOSS, agreed(plan(first, behind), rank).train.after_loss, LOSS)
        return kind(answer), list(behind.heard)

    assert on_ranks(2, heard) == [(1, [2])] * 2


def test_the_end_of_a_batch_is_told_to_all_behind_the_one_that_cancels() -> None:
    def heard(rank: Rank) -> tuple[list[int], list[int]]:
        first = Answers(partial(CancelEpoch, "little") if rank.rank else lambda: None)
        second = Answers(partial(CancelTrain, "much") if not rank.rank else lambda: None)
        listeners = iter(agreed(plan(first, second), rank).train.after_batch)
        kinds = [kind(fold(AFTER_BATCH, listeners, ENDED)) for _ in range(3)]
        return kinds, [len(first.heard), len(second.heard)]

    assert on_ranks(2, heard) == [([3, 4, 0], [1, 1])] * 2


@dataclass(frozen=True)
class OfMain(Answers):
    ranks: ClassVar = "main"


def test_a_callback_of_the_main_rank_is_called_there_alone_and_decides_for_all() -> None:
    def outcome(rank: Rank) -> tuple[int, int]:
        callback = OfMain(partial(CancelTrain, "enough"))
        return kind(fold(AFTER_LOSS, agreed(plan(callback), rank).train.after_loss, LOSS)), len(callback.heard)

    assert on_ranks(3, outcome) == [(4, 1), (4, 0), (4, 0)]


def test_the_ranks_know_while_a_hook_runs_that_what_it_draws_is_its_own() -> None:
    def known(rank: Rank) -> tuple[list[bool], list[bool]]:
        inside: list[bool] = []
        looks = Answers(lambda: inside.extend(rank.hooks))
        fold(AFTER_LOSS, agreed(plan(looks), rank).train.after_loss, LOSS)
        return inside, rank.hooks

    assert on_ranks(2, known) == [([True], [True, False])] * 2


@dataclass(frozen=True)
class AsksAlone(AnyCallback):
    """Runs on the main rank, and asks for what all ranks have to ask for."""

    rank: Any
    ranks: ClassVar = "main"

    def after_loss(self, event: Any) -> None:
        self.rank.gather((1,))


def test_while_a_callback_of_the_main_rank_runs_there_is_no_collective() -> None:
    def ask(rank: Rank) -> None:
        fold(AFTER_LOSS, agreed(plan(AsksAlone(rank)), rank).train.after_loss, LOSS)

    with pytest.raises(AssertionError, match=r"AsksAlone\.after_loss is alone"):
        on_ranks(2, ask)


@dataclass(frozen=True)
class Replaces(Callback):
    def begin_batch(self, event: BeginBatch[Any, Any]) -> BeginBatch[Any, Any]:
        return event.with_batch(event.xb * 2, event.yb)


@dataclass(frozen=True)
class Undeclared(AnyCallback):
    def after_loss(self, event: Any) -> None:
        raise CancelBatch("deep")


def test_a_hook_that_only_reads_or_replaces_costs_no_vote() -> None:
    def rounds(rank: Rank) -> tuple[list[str], float]:
        mine = agreed(plan(Replaces(), SmoothLoss(), AvgStats()), rank).train
        replaced: Any = fold(BEGIN_BATCH, mine.begin_batch, BATCH)
        for spec, listeners in ((AFTER_BATCH, mine.after_batch), (AFTER_LOSS, mine.after_loss)):
            assert not any("vote" in repr(listener) for listener in listeners), spec.name
        return rank.rounds, float(replaced.xb.sum())

    assert on_ranks(2, rounds) == [([], 4.0)] * 2


def test_a_cancel_that_no_return_type_says_of_is_an_error() -> None:
    def undeclared(rank: Rank) -> None:
        fold(AFTER_LOSS, agreed(plan(Undeclared()), rank).train.after_loss, LOSS)

    with pytest.raises(HookError, match=r"Undeclared.after_loss .* Write -> Optional\[CancelBatch\]"):
        on_ranks(2, undeclared)


def test_ranks_at_different_batches_are_told_apart() -> None:
    def vote(rank: Rank) -> None:
        event = LOSS if rank.rank else AfterLoss("train", 0, 4, 9, 4, *4 * [torch.ones(())])
        fold(AFTER_LOSS, agreed(plan(Answers()), rank).train.after_loss, event)

    with pytest.raises(EngineError, match=r"rank 0 at after_loss, epoch 0, batch 4; rank 1 at after_loss.*batch 3"):
        on_ranks(2, vote)


def test_a_batch_that_failed_is_not_voted_on() -> None:
    failed: Any = AfterBatch(ENDED.reached, ValueError("bad luck"))

    def rounds(rank: Rank) -> list[str]:
        fold(AFTER_BATCH, agreed(plan(Answers()), rank).train.after_batch, failed)
        return rank.rounds

    assert on_ranks(2, rounds) == [[], []]


@pytest.mark.parametrize("spec", [AFTER_LOSS, AFTER_BATCH, AFTER_EPOCH])
def test_one_process_has_the_plan_itself(spec: HookSpec) -> None:
    class One(Rank):
        world_size = 1

    whole = plan(Answers(), EarlyStopping(AvgStats().valid_loss, mode="min", patience=1))
    alone: Any = One.__new__(One)
    assert agreed(whole, alone) is whole
    turns: BatchPlan[Any, Any, Any] = batch_plan((Answers(),), "train")
    assert agreed_turn(turns, alone) is turns


def test_the_turns_of_an_objective_are_voted_on_as_batches_are() -> None:
    def outcome(rank: Rank) -> int:
        turns: BatchPlan[Any, Any, Any] = batch_plan((Answers(ANSWERS[2 * rank.rank]),), "train")
        return kind(fold(AFTER_LOSS, agreed_turn(turns, rank).after_loss, LOSS))

    assert on_ranks(2, outcome) == [2, 2]


def test_a_callback_of_all_ranks_that_reads_one_of_the_main_rank_is_refused() -> None:
    @dataclass(frozen=True)
    class MainLoss(SmoothLoss):
        ranks: ClassVar = "main"

    @dataclass(frozen=True)
    class Watches(AnyCallback):
        loss: Any

        def after_epoch(self, event: Any) -> None: ...

    smooth = MainLoss()
    for read in (smooth, smooth.mean, (smooth.mean,)):
        with pytest.raises(EngineError, match=r"Watches\.loss reads MainLoss, which runs on the main rank alone"):
            check_ranks((smooth, Watches(read)))
    everywhere = SmoothLoss()
    check_ranks((everywhere, Watches(everywhere.mean)))


def test_of_one_process_everything_is_its_own() -> None:
    assert (ALONE.rank, ALONE.world_size, ALONE.mesh) == (0, 1, None)
    assert (ALONE.counted(3), ALONE.whole(3)) == (3, 3)
    assert ALONE.total((1.0, 2.0)) == (1.0, 2.0)
    assert ALONE.gather((1, 2)) == ((1, 2),)
    assert ALONE.exchange("word") == ("word",)
    assert float(ALONE.mean(torch.tensor(2.5))) == 2.5
