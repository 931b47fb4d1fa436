"""A class's name with its article, in messages."""

from __future__ import annotations

import pytest
import torch
from torch.optim import Adam

from typedcb.articles import an_instance, with_article

AN = (
    "Adam AvgStats EarlyStopping int object OrderedDict Iterator Undone _Adam SGD LRFinder LSTM MLPMixer RMSprop "
    "IterableDataset EMA ASGD"
)
A = (
    "list dict Cell DataLoader SmoothLoss Tensor str NoneType CSVLogger GRU UNet Union User OneCycle bool NAdam "
    "TensorBoard function _Weights URLTable"
)


@pytest.mark.parametrize(("names", "article"), [(AN, "an"), (A, "a")])
def test_an_article_is_the_one_that_is_spoken(names: str, article: str) -> None:
    for name in names.split():
        assert with_article(name) == f"{article} {name}"


def test_a_value_is_called_by_its_class() -> None:
    assert an_instance(Adam([torch.ones(1)])) == "an Adam"
    assert an_instance([1]) == "a list"
    assert an_instance(None) == "a NoneType"
