"""Running a model for what it says, and not to train it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Generator

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Generator[None, None, None]:
    """Evaluation mode and no gradients for the length of a `with` block; then every module's own mode again.

    Args:
        model: The model; a module of it that is kept in evaluation mode stays there.
    """
    training = [module for module in model.modules() if module.training]
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module in training:  # one by one: model.train() would switch the others too
            module.training = True
