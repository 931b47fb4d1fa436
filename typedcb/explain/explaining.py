"""Explains callbacks: their order, and what each hears, reads, answers and replaces."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from typing import Callable, Final, Iterable, Iterator, Mapping, Protocol, Sequence, Union, cast

from typing_extensions import TypeAlias

from ..answers import answers_of
from ..attach import check_instance
from ..callback import SomeCallback, field_values, is_callback
from ..cell import State, View
from ..dependencies import needed_by, own_states, running_order
from ..dispatch import overrides
from ..errors import CallbackError
from ..hooks import HOOKS, HookSpec
from ..identity import names_of
from ..several import as_tuple
from .facts import Explained, ExplainedCell, ExplainedHook, Explanation, Need

_REPLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "with_batch": ("xb", "yb"),
    "with_pred": ("pred",),
    "with_loss": ("loss",),
}


class HasCallbacks(Protocol):
    """A learner, or a loop."""

    @property
    def cbs(self) -> Sequence[SomeCallback]:
        """The callbacks in the order in which they run."""
        ...


Subject: TypeAlias = Union[HasCallbacks, Iterable[object]]
"""What can be explained: a learner, a loop, or what might be callbacks."""


def explain(subject: Subject) -> Explanation:
    """Explains in what order callbacks run, why, and what each may do.

    Args:
        subject: A learner, a loop, or callbacks. What is no sound callback among these is reported, and not raised.
    """
    if isinstance(subject, Iterable):
        return _explained("callbacks", list(subject))
    return _explained(_name_of(subject), [*subject.cbs, *_grouped(subject)])


def _name_of(subject: HasCallbacks) -> str:
    model: object = getattr(subject, "model", None)
    kind = type(subject).__name__
    return kind if model is None else f"{kind} of {type(model).__name__}"


def _grouped(subject: HasCallbacks) -> list[SomeCallback]:
    """The callbacks of a loop's objectives."""
    groups: Sequence[HasCallbacks] = getattr(subject, "objectives", ())
    return [callback for group in groups for callback in group.cbs]


def _explained(subject: str, given: Sequence[object]) -> Explanation:
    sound, refused = _sound(given)
    order: Sequence[int] = range(len(sound))
    if not refused:
        try:
            order = running_order(sound)
        except CallbackError as error:
            refused = [str(error)]
    running = [sound[index] for index in order]
    names = names_of(running)
    explained = tuple(_callback(place, running, names, order) for place in range(len(running)))
    heard = {
        name: tuple(one.name for one in explained if any(hook.name == name for hook in one.hooks)) for name in HOOKS
    }
    listeners = {name: those for name, those in heard.items() if those}
    return Explanation(subject, explained, listeners, tuple(refused))


def _sound(given: Sequence[object]) -> tuple[list[SomeCallback], list[str]]:
    """The callbacks that can be attached, and why others cannot."""
    sound: list[SomeCallback] = []
    refused: list[str] = []
    for value in given:
        try:
            check_instance(value)
        except CallbackError as error:
            refused.append(str(error))
        if is_callback(value):
            if any(value is other for other in sound):
                refused.append(f"this {type(value).__name__} stands there twice: each of its hooks would run twice.")
            else:
                sound.append(value)
    for callback in sound:
        try:
            needed_by(callback, sound)
        except CallbackError as error:
            refused.append(str(error))
    return sound, refused


def _callback(place: int, running: Sequence[SomeCallback], names: Mapping[int, str], order: Sequence[int]) -> Explained:
    callback = running[place]
    own = own_states(callback)
    needs = tuple(_needs(callback, running, names))
    return Explained(
        names[id(callback)],
        type(callback).__module__,
        _first_sentence(type(callback)),
        callback.order,
        callback.phases,
        tuple(_why(place, running, needs, names, order)),
        needs,
        {name: _shown(value, running, names) for name, value in field_values(callback).items() if name not in own},
        tuple(ExplainedCell(name, state.reset, state.saved) for name, state in own.items()),
        tuple(_hook(callback, spec) for spec in HOOKS.values() if overrides(callback, spec)),
    )


def _first_sentence(cls: type) -> str:
    words = " ".join((cls.__doc__ or "").split())
    return re.split(r"(?<=[.!?:]) ", words, maxsplit=1)[0] if "(" not in words.split(" ")[0] else ""


def _needs(callback: SomeCallback, running: Sequence[SomeCallback], names: Mapping[int, str]) -> Iterator[Need]:
    try:
        found = needed_by(callback, running)
    except CallbackError:  # it is reported among what is refused
        return
    for field, other in found:
        itself = any(part is other for part in as_tuple(field_values(callback)[field]))
        yield Need(field, names[id(other)], "callback" if itself else "cell")


def _why(
    place: int, running: Sequence[SomeCallback], needs: Sequence[Need], names: Mapping[int, str], order: Sequence[int]
) -> Iterator[str]:
    """Why a callback runs where it does."""
    for need in needs:
        reads = f"has the cell that its field {need.field} reads"
        held = f"is its field {need.field}" if need.what == "callback" else reads
        yield f"after {need.callback}, which {held}"
    mine = running[place].order
    if mine:
        yield f"order {mine}"
    before = running[place - 1] if place else None
    if before is None or needs:
        return
    if before.order == mine and order[place - 1] < order[place]:
        yield f"attached after {names[id(before)]}, of the same order {mine}"
    elif before.order < mine:
        yield f"after {names[id(before)]}, of order {before.order}"
    elif before.order > mine:
        yield f"after {names[id(before)]}, since what either of them waits for came no sooner"


def _hook(callback: SomeCallback, spec: HookSpec) -> ExplainedHook:
    function = cast("Callable[..., object]", getattr(type(callback), spec.name))
    allowed = answers_of(type(callback), spec)
    answers = tuple(kind.__name__ for kind in (spec.event, spec.skip, *spec.cancels) if kind in allowed)
    replaces = _REPLACES.get(spec.replace, ()) if spec.event in allowed else ()
    return ExplainedHook(spec.name, _event(function) or spec.event.__name__, tuple(_reads(function)), answers, replaces)


def _event(function: Callable[..., object]) -> str:
    """What a hook's parameter is annotated as; empty where it is not."""
    parameters = list(inspect.signature(function).parameters.values())
    annotation: object = parameters[1].annotation if len(parameters) > 1 else inspect.Parameter.empty
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _reads(function: Callable[..., object]) -> list[str]:
    """The fields of the event that a hook's code names."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # made at run time, or by another language
        return []
    definition = next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)), None)
    arguments = [] if definition is None else [*definition.args.posonlyargs, *definition.args.args]
    if definition is None or len(arguments) < 2:
        return []
    event = arguments[1].arg
    read: dict[str, None] = {}
    for node in ast.walk(definition):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == event:
            read.setdefault(node.attr)
    return [name for name in read if not name.startswith("with_")]


def _shown(value: object, running: Sequence[SomeCallback], names: Mapping[int, str]) -> str:
    """A setting in short; a callback or a cell by its name."""
    if isinstance(value, View):
        value = value.source
    if is_callback(value):
        return names.get(id(value), type(value).__name__)
    if isinstance(value, State):
        for callback in running:
            for field, state in own_states(callback).items():
                if state is value:
                    return f"{names[id(callback)]}.{field}"
        return value.name or repr(value)
    name: object = getattr(value, "__qualname__", None)
    text = name if isinstance(name, str) else " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:59] + "…"
