"""The examples do what they say."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from typedcb.engine import ONE_DEVICE

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks gain nothing by more, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def example(name: str) -> dict[str, Any]:
    """What an example defines, after a seed."""
    torch.manual_seed(0)
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_mrnet_learns_to_see_the_bright_spot() -> None:
    assert example("mrnet")["train"](epochs=5) > 0.9


def test_a_plain_loop_of_ones_own_reads_digits() -> None:
    assert example("supervised")["train"](n_epochs=2) > 0.9


def test_several_processes_read_digits_and_so_does_one() -> None:
    assert example("ddp")["train"](ONE_DEVICE, n_epochs=2) > 0.85


def test_the_generator_makes_all_digits_and_comes_nearer_to_real_ones() -> None:
    watch = example("gan")["train"](n_epochs=9)
    noise = torch.rand(1000, 14 * 14)
    assert watch.quality.distance(noise) > 8
    assert watch.distances[-1] < 3.5 < 5 < watch.distances[0]
    assert watch.digits[-1] >= 8
    assert 0.55 < watch.critic.train_metrics.value[0] < 0.95, "neither has won"


def test_the_distance_of_real_digits_to_themselves_is_none() -> None:
    gan = example("gan")
    images, labels = gan["mnist5k"]()
    images = torch.nn.functional.avg_pool2d(images, 2).flatten(1)
    quality = gan["Quality"](images, labels)
    assert quality.distance(images) == pytest.approx(0, abs=0.02)
    assert quality.digits(images) == 10
    assert quality.digits(images[labels < 2]) < 5, "0 and 1 alone, and some that look like others"


def test_the_language_model_learns_of_text() -> None:
    perplexity = example("language_model")["train"](n_epochs=2, n_characters=100_000)
    assert perplexity.seen[0] < 30, "of 96 characters"
    assert perplexity.seen[-1] < min(12, 0.8 * perplexity.seen[0])
