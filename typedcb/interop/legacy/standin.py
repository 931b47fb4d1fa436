"""What an old callback takes for its runner, its learner or its optimizer.

Old callbacks read everything through `__getattr__`, their own and their runner's. A stand-in answers with what a typed
learner has. It is the only object of this project that does so; what it does not have, it says.
"""

from __future__ import annotations

import difflib
from typing import Any, Final, Mapping

from typing_extensions import override

from ...hooks import HOOKS

_FIXED: Final[Mapping[str, str]] = {
    "model": "make a learner of the other model",
    "data": "make a learner of the other data",
    "loss_func": "replace the loss itself, once it has been computed (run.loss in after_loss; last_loss in v1)",
}


class StandIn:
    """Hands what is asked of it on to something else, as far as that is shared.

    Args:
        what: What it stands for, in words for error messages.
        target: Whose attributes are shared.
        shared: The names that are handed on.
    """

    def __init__(self, what: str, target: object, *shared: str) -> None:
        vars(self).update(_what=what, _target=target, _shared=shared)

    def __getattr__(self, name: str) -> Any:  # Any: whatever the target has under that name
        own = vars(self)
        if name in own.get("_shared", ()):
            return getattr(own["_target"], name)
        if name in HOOKS or name.startswith("_"):  # what old callbacks look for in vain, at each event
            raise AttributeError(name)
        there = sorted({*own.get("_shared", ()), *(key for key in own if not key.startswith("_"))})
        near = difflib.get_close_matches(name, there, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(there)} at this moment."
        raise AttributeError(
            f"'{name}' is not there: a typed learner stands in for the old {own.get('_what', 'one')}, and {hint}"
        )

    @override
    def __setattr__(self, name: str, value: object) -> None:
        own = vars(self)
        if name in own["_shared"] and name in _FIXED:
            raise AttributeError(f"'{name}' of a typed learner cannot be replaced by a callback: {_FIXED[name]}.")
        if name in own["_shared"]:
            setattr(own["_target"], name, value)
        else:
            super().__setattr__(name, value)
