"""Loaders that cannot be trained on are refused, and batches of any nesting are measured and moved."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recording import Recorder
from tiny import Weight, bunch, learner, pairs, total
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from typedcb import BatchError, DataBunch, Learner, Loop
from typedcb.data import batch_size, length_of
from typedcb.device import device_of, placed, to_device

Point = namedtuple("Point", "x y")


class Stream(IterableDataset[Any]):
    """Batches of which nobody knows how many there are."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


class RunsOut:
    """An iterable that looks as if it began afresh, and gives its batches once."""

    def __init__(self, items: list[Any]) -> None:
        self._left = iter(items)

    def __iter__(self) -> Iterator[Any]:
        yield from self._left


def stream(items: list[Any]) -> DataLoader[Any]:
    return DataLoader(Stream(items), batch_size=None)


def fit(train_dl: Any, valid_dl: Any = None, n_epochs: int = 1) -> None:
    Learner(Weight(), DataBunch(train_dl, valid_dl), total, partial(SGD, lr=0.1)).fit(n_epochs)


# ------------------------------------------------------------------------------------------------------ no batches


EMPTY = {
    "list": [],
    "DataLoader": DataLoader(TensorDataset(torch.ones(0, 1), torch.ones(0, 1))),
    "drop_last": DataLoader(TensorDataset(torch.ones(3, 1), torch.ones(3, 1)), batch_size=4, drop_last=True),
}


@pytest.mark.parametrize("loader", EMPTY.values(), ids=EMPTY)
def test_a_loader_that_is_known_to_be_empty_is_refused_at_once(loader: Any) -> None:
    for which, args in (("train_dl", (loader,)), ("valid_dl", (pairs(1), loader))):
        with pytest.raises(
            BatchError, match=f"{which} gives no batch: its data is empty, or smaller than a batch with"
        ):
            DataBunch(*args)


def test_a_stream_that_yields_nothing_is_refused_when_that_shows() -> None:
    with pytest.raises(BatchError, match="gave no batch in the train pass of epoch 0: is the data set smaller than"):
        fit(stream([]))
    with pytest.raises(BatchError, match="gave no batch in the valid pass of epoch 0"):
        fit(pairs(1), stream([]))


def test_an_empty_list_in_a_loop_of_ones_own_is_refused() -> None:
    with (
        pytest.raises(BatchError, match="gave no batch in the train pass of epoch 0"),
        Loop[Any, Any, Any]().fit(1) as f,
    ):
        for epoch in f.epochs():
            for _ in epoch.train([]):
                pass


def test_a_generator_is_refused_since_each_epoch_runs_through_it() -> None:
    with pytest.raises(BatchError, match=r"train_dl is a generator, which can be run through only once.*list"):
        DataBunch(pair for pair in pairs(2))
    with pytest.raises(BatchError, match="valid_dl is a zip, which can be run through only once"):
        DataBunch(pairs(2), zip([1], [2], strict=True))  # type: ignore[arg-type]


def test_a_loader_that_has_run_out_in_a_later_epoch_is_refused() -> None:
    with pytest.raises(BatchError, match="gave no batch in the train pass of epoch 1: was it a generator"):
        fit(RunsOut(pairs(2)), n_epochs=2)


def test_what_is_no_iterable_is_refused() -> None:
    with pytest.raises(BatchError, match="train_dl is an int, and has to be an iterable"):
        DataBunch(3)  # type: ignore[call-overload]


# --------------------------------------------------------------------------------------------------------- no pairs


@pytest.mark.parametrize(
    ("batch", "what"),
    [
        (torch.ones(2), "a Tensor"),
        ((torch.ones(2),), "a tuple of 1"),
        ((torch.ones(2), torch.ones(2), torch.ones(2)), "a tuple of 3"),
        ({"x": torch.ones(2), "y": torch.ones(2)}, "a dict of 2"),
        ("xy", "a str of 2"),
        (7, "an int"),
        (None, "a NoneType"),
    ],
)
def test_a_batch_that_is_no_pair_is_refused(batch: Any, what: str) -> None:
    with pytest.raises(BatchError, match=f"the loader gave {what}.*a batch is a pair \\(xb, yb\\): put several inputs"):
        fit([batch])
    with pytest.raises(BatchError, match=f"the loader gave {what}"):
        fit(pairs(1), [batch])


def test_a_pair_may_be_a_list_or_a_named_tuple() -> None:
    fit([list(pairs(1)[0])])
    fit([Point(*pairs(1)[0])])
    fit(DataLoader(TensorDataset(torch.ones(4), torch.ones(4)), batch_size=2))


def test_an_error_of_the_loader_says_which_pass_it_was() -> None:
    def broken() -> Iterator[Any]:
        yield from pairs(2)
        raise OSError("disk")

    class Breaks:
        def __iter__(self) -> Iterator[Any]:
            return broken()

    recorder = Recorder()
    with pytest.raises(OSError, match="disk") as failed:
        Learner(Weight(), DataBunch(Breaks()), total, partial(SGD, lr=0.1), cbs=[recorder]).fit(1)
    assert failed.value.__notes__ == ["typedcb: in loading batches, epoch 0, train, after batch 1"]
    assert recorder.hooks.count("begin_batch") == recorder.hooks.count("after_batch") == 2
    assert recorder.hooks[-1] == "after_fit"


def test_an_error_of_the_loader_before_its_first_batch_says_so() -> None:
    class Breaks:
        def __iter__(self) -> Iterator[Any]:
            raise OSError("disk")

    with pytest.raises(OSError, match="disk") as failed:
        fit(Breaks())
    assert failed.value.__notes__ == ["typedcb: in loading batches, epoch 0, train, before the first batch"]


# ------------------------------------------------------------------------------------------------------ DataBunch


def test_a_data_bunch_hands_out_the_very_loaders() -> None:
    train, valid = pairs(2), pairs(1)
    data = DataBunch(train, valid)
    assert data.train_dl is train
    assert data.valid_dl is valid
    assert data.has_valid


def test_a_data_bunch_without_validation_says_so() -> None:
    data = bunch(n_valid=0)
    assert not data.has_valid
    with pytest.raises(BatchError, match=r"no valid_dl: pass one, DataBunch\(train_dl, valid_dl\)"):
        _ = data.valid_dl


@pytest.mark.parametrize(
    ("thing", "length"),
    [([1, 2], 2), (stream([1]), None), (DataLoader([1, 2, 3], batch_size=2), 2), (RunsOut([]), None), (3, None)],  # type: ignore[arg-type]
)
def test_length_of_is_none_where_it_is_not_known(thing: Any, length: int | None) -> None:
    assert length_of(thing) == length


@pytest.mark.parametrize(
    ("yb", "size"),
    [
        (torch.ones(3), 3),
        (torch.ones(3, 2), 3),
        ((torch.ones(4), torch.ones(4, 2)), 4),
        ({"boxes": torch.ones(5, 4), "labels": torch.ones(5)}, 5),
        ({"scale": torch.ones(()), "labels": torch.ones(5)}, 5),
        ([{"boxes": torch.ones(2, 4)}], 2),
        (["a", "b"], 2),
        (torch.ones(0), 0),
    ],
)
def test_the_batch_size_is_the_first_dimension_of_the_first_tensor_or_the_length(yb: Any, size: int) -> None:
    assert batch_size(yb) == size


def test_a_batch_without_a_size_is_refused() -> None:
    with pytest.raises(BatchError, match="targets are an int, from which no batch size can be read"):
        batch_size(3)


# --------------------------------------------------------------------------------------------------------- devices


def nests(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
            | st.tuples(inner, inner).map(lambda pair: Point(*pair))
        ),
        max_leaves=6,
    )


def leaves_of(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves_of(item)]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves_of(item)]
    return [value]


def shape_of(value: Any) -> Any:
    """The nesting alone."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [shape_of(item) for item in value]
    return "tensor" if isinstance(value, Tensor) else value


@given(nests(st.builds(torch.ones, st.integers(0, 2)) | st.integers() | st.text(max_size=2) | st.none()))
def test_every_tensor_of_a_nest_is_moved_and_the_rest_stays_as_it_is(value: Any) -> None:
    moved = to_device(value, torch.device("meta"))
    assert shape_of(moved) == shape_of(value)
    tensors = [leaf for leaf in leaves_of(moved) if isinstance(leaf, Tensor)]
    assert all(tensor.device.type == "meta" for tensor in tensors)


def test_the_device_of_a_model_is_that_of_its_parameters() -> None:
    assert device_of(nn.Linear(1, 1)) == torch.device("cpu")
    assert device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert device_of(nn.ReLU()) == torch.device("cpu")


def test_batches_on_the_cpu_are_handed_on_as_they_are() -> None:
    loader = pairs(2)
    assert placed(loader, torch.device("cpu")) is loader


def test_batches_for_another_device_are_moved_one_by_one_and_know_how_many_they_are() -> None:
    loader = placed(pairs(2), torch.device("meta"))
    assert length_of(loader) == 2
    assert length_of(placed(stream(pairs(2)), torch.device("meta"))) is None
    assert length_of(placed(RunsOut(pairs(2)), torch.device("meta"))) is None
    assert [(xb.device.type, yb.device.type) for xb, yb in loader] == [("meta", "meta")] * 2
    assert len(list(loader)) == 2, "each iteration begins afresh"


def test_a_learner_brings_the_model_and_the_batches_to_its_device() -> None:
    class OnMeta(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def forward(self, xb: dict[str, Tensor]) -> Tensor:
            seen.append(xb["x"].device.type)
            return self.layer(xb["x"])

    seen: list[str] = []
    data = DataBunch[dict[str, Tensor], Tensor]([({"x": torch.ones(2, 1)}, torch.ones(2, 1))])
    recorder = Recorder()
    model = OnMeta()
    learn = Learner(model, data, nn.functional.mse_loss, partial(SGD, lr=0.1), cbs=[recorder], device="meta")
    assert learn.device == device_of(model) == torch.device("meta")
    learn.fit(1)
    assert seen == ["meta"]
    (begin,) = recorder.of("begin_batch")
    assert begin.xb["x"].device.type == begin.yb.device.type == "meta"
    assert begin.n_batches == 1


def test_a_learner_computes_where_its_model_is_when_no_device_is_given() -> None:
    assert learner().device == torch.device("cpu")
    on_meta = Learner(Weight().to("meta"), bunch(), total, partial(SGD, lr=0.1))
    assert on_meta.device == torch.device("meta")
    assert [pred.device.type for pred in on_meta.predict()] == ["meta", "meta"]
