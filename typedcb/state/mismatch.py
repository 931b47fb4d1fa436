"""What of a checkpoint may be left out where it does not fit, and the refusal of all else."""

from __future__ import annotations

from typing import Literal, Mapping, Sequence

from typing_extensions import TypeAlias

from ..errors import MismatchError

OnMismatch: TypeAlias = Mapping[str, Literal["require", "reset"]]
"""What to do where a checkpoint does not fit: by a callback's class, or `optimizer`, `loss`, `data` or `random`.

`"require"` refuses the checkpoint, which is what happens to whatever is not named; `"reset"` goes on without that part.
"""


def refuse(path: str, differences: Sequence[tuple[str, str]], on_mismatch: OnMismatch) -> None:
    """Refuses what nobody has accepted."""
    left = tuple((who, what) for who, what in differences if who == "model" or on_mismatch.get(who) != "reset")
    if not left:
        return
    lines = "\n".join(f"  {who}: {what}" for who, what in left)
    reset = sorted({who for who, _ in left if who != "model"})
    hint = f" To go on without what was saved of it: on_mismatch={{{reset[0]!r}: 'reset'}}." if reset else ""
    raise MismatchError(
        f"{path} does not fit this learner, and nothing of it was copied:\n{lines}\n{hint}".rstrip(), left
    )
