"""A diff finds what was changed at the very event, and nothing where nothing was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from planted import CASES, Expected, Lengthless, fit, longer, second_epoch
from recording import stable

from typedcb.callbacks import Timer
from typedcb.trace import Difference, Equal, Rules, diff


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "plain.trace"
    fit(path)
    return path


@pytest.fixture(scope="module")
def thorough(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("thorough") / "thorough.trace"
    fit(path, trace={"thorough": True})
    return path


@pytest.mark.parametrize("name", CASES)
def test_what_was_changed_is_found_at_the_very_event(name: str, plain: Path, thorough: Path, tmp_path: Path) -> None:
    changes, expected = CASES[name]
    fit(tmp_path / "other.trace", **changes)

    found = diff(thorough if "trace" in changes else plain, tmp_path / "other.trace")

    assert isinstance(found, Difference)
    event = found.event
    place: Expected = (event.hook, event.epoch, event.phase, event.index, found.turn, expected[-1])
    assert place == expected
    assert found.name.startswith(expected[-1])
    assert found.a != found.b


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_epochs": 1},
        {"seed": 7},
        {"clip": 0.01},
        {"schedule": second_epoch},
        {"more": ()},
        {"trace": {"every_batches": 2}},
        {"trace": {"hashes": False, "each_weight": False}},
        {"trace": {"events": ("after_loss", "after_step")}},
        {"train": Lengthless, "schedule": None},
    ],
    ids=stable,
)
def test_runs_that_are_equal_are_said_to_be(changes: dict[str, Any], tmp_path: Path) -> None:
    for name in ("a", "b"):
        more = dict(changes)
        if "more" in more:
            more["more"] = (Timer(),)  # what they measure differs each time
        fit(tmp_path / name, **more)

    found = diff(tmp_path / "a", tmp_path / "b")

    assert isinstance(found, Equal), str(found)
    assert found.events > 10
    assert found.notes == ()


def test_a_loader_that_gives_a_batch_more(tmp_path: Path) -> None:
    fit(tmp_path / "a", train=Lengthless, schedule=None)
    fit(tmp_path / "b", train=longer, schedule=None)

    found = diff(tmp_path / "a", tmp_path / "b")

    assert isinstance(found, Difference)
    assert (found.name, found.event.hook, found.event.index) == ("event", "begin_batch", 4)
    assert (found.a, found.b) == ("begin_validate", "begin_batch")
    assert isinstance(diff(tmp_path / "a", tmp_path / "b", Rules(common=True)), Difference)  # by what was trained on


def test_it_says_by_how_much(plain: Path, tmp_path: Path) -> None:
    fit(tmp_path / "b", schedule=second_epoch)

    found = diff(plain, tmp_path / "b")

    assert isinstance(found, Difference)
    assert found.amount is not None
    assert (found.a, found.b) == (0.1, 0.05)
    assert (found.amount.statistic, found.amount.absolute, found.amount.relative) == ("value", 0.05, 0.5)
    assert "begin_batch, epoch 1, batch 0, train, after ParamScheduler: hypers:lr" in str(found)
