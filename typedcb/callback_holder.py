"""What a learner does with callbacks: it makes them, attaches them, detaches them, and finds them again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Callable, Generator, Generic, Sequence, TypeVar

from typing_extensions import Concatenate, ParamSpec, Self, TypeAlias

from .attach import checked_made, made_by
from .callback import Callback, SomeCallback, field_values, is_callback
from .cell import State, View
from .dependencies import own_states
from .errors import CallbackError
from .events import P_co, X_co, Y_co
from .loop import Loop
from .several import as_tuple

PS = ParamSpec("PS")
C = TypeVar("C", bound=SomeCallback)

_Unchecked: TypeAlias = Any  # Any: a learner's overloads say what it takes


class CallbackHolder(Generic[X_co, Y_co, P_co]):
    """What has callbacks for its fits.

    Args:
        loop: What runs them.
        has_valid: Whether there is data for a validation.

    Type parameters:
        X_co: The inputs of a batch.
        Y_co: The targets of a batch.
        P_co: What the model makes of the inputs.
    """

    def __init__(self, loop: Loop[X_co, Y_co, P_co], *, has_valid: bool) -> None:
        self._loop = loop
        self._has_valid = has_valid

    @property
    def cbs(self) -> tuple[Callback[X_co, Y_co, P_co], ...]:
        """The callbacks in the order in which they run."""
        return self._loop.cbs

    def add(
        self,
        factory: Callable[Concatenate[Self, PS], C],
        /,
        *args: PS.args,
        **kwargs: PS.kwargs,
    ) -> C:
        """Makes a callback for this learner and attaches it.

        Args:
            factory: A callback class, or a function, that takes the learner first.
            *args: What it takes besides.
            **kwargs: What it takes besides.

        Returns:
            The callback.

        Raises:
            CallbackError: What the factory made is no sound callback.
            DependencyError: What the callback depends on is missing.
            LoopError: A fit is under way.
        """
        if is_callback(factory):
            raise CallbackError(
                f"{type(factory).__name__} is an instance, and learn.add takes a class or factory, which it calls with "
                f"the learner: pass instances in cbs, to Learner or to fit."
            )
        callback = checked_made(factory, factory(self, *args, **kwargs), "the learner")
        self._attach((callback,))
        return callback

    def remove(self, *cbs: Callback[X_co, Y_co, P_co]) -> None:
        """Detaches callbacks.

        Args:
            *cbs: Instances that are attached to this learner.

        Raises:
            CallbackError: One is not attached to this learner.
            DependencyError: Another callback depends on one of them.
            LoopError: A fit is under way.
        """
        self._loop.remove(*cbs)

    @contextmanager
    def added(self, *cbs: Callback[X_co, Y_co, P_co]) -> Generator[None, None, None]:
        """Attaches callbacks for the length of a `with` block.

        Args:
            *cbs: Instances that are attached nowhere.
        """
        if cbs:
            self._attach(cbs)
        try:
            yield
        finally:
            if cbs:
                self._loop.remove(*cbs)

    def get(self, kind: type[C]) -> C:
        """The one callback of a class.

        Args:
            kind: The class, or a base of it.

        Raises:
            LookupError: There is none, or more than one.
        """
        found = [callback for callback in self.cbs if isinstance(callback, kind)]
        if len(found) == 1:
            return found[0]
        attached = ", ".join(type(callback).__name__ for callback in self.cbs) or "none"
        raise LookupError(f"{len(found)} callbacks of class {kind.__name__} are attached; there are: {attached}.")

    def _attach(self, cbs: Sequence[Callback[Any, Any, Any]]) -> None:  # Any: a factory's own word, checked below
        for callback in cbs:
            self._check_mine(callback)
        self._loop.add(*cbs)

    def _made(self, cbs: _Unchecked, cb_funcs: _Unchecked) -> list[Callback[X_co, Y_co, P_co]]:
        """The instances, and what the factories make, in that order."""
        made = [*cbs, *made_by(self, "the learner", cb_funcs)]
        for callback in made:
            self._check_mine(callback)
        return made

    def _check_mine(self, callback: object) -> None:
        """Refuses a callback that was made for another learner, or that reads what this one never measures."""
        if not is_callback(callback):
            return  # the loop refuses it, and says where it belongs
        for name, value in field_values(callback).items():
            if not self._has_valid and name not in own_states(callback):
                _check_filled(f"{type(callback).__name__}.{name}", value)
            if isinstance(value, CallbackHolder) and value is not self:
                raise CallbackError(
                    f"{type(callback).__name__}.{name} is another learner than the one that it is attached to: make it "
                    f"by learn.add({type(callback).__name__}, ...), which fills its own learner in."
                )


def _check_filled(field: str, value: object) -> None:
    """Refuses a field that reads a figure of the validation, for a learner that has no data for one."""
    for part in as_tuple(value):
        source = part.source if isinstance(part, View) else part
        if isinstance(source, State) and source.phase == "valid":
            raise CallbackError(
                f"{field} reads {source.name}, which a validation gives its value, and the data has no valid_dl: pass "
                f"one, DataBunch(train_dl, valid_dl), or watch a figure of the training."
            )
