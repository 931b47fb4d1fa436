"""Annealers: the recorded originals, number by number, and torch's own schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recorded import RECORDED, SCENARIOS, number, scenarios
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, PolynomialLR

from typedcb.callbacks import (
    Schedule,
    combine,
    constant,
    cosine,
    exponential,
    flat_cosine,
    linear,
    one_cycle,
    polynomial,
)

Rise = Callable[[float, float], Schedule]
OURS: dict[str, Rise] = {
    "nb05.sched_lin": linear,
    "nb05.sched_cos": cosine,
    "nb05.sched_no": lambda start, end: constant(start),
    "nb05.sched_exp": exponential,
    "fastai1.annealing_no": lambda start, end: constant(start),
    "fastai1.annealing_linear": linear,
    "fastai1.annealing_exp": exponential,
    "fastai1.annealing_cos": cosine,
    "fastai1.annealing_poly(degree=2)": partial(polynomial, power=2),
    "fastai1.annealing_poly(degree=0.5)": partial(polynomial, power=0.5),
}

DIFFERENCES = {
    "sched/anneal/fastai1.annealing_cos": "v1 writes the cosine another way: the last bits differ from the course's",
    "sched/combine_scheds/": "the originals compute the position within a phase in float32, and return tensors",
    "sched/combine_scheds/exported,[0.3,0.7],cos": "position 1.0 was an IndexError; here it is the end",
    "sched/combine_scheds/outside [0,1)": "errors; here a position beyond 1 is the end of the last phase",
    "sched/combine_scheds/which percentages are accepted": "[0.7, 0.2, 0.1] adds up to "
    "1 - 1e-16, and was refused; here an empty phase is",
    "sched/scheduler/": "v1's stepper counts batches and has no clamp; here a schedule is a function of the position",
}


@pytest.mark.parametrize("name", scenarios("sched/anneal/"))
def test_annealers_are_the_originals(name: str) -> None:
    recorded = SCENARIOS[name]
    for start, end, values in recorded["rows"]:
        schedule = OURS[name.removeprefix("sched/anneal/")](start, end)
        got = [schedule(position) for position in recorded["grid"]]
        assert got == (pytest.approx(values, rel=1e-14, abs=1e-15) if name in DIFFERENCES else values)


@pytest.mark.parametrize("kind", ["annealing_no", "annealing_linear", "annealing_exp", "annealing_cos"])
def test_annealers_are_those_of_v1_on_its_own_grid(kind: str) -> None:
    recorded = RECORDED["fastai_v1"]["annealers"]
    schedule = OURS[f"fastai1.{kind}"](recorded["start"], recorded["end"])
    assert [schedule(p) for p in recorded["pct"]] == pytest.approx(recorded["values"][kind], rel=1e-14)


@pytest.mark.parametrize(
    ("name", "rise"),
    [("cos (0.1,0.5) n=4", cosine), ("default for a tuple is linear", linear), ("exp (1e-7,10) n=5", exponential)],
)
def test_steps_of_v1s_scheduler_are_positions(name: str, rise: Rise) -> None:
    recorded = SCENARIOS[f"sched/scheduler/{name}"]
    schedule, n = rise(recorded["start"], recorded["end_value"]), recorded["n_iter"]
    got = [schedule(step / n) for step in range(1, len(recorded["rows"]) + 1)]
    assert got == pytest.approx([value for value, _ in recorded["rows"]], rel=1e-12)


COMBINED: dict[str, Schedule] = {
    "exported,[0.3,0.7],cos": combine((0.3, cosine(0.3, 0.6)), (0.7, cosine(0.6, 0.2))),
    "notebook,[0.3,0.7],cos": combine((0.3, cosine(0.3, 0.6)), (0.7, cosine(0.6, 0.2))),
    "exported,[0.3,0.7],lin": combine((0.3, linear(0.3, 0.6)), (0.7, linear(0.6, 0.2))),
    "exported,[0.3,0.7],exp": combine((0.3, exponential(0.3, 0.6)), (0.7, exponential(0.6, 0.2))),
    "exported,cos_1cycle_anneal(0.2,0.6,0.1)": combine((0.3, cosine(0.2, 0.6)), (0.7, cosine(0.6, 0.1))),
    "exported,three phases": combine((0.25, cosine(0.1, 0.3)), (0.25, constant(0.3)), (0.5, cosine(0.3, 0.0))),
}


@pytest.mark.parametrize("name", COMBINED)
def test_combined_schedules_are_the_originals_without_float32(name: str) -> None:
    schedule = COMBINED[name]
    for position, value, kind in SCENARIOS[f"sched/combine_scheds/{name}"]["rows"]:
        assert type(schedule(position)) is float
        if kind == "IndexError":
            assert schedule(position) == pytest.approx(0.2, rel=1e-12)
        else:
            assert schedule(position) == pytest.approx(number(value), rel=1e-6, abs=1e-7)


def test_shares_that_add_up_to_one_are_taken_whatever_their_order() -> None:
    for shares, _, result in SCENARIOS["sched/combine_scheds/which percentages are accepted"]["rows"]:
        adds_up = math.isclose(sum(shares), 1) and min(shares) > 0
        assert adds_up or result == "AssertionError" or 0.0 in shares
        if adds_up:
            assert combine(*((share, constant(2.0)) for share in shares))(1.0) == 2.0
        else:
            with pytest.raises(ValueError, match="have to be above 0 and to add up to 1"):
                combine(*((share, constant(2.0)) for share in shares))


def test_a_position_beyond_the_end_is_the_end() -> None:
    assert COMBINED["exported,[0.3,0.7],cos"](1.1) == pytest.approx(0.2)


def by_torch(make: Callable[[torch.optim.Optimizer], LRScheduler], lr: float, steps: int) -> list[float]:
    """The learning rates of a scheduler of torch."""
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, lrs = make(opt), [lr]
    for _ in range(steps):
        opt.step()
        scheduler.step()
        lrs.append(opt.param_groups[0]["lr"])
    return lrs


def test_cosine_is_torchs() -> None:
    schedule = cosine(0.5, 0.01)
    expected = by_torch(partial(CosineAnnealingLR, T_max=20, eta_min=0.01), 0.5, 20)
    assert [schedule(i / 20) for i in range(21)] == pytest.approx(expected)


def test_polynomial_is_torchs() -> None:
    schedule = polynomial(0.5, 0.0, power=3)
    expected = by_torch(partial(PolynomialLR, total_iters=20, power=3), 0.5, 20)
    assert [schedule(i / 20) for i in range(21)] == pytest.approx(expected)


def test_flat_cosine_is_flat_and_then_a_cosine() -> None:
    schedule, down = flat_cosine(1.0, 0.1, flat=0.6), cosine(1.0, 0.1)
    assert [schedule(p) for p in (0.0, 0.3, 0.59)] == [1.0, 1.0, 1.0]
    assert [schedule(0.6 + 0.4 * p) for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(
        [down(p) for p in (0.0, 0.25, 0.5, 1.0)]
    )
    assert flat_cosine(1.0, 0.0)(0.74) == 1.0 > flat_cosine(1.0, 0.0)(0.76)


def test_one_cycle_begins_peaks_and_ends_where_it_says() -> None:
    schedule = one_cycle(0.1, warm_up=0.25, start_div=10, end_div=1000, rise=linear)
    assert [schedule(p) for p in (0.0, 0.125, 0.25, 1.0)] == pytest.approx([0.01, 0.055, 0.1, 0.0001])


@given(
    rise=st.sampled_from([linear, cosine, exponential, polynomial, partial(polynomial, power=2.5), flat_cosine]),
    start=st.floats(1e-6, 1e3),
    end=st.floats(1e-6, 1e3),
    position=st.floats(0, 1),
)
def test_every_annealer_goes_from_its_start_to_its_end_and_stays_between(
    rise: Rise, start: float, end: float, position: float
) -> None:
    schedule = rise(start, end)
    assert schedule(0.0) == pytest.approx(start, abs=1e-9)
    assert schedule(1.0) == pytest.approx(end, abs=1e-9)
    slack = 1e-9 * max(start, end)
    assert min(start, end) - slack <= schedule(position) <= max(start, end) + slack


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: exponential(0.0, 1.0), r"exponential\(0.0, 1.0\): both ends have to be above 0, or both below"),
        (lambda: exponential(-1.0, 1.0), "both ends have to be above 0"),
        (combine, r"the shares \[\] have to be above 0"),
        (lambda: combine((0.5, constant(1.0)), (0.6, constant(1.0))), r"the shares \[0.5, 0.6\]"),
        (lambda: flat_cosine(1.0, 0.0, flat=1.0), "have to be above 0 and to add up to 1"),
        (lambda: one_cycle(1.0, warm_up=0.0), "have to be above 0 and to add up to 1"),
    ],
)
def test_what_is_no_schedule_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
