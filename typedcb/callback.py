"""The base of all callbacks: every hook, as one that does nothing.

    @dataclass(frozen=True)
    class GradientClip(AnyLearnerCallback):
        clip: float

        @override
        def after_backward(self, event: BatchEvent) -> None:
            nn.utils.clip_grad_norm_(self.learn.model.parameters(), self.clip)

A callback is a frozen dataclass (or an `attrs.frozen` class) with typed fields: its settings, its cells, and the
callbacks and cells that it depends on, which run before it. It overrides the hooks that it wants; a hook that it does
not override costs nothing. Whatever can be seen to be wrong when the class is made is refused then.
"""

from __future__ import annotations

import dataclasses
import inspect
from functools import partial
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, ClassVar, Final, Generic, Iterator, Mapping, Optional, Protocol, Union

import attrs
from typing_extensions import Never, Self, TypeAlias, TypeIs, TypeVar, override

from .cell import Cell, State, StateFactory
from .errors import CallbackError
from .events import (
    AfterBackward,
    AfterBatch,
    AfterCancelBatch,
    AfterCancelEpoch,
    AfterCancelTrain,
    AfterEpoch,
    AfterFit,
    AfterLoss,
    AfterPred,
    AfterStep,
    AfterValidate,
    BeginBatch,
    BeginEpoch,
    BeginFit,
    BeginValidate,
    Phase,
)
from .filling import filling_problem
from .hooks import HOOKS, P_contra, X_contra, Y_contra
from .naming import name_problem, set_up_problem, setting_problem, state_problem
from .outcomes import CancelTrain, InBatch, InEpoch, SkipBackward, SkipStep, SkipValidate, SkipZeroGrad
from .ranks import Where, ranks_problem
from .rules import (
    annotations_of,
    frozen_problem,
    init_problem,
    mutable_attributes,
    mutable_initial_problem,
    order_problem,
    phases_problem,
    shared_state_problem,
    signature_problem,
)

if TYPE_CHECKING:
    from torch import Tensor as Tensor  # what the type variables' defaults name
    from torch import nn

    from .learner import Learner

M = TypeVar("M", bound="nn.Module", default="nn.Module")

BOTH_PHASES: Final[tuple[Phase, ...]] = ("train", "valid")


def check_methods(cls: type) -> None:
    """Refuses a class with a method that reads as a hook's and is none, or with a hook that cannot be called.

    Args:
        cls: The class, its decorator not yet applied.

    Raises:
        CallbackError: It names the class, the method and what was probably meant.
    """
    for owner in cls.__mro__:
        if owner is not cls and (owner in (object, Generic, Protocol) or issubclass(owner, Callback)):
            continue  # checked when it was made
        for name, value in vars(owner).items():
            problem = None
            if name in HOOKS:
                problem = signature_problem(name, value) or _hidden_problem(cls, owner, name)
            elif inspect.isfunction(value) or isinstance(value, (staticmethod, classmethod)):
                problem = name_problem(name, partial(_is_called, cls, name)) or state_problem(name)
            if name == "__init__" and owner is cls and isinstance(value, FunctionType):
                problem = _init_problem(cls, value)
            elif name not in HOOKS and isinstance(value, FunctionType):
                problem = problem or _set_up_problem(cls, name, value)
            if problem:
                raise CallbackError(f"{cls.__name__}.{name} {problem}")


def _init_problem(cls: type, function: FunctionType) -> Optional[str]:
    """What is wrong with an `__init__` in the place of a dataclass's own."""
    if "__attrs_attrs__" in vars(cls) or "__dataclass_params__" in vars(cls):
        return None  # with slots the class is made a second time, now with the library's own
    mentions = _mentioned(function.__code__)
    around: Mapping[str, object] = {**function.__globals__, **vars(cls)}
    behind = (_behind_name(around[name]) for name in mentions if name in around)
    return init_problem(_fields_to_make(cls), mentions.union(*behind))


def _behind_name(value: object) -> frozenset[str]:
    """What a helper mentions; of anything else its own name: with `put = object.__setattr__` that is `__setattr__`."""
    if isinstance(value, FunctionType):
        return _mentioned(value.__code__)
    name: object = getattr(value, "__name__", None)
    return frozenset({name}) if isinstance(name, str) else frozenset()


def _set_up_problem(cls: type, name: str, function: FunctionType) -> Optional[str]:
    """What is wrong with a method that another framework would call."""
    takes = function.__code__.co_varnames[1 : function.__code__.co_argcount]
    return set_up_problem(name, takes, called=partial(_is_called, cls, name), elsewhere=True)


def _is_called(cls: type, name: str) -> bool:
    """Whether a method of the class, or of a base of it, mentions this one."""
    others = (value for owner in cls.__mro__ for value in vars(owner).values() if isinstance(value, FunctionType))
    return any(name in _mentioned(other.__code__) for other in others)


def _mentioned(code: CodeType) -> frozenset[str]:
    """The names of globals and attributes that a function mentions, the functions inside it included."""
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return frozenset(code.co_names).union(*map(_mentioned, inner))


def _fields_to_make(cls: type) -> tuple[str, ...]:
    """The fields of a class whose decorator is not yet applied, its bases' included, that have no plain default."""
    annotations = annotations_of(cls)
    own = {name: vars(cls).get(name, dataclasses.MISSING) for name in annotations}
    inherited = {field.name: field for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    fields: Mapping[str, object] = {**inherited, **own}
    return tuple(
        name
        for name, value in fields.items()
        if (value.default if _is_field(value) else value) is dataclasses.MISSING
        if "ClassVar" not in str(annotations.get(name, ""))
    )


def _hidden_problem(cls: type, owner: type, name: str) -> Optional[str]:
    """What is wrong with where a mixin stands among the bases; None where nothing is."""
    found = next(base for base in cls.__mro__ if name in vars(base))
    if found is not Callback or getattr(owner, "_is_protocol", False):
        return None
    return (
        f"would never be called: {owner.__name__}, which has it, stands behind Callback, whose own {name} does "
        f"nothing. Write the mixin first: class {cls.__name__}({owner.__name__}, ...)"
    )


def check_frozen(cls: type) -> None:
    """Refuses a class that can change after it was made.

    Args:
        cls: A subclass of Callback.

    Raises:
        CallbackError: It says which decorator the class needs.
    """
    params = vars(cls).get("__dataclass_params__")
    frozen_by_attrs = "__attrs_attrs__" in vars(cls) and attrs.inspect(cls).is_frozen
    if not (frozen_by_attrs if params is None else params.frozen):
        raise CallbackError(frozen_problem(cls.__name__))
    if frozen_by_attrs:
        _check_attrs_fields(cls)


def _check_attrs_fields(cls: type) -> None:
    """Refuses an attrs class whose constructor passes over a field that a dataclass among its bases declares."""
    name = cls.__name__
    taken = {field.name for field in attrs.fields(cls)} if attrs.has(cls) else set[str]()
    for field in dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and field.name not in taken:
            raise CallbackError(
                f"{name} is an attrs class, whose constructor does not take {field.name} from its bases, which are "
                f"dataclasses: name the field again in {name}, or write @dataclass(frozen=True)."
            )


def check_fields(cls: type) -> None:
    """Refuses a class with a field or a class attribute that changes in place, or with a setting that nothing reads.

    What a mixin brings is looked at with the class, since nobody has looked at it before.

    Args:
        cls: The class, its decorator not yet applied.

    Raises:
        CallbackError: It names the class, the field and what to write instead.
    """
    for owner in cls.__mro__:
        if owner is cls or not (owner in (object, Generic, Protocol) or issubclass(owner, Callback)):
            for name, problem in _field_problems(owner):
                raise CallbackError(f"{cls.__name__}.{name} {problem}")


def _field_problems(cls: type) -> Iterator[tuple[str, str]]:
    """The names in a class's own body that are unsound, and what is wrong with each."""
    fields = annotations_of(cls)
    for name in () if getattr(cls, "_is_protocol", False) else fields.keys() & HOOKS.keys():
        yield name, f"is a field, and a hook is a method: write def {name}(self, event: {HOOKS[name].event.__name__})"
    for name, value in vars(cls).items():
        problem = _state_problem(value)
        if name not in fields:
            problem = problem or setting_problem(name)
        if name == "phases" and not _is_field(value):
            problem = phases_problem(value)
        if name == "order" and not _is_field(value):
            problem = order_problem(value)
        if name == "ranks" and not _is_field(value):
            problem = ranks_problem(value)
        if problem:
            yield name, problem
    yield from mutable_attributes(cls)


def _state_problem(value: object) -> Optional[str]:
    """What is wrong with a cell as it is declared; None where nothing is."""
    if isinstance(value, State):
        return shared_state_problem(type(value).__name__)
    factory = _state_factory(value)
    state = factory() if factory else None
    return mutable_initial_problem(state.initial) if _is_cell(state) else None


def _declared(owner: type) -> Iterator[tuple[str, object]]:
    """What a class declares by name; of a mixin that is a dataclass already, its fields too."""
    yield from vars(owner).items()
    fields: Mapping[str, object] = vars(owner).get("__dataclass_fields__", {})
    yield from fields.items()


def _is_cell(state: Optional[State]) -> TypeIs[Cell[object]]:
    return isinstance(state, Cell)


def field_values(callback: SomeCallback) -> dict[str, object]:
    """The fields of a callback by name, in their order; settings, cells and dependencies alike."""
    names = [field.name for field in dataclasses.fields(callback)]
    cls = type(callback)
    if attrs.has(cls):
        names += [field.name for field in attrs.fields(cls) if field.name not in names]
    return {name: getattr(callback, name) for name in names}  # both libraries offer fields by name alone


def _state_factory(value: object) -> Optional[StateFactory[State]]:
    """What makes a field's cell, where `value` declares one."""
    factory: object = value.default_factory if _is_field(value) else None
    return factory if _is_state_factory(factory) else None


def _is_field(value: object) -> TypeIs[dataclasses.Field[object]]:
    return isinstance(value, dataclasses.Field)


def _is_state_factory(value: object) -> TypeIs[StateFactory[State]]:
    return isinstance(value, StateFactory)


def is_callback(value: object) -> TypeIs[SomeCallback]:
    """Whether something is an instance of a subclass of Callback, of whatever payload."""
    return isinstance(value, Callback)


@dataclasses.dataclass(frozen=True)
class Callback(Generic[X_contra, Y_contra, P_contra]):
    """Something that a training loop calls at each of its events.

    Type parameters:
        X_contra: The inputs that its hooks take; a tensor by default. `object` fits every loop.
        Y_contra: The targets that its hooks take.
        P_contra: The predictions that its hooks take.
    """

    order: ClassVar[int] = 0
    """Callbacks run in ascending order, those that are depended on first; ties run as they were attached."""

    phases: ClassVar[tuple[Phase, ...]] = BOTH_PHASES
    """The data whose batches it is told of: `("train",)`, `("valid",)` or both."""

    ranks: ClassVar[Where] = "all"
    """The processes that it runs in, where a fit has several: `"all"`, or `"main"` for the first one alone."""

    def begin_fit(self, event: BeginFit, /) -> Optional[CancelTrain]:
        """A fit begins."""
        return None

    def begin_epoch(self, event: BeginEpoch, /) -> Optional[InEpoch]:
        """An epoch begins. CancelEpoch leaves the whole epoch out."""
        return None

    def begin_batch(
        self, event: BeginBatch[X_contra, Y_contra], /
    ) -> Optional[Union[BeginBatch[X_contra, Y_contra], InBatch]]:
        """A batch begins. May replace it: `return event.with_batch(xb, yb)`."""
        return None

    def after_pred(
        self, event: AfterPred[X_contra, Y_contra, P_contra], /
    ) -> Optional[Union[AfterPred[X_contra, Y_contra, P_contra], InBatch]]:
        """The model has been called. May replace the prediction: `return event.with_pred(pred)`."""
        return None

    def after_loss(
        self, event: AfterLoss[X_contra, Y_contra, P_contra], /
    ) -> Optional[Union[AfterLoss[X_contra, Y_contra, P_contra], SkipBackward, InBatch]]:
        """The loss has been computed. May replace it, `return event.with_loss(loss)`, or skip backward."""
        return None

    def after_backward(
        self, event: AfterBackward[X_contra, Y_contra, P_contra], /
    ) -> Optional[Union[SkipStep, InBatch]]:
        """The gradients are there. May skip the step."""
        return None

    def after_step(self, event: AfterStep[X_contra, Y_contra, P_contra], /) -> Optional[Union[SkipZeroGrad, InBatch]]:
        """The optimizer has stepped. May skip the zeroing of the gradients."""
        return None

    def after_cancel_batch(self, event: AfterCancelBatch[X_contra, Y_contra, P_contra], /) -> None:
        """A batch was cancelled; `after_batch` follows."""

    def after_batch(self, event: AfterBatch[X_contra, Y_contra, P_contra], /) -> Optional[InEpoch]:
        """A batch has ended, at its end, by a Cancel or by an error."""
        return None

    def after_cancel_epoch(self, event: AfterCancelEpoch, /) -> None:
        """A pass over the data was cancelled."""

    def begin_validate(self, event: BeginValidate, /) -> Optional[Union[SkipValidate, CancelTrain]]:
        """Validation begins. May skip it."""
        return None

    def after_validate(self, event: AfterValidate, /) -> Optional[CancelTrain]:
        """Validation has ended."""
        return None

    def after_epoch(self, event: AfterEpoch, /) -> Optional[CancelTrain]:
        """An epoch has ended, its validation included."""
        return None

    def after_cancel_train(self, event: AfterCancelTrain, /) -> None:
        """The fit was cancelled; `after_fit` follows."""

    def after_fit(self, event: AfterFit, /) -> None:
        """The fit has ended, in whatever way."""

    @override
    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        check_methods(cls)
        check_fields(cls)
        for owner in cls.__mro__:
            for name, value in _declared(owner):
                factory = _state_factory(value)
                if factory and not factory.name:
                    factory.name = f"{owner.__name__}.{name}"

    if not TYPE_CHECKING:  # a checker reads the constructor from the dataclass

        def __new__(cls, *args: object, **kwargs: object) -> Self:
            """Refuses a class that is not frozen, and something else in the learner's place."""
            check_frozen(cls)
            problem = filling_problem(cls, args, kwargs, is_callback)
            if problem:
                raise CallbackError(f"{cls.__name__}.{problem}")
            return super().__new__(cls)

    def __attrs_post_init__(self) -> None:
        # `cell` declares a dataclass field, which attrs takes for a plain default: each instance gets its cell here
        for name, value in field_values(self).items():
            if factory := _state_factory(value):
                object.__setattr__(self, name, factory())


@dataclasses.dataclass(frozen=True)
class LearnerCallback(Callback[X_contra, Y_contra, P_contra], Generic[X_contra, Y_contra, P_contra, M]):
    """A callback that works on a learner: its model, its optimizer, its data.

    Type parameters:
        X_contra: The inputs that its hooks take; a tensor by default.
        Y_contra: The targets that its hooks take.
        P_contra: The predictions that its hooks take.
        M: The class of the learner's model, so that `self.learn.model.` completes its own fields.
    """

    learn: Learner[X_contra, Y_contra, P_contra, M]
    """The learner that it is attached to; `learn.add` and `cb_funcs` fill it in."""


SomeCallback: TypeAlias = Callback[Never, Never, Never]
"""A callback of whatever payload: one may ask for its fields, and nothing can be handed to its hooks."""

AnyCallback: TypeAlias = Callback[object, object, object]
"""A callback that fits every loop, whatever its batches are."""

AnyLearnerCallback: TypeAlias = LearnerCallback[object, object, object]
"""A callback that fits every learner, whatever its batches are."""
