"""The examples do what they say."""

from __future__ import annotations

import runpy
from pathlib import Path

import torch

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_mrnet_learns_to_see_the_bright_spot() -> None:
    torch.manual_seed(0)
    train = runpy.run_path(str(EXAMPLES / "mrnet.py"))["train"]

    assert train(epochs=5) > 0.9
