"""An explanation as a picture, drawn by matplotlib without a window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from .facts import Explanation

_KINDS = (
    ("replaces", "what it is given may come out changed", "tab:orange"),
    ("may skip or cancel", "it may leave something out", "tab:red"),
    ("listens", "it is told", "tab:blue"),
)


def draw(explanation: Explanation, path: Path) -> None:
    """Draws an explanation into a file.

    Args:
        explanation: What to draw.
        path: The file; its ending, such as `.svg` or `.png`, says of which kind it becomes.
    """
    picture(explanation).savefig(str(path), dpi=150, bbox_inches="tight")  # pyright: ignore[reportUnknownMemberType]  # matplotlib leaves its keywords without types


def picture(explanation: Explanation) -> Figure:
    """A row for each callback, a column for each event, and an arrow from each callback to whoever needs it."""
    hooks, callbacks = list(explanation.listeners), explanation.callbacks
    figure = Figure(figsize=(3.5 + 0.55 * len(hooks), 1.8 + 0.42 * len(callbacks)), layout="constrained")
    axes: Any = figure.subplots()  # Any: matplotlib leaves its keywords without types
    for row, callback in enumerate(callbacks):
        for hook in callback.hooks:
            kind = 0 if hook.replaces else 1 if hook.answers else 2
            axes.scatter(hooks.index(hook.name), row, s=140, color=_KINDS[kind][2], zorder=3)
    for name, _, color in _KINDS:
        axes.scatter([], [], s=80, color=color, label=name)
    axes.set_xticks(range(len(hooks)), hooks, rotation=45, ha="left")
    names = [f"{place}  {callback.name}" for place, callback in enumerate(callbacks, 1)]
    axes.set_yticks(range(len(callbacks)), names)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.set_xlim(-0.6, len(hooks) - 0.4 + _arrows(axes, explanation, len(hooks)))
    axes.set_ylim(len(callbacks) - 0.4, -0.6)
    axes.grid(alpha=0.25)
    axes.spines[:].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, frameon=False)
    return figure


def _arrows(axes: Any, explanation: Explanation, right: int) -> float:  # Any: as said
    """Draws who needs whom at the right side; how wide that is."""
    rows = {callback.name: row for row, callback in enumerate(explanation.callbacks)}
    wide = 0.0
    for callback in explanation.callbacks:
        for need in callback.needs:
            first, last = rows[need.callback], rows[callback.name]
            bend = 0.25 + 0.12 * abs(last - first)
            arrow = FancyArrowPatch(
                (right - 0.4, first),
                (right - 0.4, last),
                connectionstyle=f"arc3,rad={-bend}",
                arrowstyle="-|>",
                mutation_scale=12,
                color="grey",
            )
            axes.add_patch(arrow)
            wide = max(wide, 0.5 + bend * abs(last - first) / 2)
    return wide
