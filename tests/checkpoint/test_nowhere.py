"""Tensors that do not tell where they are in memory, as those on XLA's devices."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from typedcb.tree import encode


class Nowhere(Tensor):
    @override
    def data_ptr(self) -> int:
        return 0


def test_tensors_that_do_not_tell_where_they_are_are_saved_each_by_itself() -> None:
    tree = {"weight": torch.zeros(2).as_subclass(Nowhere), "momentum": torch.ones(2).as_subclass(Nowhere)}
    _, tensors = encode(tree)
    assert sorted(tensor.tolist() for tensor in tensors.values()) == [[0.0, 0.0], [1.0, 1.0]]


def test_a_tensor_that_is_there_twice_is_saved_once() -> None:
    weight = torch.ones(2)
    _, tensors = encode({"weight": weight, "tied": weight})
    assert len(tensors) == 1
