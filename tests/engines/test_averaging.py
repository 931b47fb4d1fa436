"""Gradients that are averaged over ranks, whose sum stands in for the collective."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from typedcb import EngineError
from typedcb.engines.averaging import average_gradients
from typedcb.turns import marks


@pytest.fixture
def reduced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many numbers each collective has had, in which two ranks have the same gradients."""
    sizes: list[int] = []

    def all_reduce(together: Tensor) -> None:
        sizes.append(len(together))
        together.mul_(2)

    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    return sizes


def with_gradient(*shape: int, dtype: torch.dtype = torch.float32, value: float = 3.0) -> nn.Parameter:
    parameter = nn.Parameter(torch.zeros(shape, dtype=dtype))
    parameter.grad = torch.full(shape, value, dtype=dtype)
    return parameter


def test_it_is_the_mean_in_place_by_one_collective_for_each_type(reduced: list[int]) -> None:
    parameters = [with_gradient(2, 3), with_gradient(4), with_gradient(5, dtype=torch.float64)]
    before = [parameter.grad for parameter in parameters]
    average_gradients(parameters, 3 * [(None, 0)], 4)
    assert reduced == [6 + 4 + 2, 5 + 1]
    for parameter, gradient in zip(parameters, before, strict=True):
        assert parameter.grad is gradient
        assert parameter.grad.shape == parameter.shape
        assert set(parameter.grad.flatten().tolist()) == {1.5}


def test_what_no_rank_has_stays_none_and_what_another_has_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs, nobodys = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    mine.grad = torch.tensor([2.0, 4.0])
    other = torch.tensor([0.0, 0.0, 6.0, 8.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    monkeypatch.setattr(dist, "all_reduce", lambda together: together.add_(other))
    average_gradients([mine, theirs, nobodys], 3 * [(None, 0)], 2)
    assert mine.grad.tolist() == [1.0, 2.0]
    assert theirs.grad is not None and theirs.grad.tolist() == [3.0, 4.0]
    assert nobodys.grad is None


def test_what_was_there_before_a_pass_that_reaches_nothing_is_left_alone(reduced: list[int]) -> None:
    parameters = [with_gradient(2), with_gradient(3)]
    before = marks(parameters)
    parameters[1].grad.add_(1)  # type: ignore[union-attr]  # it has one
    average_gradients(parameters, before, 2)
    assert reduced == [2 + 3 + 2]
    assert marks(parameters)[0] == before[0]
    assert marks(parameters)[1] != before[1]


def test_a_sparse_gradient_is_refused() -> None:
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(EngineError, match="sparse=False"):
        average_gradients([table.weight], [(None, 0)], 2)
