"""Pictures of a fit, drawn by matplotlib without a window."""

from __future__ import annotations

import io
import math
from typing import Sequence

from matplotlib.figure import Figure


class Plot(Figure):
    """A figure that a notebook shows, whether or not pyplot has been told of the notebook."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=100)  # pyright: ignore[reportUnknownMemberType]  # matplotlib leaves its keywords without types
        return picture.getvalue()


def draw_fit(
    losses: Sequence[float], params: Sequence[Sequence[float]], epoch_ends: Sequence[int], name: str
) -> Figure:
    """The loss, also smoothed, and a hyperparameter, by batch.

    Args:
        losses: The loss of each batch.
        params: The hyperparameter of each parameter group, in each batch.
        epoch_ends: How many batches had passed when each epoch ended.
        name: The hyperparameter's name.
    """
    figure = Plot(figsize=(9, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    batches = range(1, len(losses) + 1)
    above.plot(batches, losses, color="tab:blue", alpha=0.3, linewidth=1, label="loss of the batch")
    above.plot(batches, _smoothed(losses), color="tab:blue", linewidth=2, label="smoothed")
    above.set_yscale("log")
    above.set_ylabel("training loss")
    above.legend(frameon=False)
    for group, values in enumerate(zip(*params, strict=True)):
        below.plot(range(1, len(values) + 1), values, color=f"C{group + 1}", label=f"group {group}")
    below.set_ylabel(name)
    below.set_xlabel("batch")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        for end in epoch_ends[:-1]:
            axes.axvline(end, color="grey", alpha=0.4, linewidth=0.8, linestyle=":")
    return figure


def draw_lr_search(
    lrs: Sequence[float], losses: Sequence[float], smooth_losses: Sequence[float], suggestion: float
) -> Figure:
    """The loss, also smoothed, by learning rate.

    Args:
        lrs: The learning rate of each batch.
        losses: The loss of each batch.
        smooth_losses: The smoothed loss after each batch.
        suggestion: A learning rate to mark.
    """
    figure = Plot(figsize=(8, 5), layout="constrained")
    ((axes,),) = figure.subplots(1, 1, squeeze=False)
    axes.plot(lrs, losses, color="tab:blue", alpha=0.3, linewidth=1, label="loss of the batch")
    axes.plot(lrs, smooth_losses, color="tab:blue", linewidth=2, label="smoothed")
    axes.axvline(suggestion, color="tab:red", linewidth=1, label=f"suggested: {suggestion:.2g}")
    shown = [loss for loss in smooth_losses if math.isfinite(loss)][:-1]  # the last may be what ended the search
    margin = 0.1 * (max(shown) - min(shown)) or 1.0
    axes.set_ylim(min(shown) - margin, max(shown) + margin)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def _smoothed(losses: Sequence[float], beta: float = 0.9) -> list[float]:
    mean = 0.0
    out: list[float] = []
    for count, loss in enumerate(losses, 1):
        mean = beta * mean + (1 - beta) * loss
        out.append(mean / (1 - beta**count))
    return out
