"""What a model is made of: its modules, what they put out, and how many parameters they have."""

from __future__ import annotations

from typing import Final, Iterator, Sequence

import attrs
from torch import Tensor, nn
from torch.utils import _pytree as pytree  # torch has no public way to go over the tensors of a nested output
from typing_extensions import override

from .evaluating import evaluating
from .showing import Sheet

_HEAD: Final = ("module", "class", "output", "parameters", "train")


@attrs.frozen
class Layer:
    """A module that holds no others."""

    name: str
    """Its name in the model, such as `features.0`."""

    kind: str
    """Its class."""

    shapes: tuple[tuple[int, ...], ...]
    """The shapes of the tensors that it put out; none where the batch did not use it."""

    parameters: int
    """How many numbers its parameters hold."""

    trainable: int
    """How many of them train."""


@attrs.frozen
class Summary:
    """A model's modules, in the order of their registration; `print` shows it as a table."""

    model: str
    """The model's class."""

    layers: tuple[Layer, ...]
    """The modules that hold no others."""

    parameters: int
    """How many numbers the model's parameters hold, shared ones counted once."""

    trainable: int
    """How many of them train."""

    @override
    def __str__(self) -> str:
        return "\n".join([*_aligned([_HEAD, *self._rows()]), self._foot()])

    def __rich__(self) -> Sheet:
        """What rich shows of it."""
        return Sheet(self._foot(), _HEAD, tuple(self._rows()))

    def _repr_html_(self) -> str:
        return self.__rich__().html()

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for layer in self.layers:
            shapes = " ".join("x".join(map(str, shape)) for shape in layer.shapes)
            trains = "" if not layer.parameters else "yes" if layer.trainable == layer.parameters else "no"
            yield layer.name, layer.kind, shapes, f"{layer.parameters:,}", trains

    def _foot(self) -> str:
        return f"{self.model}: {self.parameters:,} parameters, {self.trainable:,} of them train"


def summarize(model: nn.Module, inputs: object) -> Summary:
    """Runs a batch through a model, and says what it is made of.

    Args:
        model: Run in evaluation mode and without gradients; every module's mode is put back.
        inputs: What the model is called with.
    """
    shapes: dict[nn.Module, tuple[tuple[int, ...], ...]] = {}

    def keep(module: nn.Module, given: object, output: object) -> None:
        shapes[module] = tuple(tuple(leaf.shape) for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor))

    leaves = list(_leaves(model))
    handles = [module.register_forward_hook(keep) for _, module in leaves]
    try:
        with evaluating(model):
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    layers = [
        Layer(name, type(module).__name__, shapes.get(module, ()), *_count(list(module.parameters())))
        for name, module in leaves
    ]
    return Summary(type(model).__name__, tuple(layers), *_count(list(model.parameters())))


def _leaves(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules that hold no others, with their names in the model."""
    children = list(module.named_children())
    if not children:
        yield name, module
    for child, inner in children:
        yield from _leaves(inner, f"{name}.{child}" if name else child)


def _count(parameters: Sequence[nn.Parameter]) -> tuple[int, int]:
    """How many numbers there are, and how many of them train."""
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
