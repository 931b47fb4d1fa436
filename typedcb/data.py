"""The data of a fit: a loader for training and one for validation, typed by what their batches hold.

A torch DataLoader is an iterable of Any to a type checker. `DataBunch` reads the element type of its data set instead,
so that a DataLoader over tensor pairs, over (tensor, int) or over a TensorDataset gives a `DataBunch[Tensor, Tensor]`,
and one over (dict[str, Tensor], int) a `DataBunch[dict[str, Tensor], Tensor]`: what torch's default collation makes.
Other batches, such as those of a `collate_fn`, are stated once: `DataBunch[Graph, Tensor](train_dl, valid_dl)`.
"""

from __future__ import annotations

from typing import Any, Final, Generic, Iterable, Optional, Sequence, Sized, Union, cast, overload

from torch import Tensor
from torch.utils import _pytree as pytree  # torch has no public way to go over the tensors of a nested batch
from torch.utils.data import DataLoader
from typing_extensions import TypeAlias

from .articles import an_instance
from .errors import BatchError
from .events import X, X_co, Y_co

TensorLoader: TypeAlias = Union[
    DataLoader[tuple[Tensor, Tensor]],
    DataLoader[tuple[Tensor, int]],
    DataLoader[tuple[Tensor, ...]],
]
"""A DataLoader whose batches are pairs of tensors, by the element type of its data set."""

TensorPairs: TypeAlias = Sequence[tuple[Tensor, Tensor]]
"""Batches in a list, which may stand beside a DataLoader: no Iterable, since a DataLoader is one of Any."""

LoaderOf: TypeAlias = Union[DataLoader[tuple[X, Tensor]], DataLoader[tuple[X, int]]]
"""A DataLoader whose inputs are of another class."""

_LoaderOfAny: TypeAlias = Iterable[Any]  # Any: the implementation behind overloads that say what the batches hold


class DataBunch(Generic[X_co, Y_co]):
    """The loaders of a fit."""

    @overload
    def __init__(
        self: DataBunch[Tensor, Tensor], train_dl: TensorLoader, valid_dl: Optional[TensorLoader] = None
    ) -> None: ...
    @overload
    def __init__(self: DataBunch[Tensor, Tensor], train_dl: TensorLoader, valid_dl: TensorPairs) -> None: ...
    @overload
    def __init__(self: DataBunch[Tensor, Tensor], train_dl: TensorPairs, valid_dl: TensorLoader) -> None: ...
    @overload
    def __init__(self: DataBunch[X, Tensor], train_dl: LoaderOf[X], valid_dl: Optional[LoaderOf[X]] = None) -> None: ...
    @overload
    def __init__(
        self, train_dl: Iterable[tuple[X_co, Y_co]], valid_dl: Optional[Iterable[tuple[X_co, Y_co]]] = None
    ) -> None: ...
    def __init__(self, train_dl: _LoaderOfAny, valid_dl: Optional[_LoaderOfAny] = None) -> None:
        """Keeps the loaders.

        Args:
            train_dl: Gives the training batches, each a pair (xb, yb), afresh whenever it is iterated.
            valid_dl: Gives the validation batches; without it nothing is validated.

        Raises:
            BatchError: A loader can be run through only once, or is known to be empty.
        """
        _check_loader("train_dl", train_dl)
        if valid_dl is not None:
            _check_loader("valid_dl", valid_dl)
        self._train_dl: Final[Iterable[tuple[X_co, Y_co]]] = train_dl
        self._valid_dl: Final[Optional[Iterable[tuple[X_co, Y_co]]]] = valid_dl

    @property
    def train_dl(self) -> Iterable[tuple[X_co, Y_co]]:
        """The training batches."""
        return self._train_dl

    @property
    def valid_dl(self) -> Iterable[tuple[X_co, Y_co]]:
        """The validation batches.

        Raises:
            BatchError: There are none; `has_valid` says so beforehand.
        """
        if self._valid_dl is None:
            raise BatchError("this DataBunch has no valid_dl: pass one, DataBunch(train_dl, valid_dl).")
        return self._valid_dl

    @property
    def has_valid(self) -> bool:
        """Whether there is a loader for validation."""
        return self._valid_dl is not None


def batch_size(yb: object) -> int:
    """How many samples a batch has: the first dimension of the first tensor in it, or its length.

    Args:
        yb: The targets: a tensor, or whatever nests tensors in tuples, lists, dicts and the like.

    Raises:
        BatchError: It has neither a tensor with a dimension nor a length.
    """
    if isinstance(yb, Tensor) and yb.dim():
        return len(yb)
    for leaf in pytree.tree_leaves(yb):
        if isinstance(leaf, Tensor) and leaf.dim():
            return len(leaf)
    if isinstance(yb, Sized):
        return len(yb)
    raise BatchError(f"a batch's targets are {an_instance(yb)}, from which no batch size can be read.")


def length_of(items: object) -> Optional[int]:
    """How many items something has; None where it does not know."""
    try:
        return len(cast(Sized, items))  # to ask whether it is Sized would take 4 µs, in each epoch
    except TypeError:  # also of a DataLoader over an iterable data set: it has a __len__ that cannot answer
        return None


def release(batches: object) -> None:
    """Ends the worker processes of a DataLoader's iterator, which the traceback of an error would keep alive.

    Those of a loader with `persistent_workers` belong to the loader, and stay.

    Args:
        batches: An iterator over batches, of whatever loader.
    """
    stop: object = getattr(batches, "_shutdown_workers", None)  # what its __del__ calls; torch has no public name
    if callable(stop) and not getattr(batches, "_persistent_workers", False):
        stop()


def describe(value: object) -> str:
    """The kind and the shapes of a batch in words, such as `(float32 [64, 3], int64 [64])`."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return "{" + ", ".join(f"{key!r}: {describe(item)}" for key, item in items) + "}"
    if isinstance(value, (tuple, list)):
        return "(" + ", ".join(map(describe, cast("list[object]", value))) + ")"
    return type(value).__name__


def _check_loader(name: str, dl: object) -> None:
    if not hasattr(dl, "__iter__"):
        raise BatchError(f"{name} is {an_instance(dl)}, and has to be an iterable of (xb, yb) pairs.")
    if hasattr(dl, "__next__"):
        raise BatchError(
            f"{name} is {an_instance(dl)}, which can be run through only once, and each epoch runs through it: "
            f"pass a DataLoader, a list, or an object whose __iter__ begins afresh."
        )
    if length_of(dl) == 0:
        raise BatchError(f"{name} gives no batch: its data is empty, or smaller than a batch with drop_last=True.")
