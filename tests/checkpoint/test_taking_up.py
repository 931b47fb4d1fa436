"""What a loop does when it is taken up, whoever restores its state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from recording import Recorder
from tiny import Weight, pairs, total
from torch.optim import SGD

from typedcb import BatchError, Loop
from typedcb.position import Position, Resumption


def taken_up(position: Position, n_epochs: int = 2, n_train: int = 3, thrown_away: int | None = None) -> list[str]:
    """What happens, in order: the events, and when state is asked for."""
    told: list[str] = []
    recorder = Recorder()
    loop = Loop[Any, Any, Any]([recorder])

    def say(what: str) -> None:
        told.extend(recorder.hooks[len([word for word in told if not word.isupper()]) :])
        told.append(what)

    def rewind() -> int:
        say("REWIND")
        return position.done if thrown_away is None else thrown_away

    resume = Resumption(position, lambda: say("RESTORE"), rewind, lambda: say("SETTLE"))
    model = Weight()
    opt = SGD(model.parameters(), lr=1.0)
    with loop.fit(n_epochs, resume=resume) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(n_train)):
                batch.pred(model(batch.xb)).loss(total(model(batch.xb), batch.yb)).backward().step(opt)
            with torch.no_grad():
                for held_out in epoch.validate(pairs(2)):
                    held_out.pred(model(held_out.xb)).loss(total(model(held_out.xb), held_out.yb))
    say("END")
    return [
        word if seen is None else f"{word} {seen.epoch} {seen.index}"
        for word, seen in zip(told, with_gaps(told, recorder), strict=True)
        if word.isupper() or word in ("begin_fit", "begin_epoch", "begin_batch", "begin_validate", "after_epoch")
    ]


def with_gaps(told: list[str], recorder: Recorder) -> list[Any]:
    seen = iter(recorder.seen)
    return [None if word.isupper() else next(seen) for word in told]


def test_in_training_the_epoch_has_begun_and_goes_on_at_its_batch() -> None:
    assert taken_up(Position(0, "train", 2, 2), n_epochs=1) == [
        "begin_fit None None", "RESTORE", "REWIND", "SETTLE", "begin_batch 0 2",
        "begin_validate 0 None", "begin_batch 0 0", "begin_batch 0 1", "after_epoch 0 None", "END",
    ]  # fmt: skip


def test_after_the_last_training_batch_validation_comes_next() -> None:
    assert taken_up(Position(0, "train", 3, 3), n_epochs=1)[3:5] == ["SETTLE", "begin_validate 0 None"]


def test_in_validation_there_is_no_training_left() -> None:
    assert taken_up(Position(1, "valid", 1, 6)) == [
        "begin_fit None None", "RESTORE", "REWIND", "SETTLE", "begin_batch 1 1", "after_epoch 1 None", "END",
    ]  # fmt: skip


def test_between_two_epochs_the_next_one_begins() -> None:
    assert taken_up(Position(1, None, 0, 3))[:4] == [
        "begin_fit None None", "RESTORE", "begin_epoch 1 None", "begin_batch 1 0"
    ]  # fmt: skip


def test_a_loader_that_goes_on_by_itself_is_not_run_through() -> None:
    assert taken_up(Position(0, "train", 2, 2), n_epochs=1, thrown_away=0)[4] == "begin_batch 0 2"


def test_a_loader_that_has_become_shorter_is_refused() -> None:
    with pytest.raises(BatchError, match="the loader gave 3 batches, and 4 of them were over"):
        taken_up(Position(0, "train", 4, 4))


def test_steps_are_counted_on() -> None:
    recorder = Recorder()
    loop = Loop[Any, Any, Any]([recorder])
    resume = Resumption(Position(0, "train", 1, 7), lambda: None, lambda: 1, lambda: None)
    model = Weight()
    opt = SGD(model.parameters(), lr=1.0)
    with loop.fit(1, resume=resume) as fit:
        assert loop.position == Position(0, "train", 1, 7)
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(3)):
                batch.pred(model(batch.xb)).loss(total(model(batch.xb), batch.yb)).backward().step(opt)
        assert loop.position == Position(1, None, 0, 9)
    assert [event.step for event in recorder.of("begin_batch")] == [7, 8]
    assert loop.position is None


def test_a_position_behind_the_end_is_refused() -> None:
    with pytest.raises(ValueError, match="n_epochs=1, start_epoch=3"):
        taken_up(Position(3), n_epochs=1)
