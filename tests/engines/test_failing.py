"""How each rank learns of another one's end, in real processes: the words are true, and name only who is meant."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from launching import Ended, launch

from typedcb.engines.failing import Position

PROGRAMS = {"sigterm": 3, "stream": 2, "own loop": 2, "after_fit": 2, "models": 2}
"""What is run, and in how many processes; the last one fails."""


@pytest.fixture(scope="module")
def ended() -> dict[str, list[Ended]]:
    """How the processes of each program have ended; two programs run at a time, since most of them wait."""
    with ThreadPoolExecutor(2) as pool:
        runs = {
            name: pool.submit(launch, n, name, seconds=60, script="failing_programs.py") for name, n in PROGRAMS.items()
        }
        return {name: run.result() for name, run in runs.items()}


def test_a_rank_that_sigterm_ends_is_named_alone_and_as_what_it_is(ended: dict[str, list[Ended]]) -> None:
    *others, told = ended["sigterm"]
    assert told.code == 143
    for one in others:
        assert one.code == 1
        assert "PeerError: rank 2 was told to end by SIGTERM (SystemExit: 143) in Does.after_loss, epoch 0" in one.out
        assert "without a word" not in one.out


def test_an_error_in_the_last_hook_of_one_rank_fails_the_others(ended: dict[str, list[Ended]]) -> None:
    other, failed = ended["after_fit"]
    assert other.code == failed.code == 1
    assert "ValueError: bad luck" in failed.out
    assert "PeerError: rank 1 failed in Does.after_fit: ValueError: bad luck" in other.out


def test_ranks_with_other_numbers_of_batches_say_so_where_no_length_is_known(ended: dict[str, list[Ended]]) -> None:
    for one in ended["stream"]:
        assert one.code == 1
        assert "EngineError: the ranks do not have as many batches in this fit or validation" in one.out
        assert "rank 0 has been handed 6 batches, the last of train_dl" in one.out
        assert "rank 1 has been handed 5 batches, the last of train_dl" in one.out
        assert "without a word" not in one.out


def test_lengths_that_are_known_are_compared_as_a_pass_begins(ended: dict[str, list[Ended]]) -> None:
    for one in ended["own loop"]:
        assert one.code == 1
        assert "train_dl is not the same on all ranks: it has not as many batches" in one.out
        assert "rank 0: 6 batches; rank 1: 5 batches" in one.out
        assert "epoch 0, train, before the first batch" in one.out


@pytest.mark.parametrize("engine", ["ddp", "fsdp", "accelerate"])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("shape", "0.weight. rank 0: a parameter, of shape [8, 6], torch.float32, trained; rank 1: a parameter, of"),
        ("more", "3.weight. rank 0: not there; rank 1: a parameter, of shape [3, 3]"),
        ("dtype", "2.weight. rank 0: a parameter, of shape [3, 8], torch.float32, trained; rank 1: a parameter, of"),
        ("buffer", "1.seen. rank 0: not there; rank 1: a buffer, of shape [2]"),
        ("frozen", "0.weight. rank 0: a parameter, of shape [8, 6], torch.float32, trained; rank 1: a parameter, of"),
    ],
)
def test_a_model_of_another_kind_is_refused_on_all_ranks_before_any_weight_is_sent(
    engine: str, kind: str, words: str, ended: dict[str, list[Ended]]
) -> None:
    for one in ended["models"]:
        assert one.code == 0, one.out
        said = json.loads(one.out.strip().splitlines()[-1])[f"{engine} {kind}"]
        assert said.startswith("the models of the ranks differ, first in " + words)


@pytest.mark.parametrize(
    ("one", "other", "contradict"),
    [
        (Position(6, 10), Position(5, 11), True),
        (Position(5, 11), Position(6, 10), True),
        (Position(6, 11), Position(5, 11), False),  # not there yet
        (Position(6, 11), Position(6, 10), False),
        (Position(6, 11), Position(5, 10), False),
        (Position(6, 11), Position(6, 11), False),
    ],
)
def test_of_two_ranks_that_do_the_same_none_has_more_batches_and_fewer_collectives(
    one: Position, other: Position, contradict: bool
) -> None:
    assert one.contradicts(other) is contradict
