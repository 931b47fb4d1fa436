"""Whatever callbacks answer, and however a loop's body is left, events come in the order that events.py promises.

Programs are generated: callbacks that cancel, skip, replace or fail at random places, in fits of random shape, of a
learner and of loops of one's own. Three things are held against each other that know nothing of one another: what
happened, a grammar of the events as a regular expression, and a loop written down by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import EveryHook, Recorder, Seen
from tiny import Weight, learner, pairs, total
from torch.optim import SGD

from typedcb import (
    CancelBatch,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    Completed,
    Failed,
    Loop,
    Objective,
    Series,
    SkipBackward,
    SkipStep,
    SkipValidate,
    SkipZeroGrad,
    series,
)

# ---------------------------------------------------------------------------------------------------- the grammar

LETTERS = {
    "begin_fit": "F",
    "begin_epoch": "E",
    "begin_batch": "b",
    "after_pred": "p",
    "after_loss": "l",
    "after_backward": "g",
    "after_step": "s",
    "after_cancel_batch": "c",
    "after_batch": "a",
    "after_cancel_epoch": "C",
    "begin_validate": "v",
    "after_validate": "w",
    "after_epoch": "e",
    "after_cancel_train": "T",
    "after_fit": "f",
}

TRAIN_BATCH = "b(p(l(g(s)?)?)?)?c?a"
VALID_BATCH = "b(p(l)?)?c?a"
TRAIN_PASS = f"({TRAIN_BATCH})*C?"
VALID_PASS = f"(v({VALID_BATCH})*C?w?)?"
EPOCH = f"E(C|{TRAIN_PASS}{VALID_PASS}e?)"
FIT = re.compile(f"F({EPOCH})*T?f")


def assert_grammatical(seen: list[Seen], *, turns: bool = False) -> None:
    """Refuses an order of events that events.py does not allow, for any fit: one that was left early, or failed.

    An objective has as many turns in a batch as it is given, so that with `turns` places may come twice or not at all.
    """
    word = "".join(LETTERS[each.hook] for each in seen)
    assert FIT.fullmatch(word), word
    assert word.count("b") == word.count("a"), "after_batch once for each batch begun"
    for before, after in pairwise(word):
        if after == "e":
            assert before in "EaCvw", word
        if before == "T":
            assert after == "f"
        if before == "c":
            assert after == "a"
    batches = re.findall(r"b[^a]*a", word)
    assert all("v" not in batch and "E" not in batch for batch in batches), "a batch holds no other"
    position = 0
    for each in seen:  # the places count up, within each pass from 0
        if each.hook == "begin_batch":
            assert each.index == position or (turns and each.index is not None and each.index >= position - 1)
        position = {"begin_batch": position, "after_batch": (each.index or 0) + 1}.get(
            each.hook, 0 if not each.phase else position
        )
    phases = re.findall(
        r"b[^a]*a",
        "".join(
            LETTERS[each.hook] if each.phase != "valid" else LETTERS[each.hook].upper() for each in seen if each.phase
        ),
    )
    assert all("g" not in batch.lower() for batch in phases if batch.isupper()), "validation has no backward"


# ------------------------------------------------------------------------------------------------------- programs


class Decision(NamedTuple):
    """What a callback does at one place."""

    hook: str
    at: int
    act: str
    raised: bool


ACTS = {
    "begin_fit": ("train",),
    "begin_epoch": ("epoch", "train"),
    "begin_batch": ("batch", "epoch", "train", "replace"),
    "after_pred": ("batch", "epoch", "train", "replace"),
    "after_loss": ("batch", "epoch", "train", "replace", "skip"),
    "after_backward": ("batch", "epoch", "train", "skip"),
    "after_step": ("batch", "epoch", "train", "skip"),
    "after_cancel_batch": (),
    "after_batch": ("epoch", "train"),
    "after_cancel_epoch": (),
    "begin_validate": ("train", "skip"),
    "after_validate": ("train",),
    "after_epoch": ("train",),
    "after_cancel_train": (),
    "after_fit": (),
}
CANCELS = {"batch": CancelBatch, "epoch": CancelEpoch, "train": CancelTrain}
SKIPS = {
    "after_loss": SkipBackward,
    "after_backward": SkipStep,
    "after_step": SkipZeroGrad,
    "begin_validate": SkipValidate,
}


class Oops(Exception):
    """What the generated callbacks fail with."""


# What ends a fit hides all that would come after it, so most decisions are such that it goes on.
GOES_ON = [(hook, act) for hook, acts in ACTS.items() for act in acts if act != "train"]
ENDS = [(hook, act) for hook in ACTS for act in ("error", "train") if act == "error" or act in ACTS[hook]]
decisions = (
    st.sampled_from([GOES_ON, GOES_ON, ENDS])
    .flatmap(st.sampled_from)
    .flatmap(
        lambda pair: st.builds(
            Decision, st.just(pair[0]), st.sampled_from([0, 0, 1, 1, 2, 3, 5]), st.just(pair[1]), st.booleans()
        )
    )
)
scripts = st.lists(decisions, max_size=4).map(tuple)
programs = st.lists(scripts, min_size=1, max_size=3)


class Shape(NamedTuple):
    """How long a fit is."""

    n_epochs: int
    n_train: int
    n_valid: int


shapes = st.builds(Shape, st.integers(0, 3), st.integers(1, 3), st.integers(0, 2))


@dataclass(frozen=True)
class Scripted(EveryHook):
    """Does what its script says the n-th time that a hook is called, and writes down what it was called with."""

    script: tuple[Decision, ...]
    heard: Series[Seen] = series(reset="never")

    def decide(self, hook: str, event: Any) -> object:
        self.heard.append(Seen.of(hook, event))
        decision = due(self.script, self.heard, hook)
        if decision is None:
            return None
        if decision.act == "error":
            raise Oops(hook)
        if decision.act == "skip":
            return SKIPS[hook]()
        if decision.act == "replace":
            return REPLACE[hook](event)
        cancel = CANCELS[decision.act](hook)
        if decision.raised:
            raise cancel
        return cancel


def due(script: Iterable[Decision], heard: Iterable[Seen], hook: str) -> Decision | None:
    """The decision for the last call of a hook that was heard."""
    nth = sum(seen.hook == hook for seen in heard) - 1
    return next((each for each in script if (each.hook, each.at) == (hook, nth)), None)


REPLACE: dict[str, Callable[[Any], Any]] = {
    "begin_batch": lambda event: event.with_batch(event.xb * 2, event.yb + 1),
    "after_pred": lambda event: event.with_pred(event.pred * 3),
    "after_loss": lambda event: event.with_loss(event.loss * 5),
}


@dataclass(frozen=True)
class Last(Recorder):
    """Writes down the events that no callback cut short."""

    order: ClassVar[int] = 1000


# --------------------------------------------------------------------------------------------- the loop, by hand


class Cut(Exception):
    """A cancel of the loop by hand."""


class Reference:
    """What a fit of scripted callbacks comes to, with numbers instead of tensors and `try` instead of scopes."""

    def __init__(self, program: list[tuple[Decision, ...]], shape: Shape) -> None:
        self.program = program
        self.shape = shape
        self.heard: list[list[Seen]] = [[] for _ in program]
        self.w, self.grad, self.steps = 1.0, 0.0, 0
        self.errors: list[str] = []
        self.end = "completed"

    def fire(self, hook: str, *where: Any, only: int | None = None) -> list[str]:
        """Calls the hooks in order; what they asked for, up to a cancel."""
        asked = []
        for number, script in enumerate(self.program):
            if only is not None and number != only:
                continue
            self.heard[number].append(Seen(hook, *(where or (None, None, None))))
            decision = due(script, self.heard[number], hook)
            if decision is None:
                continue
            if decision.act == "error":
                raise Oops(hook)
            if decision.act in CANCELS:
                raise Cut(decision.act)
            asked.append(decision.act)
        return asked

    def fire_to_all(self, hook: str, *where: Any) -> None:
        """Calls the hooks whatever the others do; the errors are kept."""
        for number in range(len(self.program)):
            try:
                self.fire(hook, *where, only=number)
            except Oops as error:
                self.errors.append(str(error))
            except Cut:
                pass  # there is an error already: nothing is left to end

    def fit(self) -> None:
        try:
            self.fire("begin_fit")
            self.epochs()
        except Cut:
            self.end = "cancelled"
            self.fire_to_all("after_cancel_train")
        except Oops as error:
            self.errors.insert(0, str(error))
        if self.errors:
            self.end = "failed"
        self.fire_to_all("after_fit")
        if self.errors:
            self.end = "failed"

    def epochs(self) -> None:
        for epoch in range(self.shape.n_epochs):
            try:
                self.fire("begin_epoch", epoch, None, None)
            except Cut as cut:
                if str(cut) != "epoch":
                    raise
                self.fire("after_cancel_epoch", epoch, None, None)
                continue
            self.one_pass(epoch, "train", self.shape.n_train)
            if self.shape.n_valid and "skip" not in self.fire("begin_validate", epoch, None, None):
                self.one_pass(epoch, "valid", self.shape.n_valid)
                self.fire("after_validate", epoch, None, None)
            self.fire("after_epoch", epoch, None, None)

    def one_pass(self, epoch: int, phase: str, n: int) -> None:
        for index in range(n):
            where = (epoch, phase, index)
            kind = ""
            try:
                self.batch(index + 1.0, where)
            except Cut as cut:
                kind = str(cut)
            except Oops as error:
                self.fail(error, where)
            if kind == "batch":
                kind = ""
                try:
                    self.fire("after_cancel_batch", *where)
                except Oops as error:
                    self.fail(error, where)
            kind = self.fire_end(kind, where)
            if kind == "train":
                raise Cut("train")
            if kind == "epoch":
                self.fire("after_cancel_epoch", epoch, None, None)
                return

    def fire_end(self, kind: str, where: Any) -> str:
        """Calls after_batch of all, whatever one of them does: what the batch was cancelled by in the end."""
        failed: Oops | None = None
        for number in range(len(self.program)):
            try:
                self.fire("after_batch", *where, only=number)
            except Cut as cut:
                kind = kind if kind == "train" else str(cut)
            except Oops as error:
                if failed is not None:
                    self.errors.append(str(error))
                failed = failed or error
        if failed is not None:
            raise failed
        return kind

    def fail(self, error: Oops, where: Any) -> None:
        """An error inside a batch: all callbacks hear its end, and the fit fails with it."""
        self.fire_to_all("after_batch", *where)
        raise error

    def batch(self, x: float, where: tuple[int, str, int]) -> None:
        y, factor = 1.0, 1.0
        for _ in self.fire("begin_batch", *where):
            x, y = x * 2, y + 1
        factor *= 3.0 ** len(self.fire("after_pred", *where))
        asked = self.fire("after_loss", *where)
        factor *= 5.0 ** asked.count("replace")
        if where[1] == "valid" or "skip" in asked:
            return
        self.grad += x * y * factor
        try:
            if "skip" in self.fire("after_backward", *where):
                return
            self.w -= self.grad * 2.0**-10
            self.steps += 1
        except Cut:
            self.grad = 0.0
            raise
        try:
            if "skip" not in self.fire("after_step", *where):
                self.grad = 0.0
        except Cut:
            self.grad = 0.0
            raise


@settings(max_examples=500)
@given(program=programs, shape=shapes)
def test_a_learner_does_what_the_loop_by_hand_does(program: list[tuple[Decision, ...]], shape: Shape) -> None:
    first, last, scripted = Recorder(), Last(), [Scripted(script) for script in program]
    learn = learner(first, *scripted, last, n_train=shape.n_train, n_valid=shape.n_valid, lr=2.0**-10)
    real_steps = count_steps(learn.opt)
    end, errors = "", []
    try:
        end = type(learn.fit(shape.n_epochs)).__name__.lower()
    except Oops as error:
        end, errors = "failed", [str(error)]
    except ExceptionGroup as group:
        end, errors = "failed", [str(error) for error in group.exceptions]
    expected = Reference(program, shape)
    expected.fit()

    assert_grammatical(first.seen)
    assert (end, errors) == (expected.end, expected.errors)
    assert [list(each.heard) for each in scripted] == expected.heard
    assert learn.model.w.item() == expected.w
    assert len(real_steps) == expected.steps == len(first.of("after_step"))
    assert type(first.events[-1].outcome) is {"completed": Completed, "cancelled": Cancelled}.get(
        expected_at_after_fit(expected, errors), Failed
    )


def expected_at_after_fit(expected: Reference, errors: list[str]) -> str:
    """How the fit stood when after_fit fired: the errors of after_fit itself came later."""
    earlier = [error for error in errors if error != "after_fit"]
    if not earlier and expected.end == "failed":
        return "cancelled" if any(seen.hook == "after_cancel_train" for seen in expected.heard[0]) else "completed"
    return expected.end


def count_steps(opt: torch.optim.Optimizer) -> list[int]:
    """Counts the real steps of an optimizer."""
    counted: list[int] = []
    opt.register_step_post_hook(lambda *_: counted.append(1))
    return counted


# ----------------------------------------------------------------------------------- loops of one's own, left early


class Body(NamedTuple):
    """How the n-th batch's body is left: after how many of its calls, and by what."""

    calls: int
    by: str


bodies = st.lists(
    st.builds(Body, st.integers(0, 4), st.sampled_from(["end", "end", "continue", "break", "error"])), max_size=12
)


class BodyError(Exception):
    """What a generated body fails with."""


def run_body(way: Iterator[Body], batch: Any, model: Weight, opt: SGD | None) -> str:
    """The body of a batch, up to where it is left; how it is left."""
    leave = next(way, Body(4, "end"))
    calls = 4 if leave.by == "end" else leave.calls
    if calls > 0:
        out = batch.pred(model(batch.xb))
        if calls > 1:
            loss = out.loss(total(out.pred, batch.yb))
            if calls > 2 and opt:
                back = loss.backward()
                if calls > 3:
                    back.step(opt)
    if leave.by == "error":
        raise BodyError
    return leave.by


@settings(max_examples=500)
@pytest.mark.filterwarnings("ignore::typedcb.UnsteppedWarning")  # bodies that leave their batches early
@given(
    program=programs,
    shape=shapes,
    leaves=bodies,
    epochs_to_run=st.integers(0, 4),
)
def test_a_loop_of_ones_own_may_be_left_anywhere(
    program: list[tuple[Decision, ...]], shape: Shape, leaves: list[Body], epochs_to_run: int
) -> None:
    first, way, model = Recorder(), iter(leaves), Weight()
    loop = Loop[Any, Any, Any]([first, *(Scripted(script) for script in program)])
    opt = SGD(model.parameters(), lr=0.1)
    real_steps = count_steps(opt)
    fit = loop.fit(shape.n_epochs)
    raised: BaseException | None = None
    try:
        with fit:
            for epoch in fit.epochs():
                if epoch.epoch >= epochs_to_run:
                    break
                for batch in epoch.train(pairs(shape.n_train)):
                    if run_body(way, batch, model, opt) == "break":
                        break
                for held_out in epoch.validate(pairs(shape.n_valid)) if shape.n_valid else ():
                    if run_body(way, held_out, model, None) == "break":
                        break
    except (Oops, BodyError, ExceptionGroup) as error:
        raised = error
    assert_grammatical(first.seen)
    assert len(real_steps) == len(first.of("after_step"))
    begun = [seen.hook for seen in first.seen]
    if not isinstance(first.of("after_fit")[0].outcome, Failed):
        assert_pairs_are_closed(begun, cancelled=isinstance(first.of("after_fit")[0].outcome, Cancelled))
    if raised is None:
        assert type(fit.outcome) is type(first.of("after_fit")[0].outcome)
    else:
        assert isinstance(fit.outcome, Failed)
        assert fit.outcome.error is (raised.exceptions[0] if isinstance(raised, ExceptionGroup) else raised)
    assert not loop.running
    with suppress(Oops, ExceptionGroup), loop.fit(0):
        pass  # the loop can be used again


def assert_pairs_are_closed(hooks: list[str], *, cancelled: bool) -> None:
    """Whatever began has ended, unless a CancelTrain (or leaving the epochs) ended all at once."""
    for opening, closing in (("begin_epoch", "after_epoch"), ("begin_validate", "after_validate")):
        open_ones = 0
        for at, hook in enumerate(hooks):
            if hook == opening:
                assert not open_ones, f"{opening} inside {opening}"
                open_ones = 1
            elif hook == closing:
                assert open_ones, f"{closing} without {opening}"
                open_ones = 0
            elif opening == "begin_epoch" and hook == "after_cancel_epoch" and hooks[at - 1] == "begin_epoch":
                open_ones = 0
            elif opening == "begin_validate" and hook == "after_epoch" and hooks[at - 1] == "begin_validate":
                open_ones = 0  # skipped
        assert not open_ones or cancelled


# -------------------------------------------------------------------------------- loops of one's own, with objectives


class TurnOf(NamedTuple):
    """A turn: of which objective, and how far its calls go."""

    objective: int
    calls: int


class Batch(NamedTuple):
    """A body with turns: which, in what order, and how it is left."""

    turns: list[TurnOf]
    by: str


bodies_with_turns = st.lists(
    st.builds(
        Batch,
        st.lists(st.builds(TurnOf, st.integers(0, 1), st.sampled_from([0, 1, 2, 3, 4, 4, 4])), max_size=4),
        st.sampled_from(["end", "end", "end", "continue", "break", "error"]),
    ),
    max_size=8,
)


@dataclass(frozen=True)
class Tells(EveryHook):
    """Says of each event whose it is, before any other callback gets it."""

    order: ClassVar[int] = -2000

    whose: str
    write: Callable[[str, str], None]

    def decide(self, hook: str, event: Any) -> None:
        self.write(self.whose, hook)


def take_turn(batch: Any, one: Objective[Any, Any, Any, Weight], calls: int) -> None:
    """A turn, up to one of its calls; in validation two are all there are."""
    turn = batch.turn(one, batch.xb, batch.yb)
    if calls > 0:
        out = turn.pred(one.model(turn.xb))
        if calls > 1:
            loss = out.loss(total(out.pred, out.yb))
            if calls > 2 and batch.cursor.phase == "train":
                back = loss.backward()
                if calls > 3:
                    back.step()


def run_turns(way: Iterator[Batch], batch: Any, objectives: list[Objective[Any, Any, Any, Weight]]) -> bool:
    """The body of a batch, with its turns: whether it is left by a break."""
    plan = next(way, Batch([TurnOf(0, 4), TurnOf(1, 4)], "end"))
    for turn in plan.turns:
        take_turn(batch, objectives[turn.objective], turn.calls)
    if plan.by == "error":
        raise BodyError
    return plan.by == "break"


@settings(max_examples=300)
@given(
    own=scripts,
    programs_of_two=st.tuples(scripts, scripts),
    shape=shapes,
    leaves=bodies_with_turns,
)
def test_objectives_hear_their_turns_in_order_and_inside_of_batches(
    own: tuple[Decision, ...],
    programs_of_two: tuple[tuple[Decision, ...], ...],
    shape: Shape,
    leaves: list[Batch],
) -> None:
    log: list[tuple[str, str]] = []
    recorders, objectives = [Recorder(), Recorder()], []
    for whose, recorder, script in zip(("first", "second"), recorders, programs_of_two, strict=True):
        model, cbs = Weight(), [Tells(whose, lambda *said: log.append(said)), recorder, Scripted(script)]
        objectives.append(Objective[Any, Any, Any, Weight](model, SGD(model.parameters(), lr=2.0**-10), cbs))
    real_steps = [count_steps(one.opt) for one in objectives]
    whole, way = Recorder(), iter(leaves)
    cbs = [Tells("batch", lambda *said: log.append(said)), whole, Scripted(own)]
    loop = Loop[Any, Any, Any](cbs, objectives=objectives)
    fit = loop.fit(shape.n_epochs)
    raised: BaseException | None = None
    try:
        with fit:
            for epoch in fit.epochs():
                for batch in epoch.train(pairs(shape.n_train)):
                    if run_turns(way, batch, objectives):
                        break
                for held_out in epoch.validate(pairs(shape.n_valid)) if shape.n_valid else ():
                    if run_turns(way, held_out, objectives):
                        break
    except (Oops, BodyError, ExceptionGroup) as error:
        raised = error
    assert_grammatical(whole.seen)
    for recorder, steps, one in zip(recorders, real_steps, objectives, strict=True):
        assert_grammatical(recorder.seen, turns=True)
        assert len(steps) == len(recorder.of("after_step")) == one.steps
        assert [event.step for event in recorder.of("after_step")] == list(range(one.steps))
    assert_turns_are_inside_of_batches(log)
    assert (raised is None) == (not isinstance(fit.outcome, Failed))
    assert not loop.running


IN_BATCHES = {hook for hook, letter in LETTERS.items() if letter in "bplgsca"}


def assert_turns_are_inside_of_batches(log: list[tuple[str, str]]) -> None:
    """Whatever is told of a turn is told between its batch's beginning and end; all hear the same of the fit."""
    is_open, fits = False, {"batch": "", "first": "", "second": ""}
    for whose, hook in log:
        if hook not in IN_BATCHES:
            fits[whose] += LETTERS[hook]
        elif whose != "batch":
            assert is_open, f"{hook} of a turn outside of a batch"
        elif hook in ("begin_batch", "after_batch"):
            is_open = hook == "begin_batch"
    assert fits["batch"] == fits["first"] == fits["second"]


# ------------------------------------------------------------------------------------------- the checker, checked


def test_the_checker_refuses_what_the_grammar_forbids() -> None:
    good = Recorder()
    learner(good).fit(1)
    assert_grammatical(good.seen)
    for at in range(len(good.seen)):
        mangled = [*good.seen[:at], *good.seen[at + 1 :]]
        hook = good.seen[at].hook
        if hook in (
            "begin_fit",
            "begin_epoch",
            "begin_batch",
            "after_batch",
            "after_fit",
            "begin_validate",
            "after_pred",
        ):
            try:
                assert_grammatical(mangled)
            except AssertionError:
                continue
            raise AssertionError(f"a fit without its {hook} passed")
