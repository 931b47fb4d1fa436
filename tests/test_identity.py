"""What callbacks are called in a trace, a checkpoint and an explanation."""

from __future__ import annotations

from dataclasses import dataclass

from typedcb import AnyCallback
from typedcb.callbacks import AvgStats, SmoothLoss
from typedcb.explain import explain
from typedcb.identity import keys_of, names_of


class Outer:
    """Has a callback inside."""

    @dataclass(frozen=True)
    class Inner(AnyCallback):
        """Does nothing."""


def test_instances_of_a_class_are_told_apart_by_their_place() -> None:
    callbacks = [SmoothLoss(), AvgStats(), SmoothLoss(), SmoothLoss()]
    assert keys_of(callbacks) == [("SmoothLoss", 0), ("AvgStats", 0), ("SmoothLoss", 1), ("SmoothLoss", 2)]
    assert [names_of(callbacks)[id(one)] for one in callbacks] == [
        "SmoothLoss",
        "AvgStats",
        "SmoothLoss#2",
        "SmoothLoss#3",
    ]


def test_a_class_inside_of_another_has_that_ones_name_and_one_of_a_function_its_own_alone() -> None:
    @dataclass(frozen=True)
    class Inner(AnyCallback):
        """Does nothing."""

    assert keys_of([Outer.Inner(), Inner(), Outer.Inner()]) == [("Outer.Inner", 0), ("Inner", 0), ("Outer.Inner", 1)]


def test_an_explanation_calls_them_the_same() -> None:
    callbacks = [Outer.Inner(), Outer.Inner()]
    assert [one.name for one in explain(callbacks).callbacks] == list(names_of(callbacks).values())
