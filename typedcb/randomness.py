"""The random states of a process, to come back to."""

from __future__ import annotations

import random
import sys
from typing import Any, Optional, Protocol, cast

import torch
from torch import Generator

from .tree import Tree


class SavesItself(Protocol):
    """Whatever gives and takes its own state."""

    def state_dict(self) -> dict[str, Any]:  # Any: its own business
        """Its state."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> object:  # Any: its own business
        """Takes a state."""
        ...


def saves_itself(value: object) -> Optional[SavesItself]:
    """The same value, where it gives and takes its own state."""
    if callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None)):
        return cast("SavesItself", value)
    return None


def random_states() -> Tree:
    """The states of all generators that a fit may draw from: Python's, numpy's where it is imported, and torch's."""
    return {
        "python": random.getstate(),
        "numpy": _numpy_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if _cuda_is_up() else [],
    }


def set_random_states(states: Tree) -> None:
    """Gives all generators the states that they had.

    Args:
        states: What `random_states` took.
    """
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    for device, state in enumerate(states["cuda"]):
        torch.cuda.set_rng_state(state, device)
    if states["numpy"] is not None:
        import numpy as np  # noqa: PLC0415  # only where the fit that was saved had imported it

        name, keys, *rest = states["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))


def diverge(rank: int) -> None:
    """Has the generators of this process draw other numbers than those of another rank with the same states.

    Args:
        rank: The number of this process.
    """
    random.seed(random.getrandbits(62) + rank)
    seed = int(torch.randint(1 << 62, ())) + rank
    torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]  # torch leaves its argument untyped
    if "numpy" in sys.modules:
        import numpy as np  # noqa: PLC0415  # imported already

        np.random.seed((int(np.random.randint(1 << 31)) + rank) % (1 << 32))


def random_problem(states: Tree) -> Optional[str]:
    """Why random states cannot be set here; None where they can."""
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if len(states["cuda"]) > devices:
        return f"it was saved with {len(states['cuda'])} CUDA devices, and there are {devices}"
    try:
        random.Random().setstate(states["python"])
        Generator().set_state(states["torch"])
    except (RuntimeError, ValueError) as error:
        return f"the random states are none: {error}"
    return None


def _cuda_is_up() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]  # torch leaves it without types


def _numpy_state() -> Tree:
    if "numpy" not in sys.modules:
        return None
    import numpy as np  # noqa: PLC0415  # imported already

    name, keys, position, has_gauss, cached = cast("tuple[str, Any, int, int, float]", np.random.get_state(legacy=True))
    return (name, tuple(keys.tolist()), int(position), int(has_gauss), float(cached))
