"""A fit that is taken up goes on as if it had never been left: bit for bit, wherever it was left."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import differing, everything, run

from typedcb.store import steps

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
ADAM = partial(torch.optim.Adam, lr=0.01)

EVERY_BATCH: dict[str, Any] = {"every_seconds": 1e-9, "keep_last": 1000}
PLACES = 2 * (5 + 3 + 1)
"""Two epochs of five training batches, three validation batches and their end."""


def taken_up_everywhere(folder: Path, places: slice, **settings: Any) -> int:
    """Leaves a fit at each place, and compares what comes of it; says at how many places."""
    alone = run(**settings)
    alone.fit(2)
    expected = everything(alone)
    saving = run(folder, **EVERY_BATCH, **settings)
    saving.fit(2)
    assert differing(everything(saving), expected) == [], "saving changes nothing"
    paths = steps(folder)
    assert len(paths) == PLACES
    for path in paths[places]:
        again = run(**settings)
        torch.rand(7)  # the process has drawn other numbers by now
        again.fit(2, resume=path)
        assert differing(everything(again), expected) == [], path.name
    return len(paths[places])


@pytest.mark.parametrize(("opt", "own_generator"), [(SGD, False), (ADAM, True)], ids=["SGD", "Adam, own generator"])
def test_it_goes_on_bit_for_bit_from_every_place(tmp_path: Path, opt: Any, own_generator: bool) -> None:
    assert taken_up_everywhere(tmp_path, slice(None), opt=opt, own_generator=own_generator) == PLACES


def test_it_goes_on_bit_for_bit_with_workers(tmp_path: Path) -> None:
    assert taken_up_everywhere(tmp_path, slice(2, None, 11), workers=2) == 2


def test_a_fit_that_was_left_twice_is_the_same_too(tmp_path: Path) -> None:
    alone = run()
    alone.fit(2)
    run(tmp_path / "a", **EVERY_BATCH).fit(2)
    run(tmp_path / "b", **EVERY_BATCH).fit(2, resume=steps(tmp_path / "a")[2])
    last = run(tmp_path / "c")
    last.fit(2, resume=steps(tmp_path / "b")[3])
    assert differing(everything(last), everything(alone)) == []


def test_a_fit_that_is_over_runs_no_more(tmp_path: Path) -> None:
    first = run(tmp_path)
    first.fit(2)
    again = run(tmp_path)
    again.fit(2, resume=tmp_path)
    assert differing(everything(again), everything(first)) == []
