"""Functions of ours in the place of a Trainer's, for a while."""

from __future__ import annotations

from typing import Any, Callable

from typing_extensions import TypeAlias

Undo: TypeAlias = list[Callable[[], None]]
"""What puts things back, the latest last."""


# Any: what stands under a name has no type.
def put(undo: Undo, owner: Any, name: str, make: Callable[[Any], object]) -> None:
    """Puts something in the place of an attribute, on the instance alone.

    Args:
        undo: Gets what puts it back.
        owner: The instance.
        name: The attribute's name.
        make: From what stands there to what is to stand there.
    """
    original: object = getattr(owner, name)
    own = name in vars(owner)
    setattr(owner, name, make(original))
    undo.append(lambda: setattr(owner, name, original) if own else delattr(owner, name))


def undone(undo: Undo) -> None:
    """Puts everything back.

    Args:
        undo: What does it; nothing is left in it.
    """
    while undo:
        undo.pop()()
