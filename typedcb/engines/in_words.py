"""Ranks, and what each of them has, in words."""

from __future__ import annotations

from typing import Iterable


def listed(ranks: Iterable[int]) -> str:
    """The numbers of ranks: `1, 2`."""
    return ", ".join(map(str, ranks))


def of_each(things: Iterable[object]) -> str:
    """What each rank has: `rank 0: 6 batches; rank 1: 5 batches`.

    Args:
        things: What they have, by rank.
    """
    return "; ".join(f"rank {rank}: {thing}" for rank, thing in enumerate(things))
