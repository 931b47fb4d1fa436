"""Which errors say that another rank does not answer, and which are this rank's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from typedcb.engines.lost import is_lost
from typedcb.engines.processes import LostError

WORDS = "[/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4711: Timed out waiting, Broken pipe"


def raised(do: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as caught:  # which one is what is asked
        do()
    return caught.value


@pytest.fixture(scope="module")
def lonely() -> Any:
    """A rank of gloo, in this process, whose only other rank has come and answers no more."""
    store = dist.HashStore()
    groups: dict[int, Any] = {}

    def join(rank: int) -> None:
        groups[rank] = dist.ProcessGroupGloo(store, rank, 2, timedelta(seconds=0.5))

    threads = [threading.Thread(target=join, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return groups  # both are kept: one that is gone would close the connection sooner


def test_a_collective_that_nobody_else_comes_to_is_lost_and_so_are_those_after_it(lonely: Any) -> None:
    for _ in range(2):
        error = raised(lambda: lonely[0].allreduce([torch.ones(3)]).wait())
        assert type(error) is RuntimeError
        assert is_lost(error)


def test_so_is_what_a_program_raises_from_it(lonely: Any) -> None:
    def wrapped() -> None:
        try:
            lonely[0].allreduce([torch.ones(3)]).wait()
        except RuntimeError as error:
            raise ValueError("no figures this time") from error

    assert is_lost(raised(wrapped))


def test_so_is_what_a_program_catches_and_raises_again(lonely: Any) -> None:
    def passed_on() -> None:
        try:
            try:
                lonely[0].allreduce([torch.ones(3)]).wait()
            except RuntimeError as error:
                error.add_note("no figures this time")
                raise error  # as many programs do, where raise alone would be enough
        finally:
            torch.ones(3).sum()

    assert is_lost(raised(passed_on))


def test_a_store_that_is_gone_is_lost_by_its_class() -> None:
    error = raised(lambda: dist.TCPStore("127.0.0.1", 1, 2, is_master=False, timeout=timedelta(seconds=0.2)))
    assert isinstance(error, dist.DistError)
    assert is_lost(error)
    assert is_lost(LostError("rank 1 has not answered"))


def fails_in_words() -> None:
    raise RuntimeError(WORDS)


def asserts_in_words() -> None:
    holds = not WORDS
    assert holds, WORDS


class BackwardInWords(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(WORDS)


def backward_in_words() -> None:
    BackwardInWords.apply(torch.ones((), requires_grad=True)).backward()


def backward_twice() -> None:
    x = torch.ones(2, requires_grad=True)
    loss = (x * x).sum()
    loss.backward()
    loss.backward()


def handled_before() -> None:
    try:
        raise ConnectionResetError(WORDS)
    except ConnectionResetError:
        raise RuntimeError(WORDS) from None


OWN: dict[str, Callable[[], object]] = {
    "raised": fails_in_words,
    "asserted": asserts_in_words,
    "of a backward of its own": backward_in_words,
    "of backward itself": backward_twice,
    "from another connection": handled_before,
    "by compiled code that it called with such words": lambda: torch.ones(1).to(WORDS.partition("] ")[2]),
    "by a name in torch's own code": lambda: torch.nn.Linear(1, 1).get_parameter("Connection closed by peer"),
    "of another class": lambda: torch.load(f"{WORDS}.pt"),
}


@pytest.mark.parametrize("how", OWN)
def test_what_a_program_raises_is_its_own_whatever_its_words(how: str) -> None:
    error = raised(OWN[how])
    assert not is_lost(error), error


def test_an_error_that_was_never_raised_is_nobodys_loss() -> None:
    assert not is_lost(RuntimeError(WORDS))
