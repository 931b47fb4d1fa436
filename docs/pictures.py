"""Draws the pictures of the documents into docs/img: python docs/pictures.py [NAME ...].

Each is drawn by a function of its name, from real callbacks on small data, the same on every run of one machine.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Final

import torch
import torch.nn.functional as F
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import override

from typedcb import AfterEpoch, AnyCallback, BeginBatch, DataBunch, Learner, Readable, Series, series
from typedcb.callbacks import (
    EMA,
    LR,
    MOMENTUM,
    ActivationStats,
    AvgStats,
    Diverged,
    EarlyStopping,
    LRFinder,
    MixUp,
    ParamScheduler,
    Recorder,
    ReduceLROnPlateau,
    SaveBest,
    SmoothLoss,
    TorchScheduler,
    accuracy,
    combine,
    constant,
    cosine,
    exponential,
    flat_cosine,
    leaves,
    linear,
    one_cycle,
    polynomial,
)
from typedcb.datasets import mnist5k

FOLDER: Final = Path(__file__).resolve().parent / "img"

BLUE, ORANGE, GREEN, RED, GREY = "#3b6fb6", "#e07b39", "#4c9f70", "#c23b4b", "#8a8f98"

STYLE: Final = {
    "axes.edgecolor": "#b9bec6",
    "axes.grid": True,
    "axes.labelcolor": "#444a52",
    "axes.prop_cycle": f"cycler('color', ['{BLUE}', '{ORANGE}', '{GREEN}', '{RED}', '#8260a8', '{GREY}'])",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": "#2b2f35",
    "axes.titlesize": 11,
    "font.size": 10,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.dpi": 110,
    "xtick.color": "#6b717a",
    "ytick.color": "#6b717a",
}


def _figure(width: float = 8.0, height: float = 3.6) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _one(width: float = 8.0, height: float = 3.6) -> tuple[Figure, Axes]:
    figure = _figure(width, height)
    return figure, figure.subplots()


def _digits(samples: int = 2000, noisy: float = 0.0, batch_size: int = 32) -> DataBunch[Tensor, Tensor]:
    """Handwritten digits, some with a wrong label."""
    images, labels = mnist5k()
    order = torch.randperm(len(images))
    images, labels = images[order], labels[order]
    given = torch.where(torch.rand(len(labels)) < noisy, torch.randint(10, (len(labels),)), labels)
    train = TensorDataset(images[:samples].flatten(1), given[:samples])
    valid = TensorDataset(images[4000:].flatten(1), labels[4000:])
    return DataBunch(DataLoader(train, batch_size, shuffle=True), DataLoader(valid, 500))


def _net(width: int = 50, depth: int = 2) -> nn.Sequential:
    layers: list[nn.Module] = []
    for place in range(depth):
        layers += [nn.Linear(784 if not place else width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


@dataclass(frozen=True)
class Take(AnyCallback):
    """Takes a figure after each epoch."""

    monitor: Readable[float]
    """The figure."""

    taken: Series[float] = series()
    """What it was after each epoch."""

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Takes it."""
        self.taken.append(self.monitor.value)


def _positions(points: int = 400) -> list[float]:
    return [place / points for place in range(points + 1)]


def smoothing() -> Figure:
    """A noisy loss, its mean with and without the correction for the start at 0."""
    learn = Learner(_net(), _digits(noisy=0.1, batch_size=8), F.cross_entropy, partial(SGD, lr=0.05))
    recorder = learn.add(Recorder)
    learn.fit(1)
    losses, beta = recorder.losses.value, SmoothLoss().beta
    raw, fixed, mean = [], [], 0.0
    for count, loss in enumerate(losses, 1):
        mean = beta * mean + (1 - beta) * loss
        raw.append(mean)
        fixed.append(mean / (1 - beta**count))
    figure, axes = _one()
    axes.plot(losses, color=BLUE, alpha=0.28, linewidth=0.9, label="loss of the batch")
    axes.plot(raw, color=ORANGE, linestyle="--", label="mean that begins at 0")
    axes.plot(fixed, color=BLUE, linewidth=2.4, label="SmoothLoss.value: the same, corrected")
    axes.set(xlabel="batch", ylabel="training loss", xlim=(0, len(losses)), ylim=(0, 3.2))
    axes.legend()
    return figure


def lr_finder() -> Figure:
    """A learning-rate search on digits."""
    learn = Learner(_net(), _digits(batch_size=64), F.cross_entropy, partial(SGD, lr=0.1, momentum=0.9))
    smooth = SmoothLoss(beta=0.9)
    finder = LRFinder(learn, smooth, 1e-4, 10.0, 200, Diverged(1.6))
    learn.fit(10, cbs=[smooth, finder])
    figure = finder.plot()
    figure.set_size_inches(8, 3.8)
    return figure


def one_cycle_schedule() -> Figure:
    """Learning rate and momentum as OneCycle sets them, batch by batch."""
    data = _digits(640, batch_size=32)
    learn = Learner(_net(), data, F.cross_entropy, partial(SGD, lr=0.1, momentum=0.9))
    lrs, momenta = Recorder(learn), Recorder(learn, MOMENTUM)
    learn.fit_one_cycle(5, 0.4, cbs=[lrs, momenta])
    figure = _figure(8, 3.2)
    left, right = figure.subplots(1, 2)
    left.plot([group[0] for group in lrs.params], color=BLUE)
    left.set(title="learning rate", xlabel="batch", ylim=(0, None))
    right.plot([group[0] for group in momenta.params], color=ORANGE)
    right.set(title="momentum", xlabel="batch")
    return figure


def annealers() -> Figure:
    """Each schedule that there is."""
    shown = {
        "constant(0.5)": constant(0.5),
        "linear(1, 0.01)": linear(1, 0.01),
        "cosine(1, 0.01)": cosine(1, 0.01),
        "exponential(1, 0.01)": exponential(1, 0.01),
        "polynomial(1, 0.01, power=3)": polynomial(1, 0.01, power=3),
        "flat_cosine(1, 0.01)": flat_cosine(1, 0.01),
        "one_cycle(1)": one_cycle(1),
        "combine((0.2, linear(0, 1)), (0.8, cosine(1, 0)))": combine((0.2, linear(0, 1)), (0.8, cosine(1, 0))),
    }
    figure = _figure(8.4, 4.2)
    grid = figure.subplots(2, 4, sharey=True).flat
    for place, (axes, (name, schedule)) in enumerate(zip(grid, shown.items(), strict=True)):
        axes.plot(_positions(), [schedule(where) for where in _positions()], color=BLUE)
        axes.set_title(name.replace(", (", ",\n("), fontsize=8.5)
        axes.set(ylim=(-0.05, 1.08), xlim=(0, 1), xticks=(0, 0.5, 1))
        if place > 3:
            axes.set_xlabel("position in the fit", fontsize=8.5)
    return figure


def torch_schedule() -> Figure:
    """Three of torch's schedulers, as TorchScheduler runs them."""
    schedulers = torch.optim.lr_scheduler
    figure, axes = _one(8, 3.0)
    for name, factory in (
        ("StepLR(step_size=20, gamma=0.5)", partial(schedulers.StepLR, step_size=20, gamma=0.5)),
        ("ExponentialLR(gamma=0.97)", partial(schedulers.ExponentialLR, gamma=0.97)),
        ("CosineAnnealingWarmRestarts(T_0=25)", partial(schedulers.CosineAnnealingWarmRestarts, T_0=25)),
    ):
        learn = Learner(_net(), _digits(1600, batch_size=64), F.cross_entropy, partial(SGD, lr=0.1))
        recorder = learn.add(Recorder)
        learn.fit(4, cbs=[TorchScheduler(learn, factory, every="batch")])
        axes.plot([group[0] for group in recorder.params], label=name)
    axes.set(xlabel="batch", ylabel="learning rate", ylim=(0, None))
    axes.legend(fontsize=8.5, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def activations() -> Figure:
    """What the layers of a deep network put out, with an initialization that is too small and with one that fits."""
    figure = _figure(8.4, 4.8)
    grid = figure.subplots(2, 2, sharex=True, sharey="row")
    for column, (title, gain) in enumerate((("weights at half their size", 0.5), ("Kaiming's initialization", 1.0))):
        model = _net(depth=5)
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
                with torch.no_grad():
                    layer.weight *= gain
        stats = ActivationStats(learn := Learner(model, _digits(batch_size=64), F.cross_entropy, partial(SGD, lr=0.1)))
        learn.fit(3, cbs=[stats])
        relus = [place for place, module in enumerate(leaves(model)) if isinstance(module, nn.ReLU)]
        for number, place in enumerate(relus, 1):
            color, shade = (BLUE if column else ORANGE), 0.35 + 0.65 * number / len(relus)
            grid[0, column].plot(
                [row[place] for row in stats.stds], color=(color, shade), linewidth=1.3, label=f"ReLU {number}"
            )
            grid[1, column].plot([row[place] for row in stats.near_zeros], color=(color, shade), linewidth=1.3)
        grid[0, column].set_title(title)
        grid[1, column].set_xlabel("batch")
        grid[0, column].legend(fontsize=8, ncols=2)
    grid[0, 0].set_ylabel("standard deviation")
    grid[1, 0].set_ylabel("share near zero")
    grid[1, 0].set_ylim(0, 1.02)
    return figure


def ema() -> Figure:
    """Validation on the trained and on the averaged weights, epoch by epoch."""
    data = _digits(1500, noisy=0.2, batch_size=8)
    figure, axes = _one(8, 3.2)
    for name, averaged, color in (("the weights that are trained", False, ORANGE), ("their average", True, BLUE)):
        torch.default_generator.manual_seed(1)
        learn = Learner(_net(), data, F.cross_entropy, partial(SGD, lr=0.1))
        stats = AvgStats(accuracy)
        taken = Take(stats.valid(accuracy))
        if averaged:
            learn.add(EMA, decay=0.998)
        learn.fit(15, cbs=[stats, taken])
        axes.plot(range(1, 16), taken.taken, marker="o", markersize=3.5, color=color, label=f"validated on {name}")
    axes.set(xlabel="epoch", ylabel="validation accuracy")
    axes.legend()
    return figure


def plateau() -> Figure:
    """The validation loss, and the learning rate that is reduced when it no longer falls."""
    learn = Learner(_net(), _digits(1500, noisy=0.15, batch_size=16), F.cross_entropy, partial(SGD, lr=0.2))
    stats, recorder = AvgStats(accuracy), learn.add(Recorder)
    reduce = ReduceLROnPlateau(learn, stats.valid_loss, mode="min", factor=0.3, patience=2)
    taken = Take(stats.valid_loss)
    learn.fit(18, cbs=[stats, taken, reduce])
    losses, lrs = taken.taken.value, [recorder.params[end - 1][0] for end in recorder.epoch_ends.value]
    figure = _figure(8, 4)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    epochs = range(1, len(losses) + 1)
    above.plot(epochs, losses, marker="o", markersize=3.5, color=BLUE)
    above.set_ylabel("validation loss")
    below.step(epochs, lrs, where="mid", color=ORANGE)
    below.set(xlabel="epoch", ylabel="learning rate", yscale="log", xticks=range(2, len(losses) + 1, 2))
    return figure


def stopping() -> Figure:
    """A fit that EarlyStopping ends, and the epoch whose weights SaveBest puts back."""
    learn = Learner(_net(100), _digits(400, noisy=0.1, batch_size=16), F.cross_entropy, partial(Adam, lr=1e-3))
    stats = AvgStats(accuracy)
    taken = Take(stats.valid_loss)
    best = SaveBest(learn, stats.valid_loss, mode="min")
    stop = EarlyStopping(stats.valid_loss, mode="min", patience=5)
    learn.fit(60, cbs=[stats, taken, best, stop])
    losses = taken.taken.value
    figure, axes = _one(8, 3.2)
    axes.plot(range(len(losses)), losses, marker="o", markersize=3.5, color=BLUE)
    place = best.epoch.value or 0
    axes.plot(place, losses[place], marker="o", markersize=9, color=GREEN)
    axes.annotate(
        "the best epoch:\nSaveBest puts its weights back", (place, losses[place]), (place - 1, max(losses) * 0.62),
        arrowprops={"arrowstyle": "-", "color": GREY}, ha="center", color=GREEN,
    )  # fmt: skip
    axes.axvspan(place + 0.5, len(losses) - 0.5, color=RED, alpha=0.07)
    axes.annotate(
        "no improvement for 5 epochs:\nEarlyStopping ends the fit", (len(losses) - 1, losses[-1]),
        (len(losses) - 3.2, max(losses) * 0.86), ha="center", color=RED,
    )  # fmt: skip
    axes.set(xlabel="epoch", ylabel="validation loss")
    return figure


def recorder() -> Figure:
    """Recorder.plot of a fit with a one-cycle schedule."""
    learn = Learner(_net(), _digits(3000, batch_size=32), F.cross_entropy, partial(Adam, lr=1e-3))
    record = learn.add(Recorder)
    learn.add(ParamScheduler, LR, one_cycle(5e-3))
    learn.fit(4)
    figure = record.plot()
    figure.set_size_inches(8, 4.4)
    return figure


def mixup() -> Figure:
    """Digits, and what MixUp makes of them."""
    images, labels = mnist5k()
    chosen = torch.tensor([3, 700, 1200, 1700, 2300, 2900, 3400, 4700])
    xb, yb = images[chosen], labels[chosen]
    mix = MixUp(partial(F.cross_entropy, reduction="none"), alpha=1.0)
    torch.default_generator.manual_seed(5)
    mixed = mix.begin_batch(BeginBatch("train", 0, 0, 1, 0, xb, yb)).xb
    figure = _figure(8.4, 2.7)
    for column in range(len(chosen)):
        for row, picture in enumerate((xb[column], mixed[column])):
            axes = figure.add_subplot(2, len(chosen), row * len(chosen) + column + 1)
            axes.imshow(picture.reshape(28, 28), cmap="Blues")
            axes.set(xticks=(), yticks=())
            axes.grid(visible=False)
            axes.spines[:].set_visible(False)
        weight, partner = float(mix.weights.value[column]), int(yb[mix.partners.value[column]])
        axes.set_xlabel(f"{weight:.0%} {int(yb[column])}, {1 - weight:.0%} {partner}", fontsize=8)
    return figure


PICTURES: Final[dict[str, Callable[[], Figure]]] = {
    "smoothing": smoothing,
    "lr-finder": lr_finder,
    "one-cycle": one_cycle_schedule,
    "annealers": annealers,
    "torch-schedule": torch_schedule,
    "activations": activations,
    "ema": ema,
    "plateau": plateau,
    "stopping": stopping,
    "recorder": recorder,
    "mixup": mixup,
}


def draw(name: str) -> Path:
    """Draws one picture into the folder."""
    path = FOLDER / f"{name}.png"
    with rc_context(STYLE):
        torch.default_generator.manual_seed(0)
        drawn = io.BytesIO()
        PICTURES[name]().savefig(drawn)
    # few colours are enough for a plot, and take a third of the bytes
    Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or PICTURES:
        picture = draw(chosen)
        print(f"{picture.name}: {picture.stat().st_size / 1000:.0f} kB")
