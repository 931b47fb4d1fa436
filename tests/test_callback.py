"""A class that cannot serve as a callback is refused as early as it can be seen, in words that say what to write."""

from __future__ import annotations

import copy
import dataclasses
import types
from dataclasses import dataclass
from typing import Any, ClassVar

import attrs
import pytest
from recording import Recorder, stable
from tiny import learner, own_loop

from typedcb import (
    AnyCallback,
    AnyLearnerCallback,
    Callback,
    CallbackError,
    Cell,
    LearnerCallback,
    Loop,
    Series,
    TypedcbError,
    cell,
)
from typedcb.callback import is_callback
from typedcb.hooks import HOOKS, AfterBatchHook

# ------------------------------------------------------------------------------------------ when the class is made


def test_a_misspelt_hook_is_refused_with_its_class_and_the_hook_that_was_meant() -> None:
    with pytest.raises(CallbackError, match=r"Clip\.after_bacward is no hook; did you mean after_backward\?"):

        class Clip(AnyCallback):
            def after_bacward(self, event: object) -> None: ...


def test_a_hook_of_another_framework_is_refused_with_what_it_is_called_here() -> None:
    with pytest.raises(CallbackError, match=r"Log\.on_train_batch_end is no hook; did you mean after_batch\?"):

        class Log(AnyCallback):
            def on_train_batch_end(self, event: object) -> None: ...


def test_a_misspelt_hook_in_a_mixin_is_refused() -> None:
    class Mixin:
        def befor_batch(self, event: object) -> None: ...

        def after_lost(self, event: object) -> None: ...

    with pytest.raises(CallbackError, match=r"Mixed\.after_lost is no hook; did you mean after_loss\?"):

        class Mixed(Mixin, AnyCallback): ...


def test_a_mixin_of_wrong_arity_is_refused() -> None:
    class Mixin:
        def after_loss(self, xb: object, yb: object) -> None: ...

    with pytest.raises(CallbackError, match=r"Mixed\.after_loss is called with one event"):

        class Mixed(Mixin, AnyCallback): ...


def test_a_mixin_behind_callback_whose_hook_would_never_run_is_refused() -> None:
    class Mixin:
        def after_loss(self, event: object) -> None: ...

    with pytest.raises(CallbackError, match=r"never be called: Mixin.*first: class Mixed\(Mixin, \.\.\.\)"):

        class Mixed(AnyCallback, Mixin): ...


def test_a_mixin_before_callback_runs() -> None:
    class Mixin:
        def after_loss(self, event: Any) -> None:
            heard.append(event.phase)

    @dataclass(frozen=True)
    class Mixed(Mixin, AnyCallback): ...

    heard: list[str] = []
    learner(Mixed()).fit(1)
    assert heard == ["train"] * 2 + ["valid"] * 2


def test_a_mixin_behind_callback_is_all_right_where_the_class_has_the_hook_itself() -> None:
    class Mixin:
        def after_loss(self, event: Any) -> None: ...

    @dataclass(frozen=True)
    class Mixed(AnyCallback, Mixin):
        def after_loss(self, event: Any) -> None:
            heard.append(event.phase)
            Mixin.after_loss(self, event)

    heard: list[str] = []
    learner(Mixed()).fit(1)
    assert len(heard) == 4


def test_a_class_may_name_a_hooks_protocol_among_its_bases() -> None:
    @dataclass(frozen=True)
    class Ends(AnyCallback, AfterBatchHook[Any, Any, Any]): ...

    learner(Ends()).fit(1)


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_of_wrong_arity_is_refused(name: str) -> None:
    expected = rf"Wrong\.{name} is called with one event.*write def {name}\(self, event: {HOOKS[name].event.__name__}\)"
    with pytest.raises(CallbackError, match=expected):
        type("Wrong", (Callback,), {name: lambda self: None})


def test_an_async_hook_is_refused() -> None:
    with pytest.raises(CallbackError, match=r"Waits\.after_batch is async, and the loop awaits nothing"):

        class Waits(AnyCallback):
            async def after_batch(self, event: object) -> None: ...  # type: ignore[override]


def test_a_generator_hook_is_refused() -> None:
    with pytest.raises(CallbackError, match=r"Yields\.begin_fit has a yield in it"):

        class Yields(AnyCallback):
            def begin_fit(self, event: object) -> Any:
                yield


def test_a_static_hook_is_refused() -> None:
    with pytest.raises(CallbackError, match=r"Static\.begin_fit is a staticmethod, and a hook is a plain method"):

        class Static(AnyCallback):
            @staticmethod
            def begin_fit(event: object) -> None: ...  # type: ignore[override]


def test_a_field_named_as_a_hook_is_refused() -> None:
    with pytest.raises(CallbackError, match=r"Field\.after_fit is a NoneType, and a hook is a plain method"):

        class Field(AnyCallback):
            after_fit: Any = None


def test_helpers_properties_and_names_with_an_underscore_are_ones_own() -> None:
    @dataclass(frozen=True)
    class Helps(AnyCallback):
        before_n: int = 3  # a field reads as no method

        def report(self) -> str:
            return "fine"

        def _after_bacward(self) -> None: ...

        @property
        def on_time(self) -> bool:
            return True

    assert Helps().report() == "fine"


# -------------------------------------------------------------------------------------- when an instance is made


def test_a_plain_class_is_refused_with_the_decorator_it_needs() -> None:
    class Plain(AnyCallback): ...

    with pytest.raises(CallbackError, match=r"Plain is no frozen dataclass: write @dataclass\(frozen=True\) above"):
        Plain()


def test_an_undecorated_subclass_of_a_frozen_class_is_refused() -> None:
    @dataclass(frozen=True)
    class Parent(AnyCallback):
        n: int = 1

    class Child(Parent): ...

    assert Parent().n == 1
    with pytest.raises(CallbackError, match=r"Child is no frozen dataclass"):
        Child()


def test_a_dataclass_that_is_not_frozen_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot inherit non-frozen dataclass from a frozen one"):

        @dataclass
        class Thaws(AnyCallback): ...


def test_an_attrs_class_that_is_not_frozen_is_refused() -> None:
    @attrs.define
    class Thaws(AnyCallback):
        n: int = 0

    with pytest.raises(CallbackError, match=r"Thaws is no frozen dataclass.*or @attrs\.frozen"):
        Thaws()


def test_the_message_says_where_state_belongs() -> None:
    class Counts(AnyCallback):
        def __init__(self) -> None:
            self.n = 0

    with pytest.raises(CallbackError, match="What changes in a callback belongs into a Cell"):
        Counts()


def test_a_refused_class_is_a_type_error_and_a_typedcb_error() -> None:
    assert issubclass(CallbackError, TypeError)
    assert issubclass(CallbackError, TypedcbError)


def test_a_callback_cannot_be_changed() -> None:
    @dataclass(frozen=True)
    class Clip(AnyCallback):
        clip: float

    callback = Clip(0.1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        callback.clip = 0.2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        callback.other = 0.2  # type: ignore[attr-defined]


# -------------------------------------------------------------------------------------------------- sound classes


def test_an_init_of_ones_own_may_leave_plain_defaults_to_the_class() -> None:
    @dataclass(frozen=True)
    class Every(AnyCallback):
        n: int = 5
        name: str = dataclasses.field(default="five")

        def __init__(self) -> None:
            """Takes nothing."""

    assert (Every().n, Every().name) == (5, "five")


def test_an_init_of_ones_own_may_have_a_helper_make_the_fields() -> None:
    @dataclass(frozen=True)
    class Every(AnyCallback):
        n: int

        def __init__(self, per_epoch: int) -> None:
            self._set(100 // per_epoch)

        def _set(self, n: int) -> None:
            object.__setattr__(self, "n", n)

    assert Every(10).n == 10


put_from_outside = object.__setattr__


def test_an_init_of_ones_own_may_make_the_fields_by_an_alias() -> None:
    @dataclass(frozen=True)
    class Every(AnyCallback):
        n: int
        put = object.__setattr__

        def __init__(self, n: int) -> None:
            self.put("n", n)

    @dataclass(frozen=True)
    class EveryOther(AnyCallback):
        n: int

        def __init__(self, n: int) -> None:
            put_from_outside(self, "n", 2 * n)

    assert (Every(10).n, EveryOther(10).n) == (10, 20)


def test_an_init_of_a_base_behind_the_dataclass_is_none_of_its_own() -> None:
    class Named:
        def __init__(self) -> None:
            raise AssertionError("the dataclass has its own")

    @dataclass(frozen=True)
    class Every(AnyCallback, Named):
        n: int

    assert Every(3).n == 3


@attrs.frozen
class CountsByAttrs(AnyCallback):
    start: int
    count: Cell[int] = cell(0)
    scale: int = 1

    def after_batch(self, event: object) -> None:
        self.count.value += self.scale


@dataclass(frozen=True)
class CountsByDataclass(AnyCallback):
    start: int
    count: Cell[int] = cell(0)
    scale: int = 1

    def after_batch(self, event: object) -> None:
        self.count.value += self.scale


@dataclass(frozen=True, slots=True)
class CountsBySlots(AnyCallback):
    start: int
    count: Cell[int] = cell(0)
    scale: int = 1

    def after_batch(self, event: object) -> None:
        self.count.value += self.scale


@dataclass(frozen=True, kw_only=True)
class CountsByKeyword(CountsByDataclass):
    more: int = 0


@pytest.mark.parametrize("kind", [CountsByAttrs, CountsByDataclass, CountsBySlots, CountsByKeyword])
def test_dataclasses_and_attrs_classes_serve_alike(kind: type[CountsByDataclass]) -> None:
    callback, other = kind(7, scale=2), kind(7)
    assert isinstance(callback.count, Cell)
    learner(callback).fit(1)
    assert (callback.start, callback.count.value, other.count.value) == (7, 8, 0)


def test_fields_stay_positional() -> None:
    @dataclass(frozen=True)
    class Clip(AnyLearnerCallback):
        clip: float
        norm: float = 2.0

    learn = learner()
    clip = Clip(learn, 0.1, 3.0)
    assert (clip.learn, clip.clip, clip.norm) == (learn, 0.1, 3.0)


def test_a_callback_that_overrides_no_hook_is_never_called(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Silent(AnyCallback):
        count: Cell[int] = cell(0)

    def refuse(self: object, event: object) -> None:
        raise AssertionError("the base's hook was called")

    for name in HOOKS:
        monkeypatch.setattr(Callback, name, refuse)
    learner(Silent()).fit(1)
    own_loop(Loop([Silent()]))


def test_a_hook_of_a_base_class_is_called_for_its_subclass_once() -> None:
    heard: list[str] = []

    @dataclass(frozen=True)
    class Parent(AnyCallback):
        def begin_fit(self, event: object) -> None:
            heard.append(type(self).__name__)

    @dataclass(frozen=True)
    class Child(Parent): ...

    @dataclass(frozen=True)
    class Calling(Parent):
        def begin_fit(self, event: object) -> None:
            super().begin_fit(event)
            heard.append("too")

    learner(Child()).fit(0)
    learner(Calling()).fit(0)
    assert heard == ["Child", "Calling", "too"]


@pytest.mark.parametrize("phases", [("train",), ("valid",), ("train", "valid"), ()])
def test_a_callback_hears_the_batches_of_its_phases_alone(phases: Any) -> None:
    @dataclass(frozen=True)
    class Choosy(Recorder):
        order: ClassVar[int] = 0

    Choosy.phases = phases
    choosy = Choosy()
    learner(choosy, n_train=1, n_valid=1).fit(1)
    assert {seen.phase for seen in choosy.seen if seen.phase} == set(phases)
    assert [hook for hook in choosy.hooks if "validate" in hook] == ["begin_validate", "after_validate"]


def test_is_callback_tells_instances_from_anything_else() -> None:
    assert is_callback(Recorder())
    assert not any(map(is_callback, (Recorder, None, 3, lambda learn: Recorder(), object())))


def test_callbacks_with_equal_fields_are_equal_whatever_their_cells_hold() -> None:
    one, other = CountsByDataclass(1), CountsByDataclass(1)
    one.count.value = 5
    assert one == other
    assert one != CountsByDataclass(2)


def test_replacing_a_field_makes_a_callback_with_the_same_settings() -> None:
    callback = dataclasses.replace(CountsByDataclass(1), start=2)
    assert callback.start == 2
    assert copy.copy(callback) == callback


def test_a_learner_callback_has_its_learner_first() -> None:
    assert [field.name for field in dataclasses.fields(LearnerCallback)] == ["learn"]


def test_an_attrs_class_that_passes_over_a_field_of_its_bases_is_refused_when_it_is_used() -> None:
    @attrs.frozen
    class Forgets(LearnerCallback):
        clip: float

    with pytest.raises(CallbackError, match=r"Forgets is an attrs class.*learn.*name the field again"):
        Forgets(0.1)


def test_an_attrs_class_that_names_the_field_again_is_all_right() -> None:
    learn = learner()

    @attrs.frozen
    class Names(LearnerCallback):
        learn: Any
        clip: float

    assert learn.add(Names, clip=0.1).clip == 0.1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("phases", "train", r"is 'train', and has to be \(\"train\",\)"),
        ("phases", ("val",), r"is \('val',\), and has to be"),
        ("phases", (), r"is \(\), and has to be"),
        ("phases", ["train"], r"is \['train'\], and has to be"),
        ("order", "last", "is 'last', and has to be a number"),
        ("count", Cell(0), "is a Cell that no fit resets, and that instances may share: write cell"),
        ("seen", Series[int](), "is a Series that no fit resets, and that instances may share: write series"),
        ("count", cell([1]), "is a cell with a list"),
        ("count", cell({"a": 1}), "is a cell with a dict"),
    ],
    ids=stable,
)
def test_what_a_class_says_of_itself_is_looked_at_when_it_is_made(name: str, value: Any, words: str) -> None:
    body = {"__annotations__": {"count": Any, "seen": Any}, name: value}
    with pytest.raises(CallbackError, match=rf"C\.{name} {words}"):
        types.new_class("C", (AnyCallback,), exec_body=lambda namespace: namespace.update(body))


@pytest.mark.parametrize("name", ["state_dict", "load_state_dict", "epoch_end", "eval_start", "fit_end"])
def test_a_method_that_another_framework_would_call_is_refused(name: str) -> None:
    with pytest.raises(CallbackError, match=rf"C\.{name} is n"):
        types.new_class("C", (AnyCallback,), exec_body=lambda body: body.update({name: lambda self: {}}))


def test_what_a_mixin_brings_is_looked_at_with_the_class() -> None:
    class Keeps:
        losses = [0.0]  # noqa: RUF012  # what it is about

    with pytest.raises(CallbackError, match=r"C\.losses is a list that all instances share"):

        class C(Keeps, AnyCallback): ...


def test_the_cells_of_a_mixin_are_the_callbacks_own() -> None:
    @dataclass(frozen=True)
    class Counts:
        count: Cell[int] = cell(0)

        def after_step(self, event: Any) -> None:
            self.count.value += 1

    @dataclass(frozen=True)
    class One(Counts, AnyCallback): ...

    @dataclass(frozen=True)
    class Other(Counts, AnyCallback): ...

    one, other = One(), Other()
    learn = learner(one, other, n_train=3)
    for _ in range(2):
        learn.fit(1)
        assert (one.count.value, other.count.value) == (3, 3), "a fit resets them"
