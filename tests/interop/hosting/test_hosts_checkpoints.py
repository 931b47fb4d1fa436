"""The cells go into a trainer's own checkpoint and come back: a fit that was interrupted ends as if it had not been."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from driving import Loader, driver
from driving_fastai import learner_of as learner_of_fastai
from driving_keras import loader_of
from driving_keras import model_of as model_of_keras
from driving_lightning import module_of, trainer_of
from driving_skorch import net_of
from driving_transformers import trainer_of as trainer_of_hf
from five import TASK, Five
from recording import At, raising
from torch import nn

from typedcb import AnyCallback, Cell, CorruptCheckpointError, LoopError, MismatchError, cell
from typedcb.callbacks import AvgStats, SmoothLoss, accuracy


class Oops(Exception):
    """What interrupts."""


def interrupting(hook: str, epoch: int, **where: Any) -> At:
    return At(hook, raising(Oops()), epoch=epoch, **where)


def straight(name: str) -> Five:
    """What the five measure in a fit that nothing interrupts."""
    host, five = driver(name), Five()
    host.fit(TASK, host.hosting(*five.hostable))
    return five


# --------------------------------------------------------------------------------------------------------- Lightning


class Resumable(Loader):
    """The training batches; it goes on where its state was taken, as Lightning wants it in the middle of an epoch."""

    def __init__(self) -> None:
        super().__init__(TASK.train)
        self.given = 0
        self.first = 0

    def __iter__(self) -> Any:
        self.given, self.first = self.first, 0
        for batch in self.batches[self.given :]:
            self.given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.first = state["given"] % len(self)


def fit_lightning(*callbacks: Any, ckpt: Any = None, n_epochs: int = TASK.n_epochs) -> nn.Module:
    from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: PLC0415

    saves = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)  # or Lightning adds one of its own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = module_of(TASK, [])
        trainer = trainer_of(n_epochs, *callbacks, enable_checkpointing=saves)
        trainer.fit(module, Resumable(), Loader(TASK.valid), ckpt_path=ckpt, weights_only=True)
    found: nn.Module = module
    return found


SAVING = {
    "after each epoch": ({"save_on_train_epoch_end": True}, interrupting("begin_epoch", 2)),
    "after each validation": ({"save_on_train_epoch_end": False}, interrupting("begin_epoch", 2)),
    "every 3 batches": ({"every_n_train_steps": 3}, interrupting("after_batch", 1, index=4, phase="train")),
}


@pytest.mark.parametrize("how", SAVING)
def test_lightning_takes_a_fit_up(how: str, tmp_path: Path) -> None:
    expected = straight("lightning").measured
    from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: PLC0415

    host, options, oops = driver("lightning"), *SAVING[how]
    oops = At(oops.hook, oops.act, oops.epoch, oops.index, oops.phase)
    saves = ModelCheckpoint(dirpath=tmp_path, save_top_k=-1, filename="{epoch}-{step}", **options)
    with pytest.raises(Oops):
        fit_lightning(host.hosting(*Five().hostable, oops), saves)

    path = max(tmp_path.iterdir(), key=lambda file: torch.load(file, weights_only=True)["global_step"])
    again = Five()
    fit_lightning(host.hosting(*again.hostable), ckpt=path)
    assert again.measured == expected


def test_lightning_names_the_callbacks_that_changed(tmp_path: Path) -> None:
    host = driver("lightning")
    from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: PLC0415

    fit_lightning(host.hosting(AvgStats(accuracy)), ModelCheckpoint(dirpath=tmp_path, filename="one"), n_epochs=1)
    with pytest.raises(MismatchError, match="SmoothLoss is attached now, and was not when it was saved"):
        fit_lightning(host.hosting(AvgStats(accuracy), SmoothLoss()), ckpt=tmp_path / "one.ckpt")
    reset = host.hosting(AvgStats(accuracy), SmoothLoss(), on_mismatch={"SmoothLoss": "reset"})
    fit_lightning(reset, ckpt=tmp_path / "one.ckpt")


# ------------------------------------------------------------------------------------------------------------ Ignite


def fit_ignite(hosting: Any, folder: Path, resume: Path | None = None, n_iterations: int | None = None) -> None:
    from ignite.engine import Events  # noqa: PLC0415
    from ignite.handlers import Checkpoint, DiskSaver  # noqa: PLC0415

    model = TASK.model()
    opt = TASK.opt(model.parameters())
    trainer = hosting.trainer(model, opt, TASK.loss)
    evaluator = hosting.evaluator()
    trainer.logger.disabled = evaluator.logger.disabled = True
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(Loader(TASK.valid)))
    everything = {"trainer": trainer, "model": model, "opt": opt, "callbacks": hosting}
    saver = Checkpoint(everything, DiskSaver(folder, require_empty=False), n_saved=None)
    when: Any = Events.EPOCH_COMPLETED if n_iterations is None else Events.ITERATION_COMPLETED(every=n_iterations)
    trainer.add_event_handler(when, saver)
    batches: Any = Loader(TASK.train)
    if resume is not None:
        Checkpoint.load_objects(everything, torch.load(resume, weights_only=True))
        if n_iterations is not None:  # Ignite leaves it to the loader to begin where the fit was left
            batches = Rotated(trainer.state.iteration % len(TASK.train))
    trainer.run(batches, max_epochs=TASK.n_epochs, epoch_length=len(TASK.train))


class Rotated:
    """The training batches, the first time from some place on."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Any:
        first, self.first = self.first, 0
        return iter(TASK.train[first:])


@pytest.mark.parametrize("n_iterations", [None, 7])
def test_ignite_takes_a_fit_up(n_iterations: int | None, tmp_path: Path) -> None:
    expected = straight("ignite").measured
    host = driver("ignite")
    oops = interrupting("begin_epoch", 2)
    with pytest.raises(Oops):
        fit_ignite(host.hosting(*Five().hostable, oops), tmp_path, n_iterations=n_iterations)

    [last] = [file for file in tmp_path.iterdir() if file.stem.endswith("_7" if n_iterations else "_10")]
    again = Five()
    fit_ignite(host.hosting(*again.hostable), tmp_path / "more", resume=last, n_iterations=n_iterations)
    assert again.measured == expected


# ------------------------------------------------------------------------------------------------------------ skorch


def test_skorch_takes_a_fit_up(tmp_path: Path) -> None:
    expected = straight("skorch").measured
    host = driver("skorch")
    from skorch.callbacks import Callback  # noqa: PLC0415

    files = {f"f_{name}": str(tmp_path / name) for name in ("params", "optimizer", "history")}
    first = host.hosting(*Five().hostable, interrupting("begin_epoch", 2))

    class Saves(Callback):
        def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
            net.save_params(**files)
            torch.save(first.state_dict(), tmp_path / "callbacks")

    with pytest.raises(Oops):
        net_of(TASK, first, Saves()).fit(torch.zeros(1), torch.zeros(1))

    again = Five()
    second = host.hosting(*again.hostable)
    net = net_of(TASK.count(n_epochs=1), second).initialize()
    net.load_params(**files)
    second.load_state_dict(torch.load(tmp_path / "callbacks", weights_only=True))
    net.partial_fit(torch.zeros(1), torch.zeros(1))
    assert again.measured == expected


def test_a_net_that_is_pickled_takes_the_cells_along() -> None:
    host = driver("skorch")
    hosting = host.hosting(SmoothLoss(), AvgStats())
    from skorch import NeuralNetRegressor  # noqa: PLC0415

    typed: Any = __import__("typedcb.interop.skorch", fromlist=["TypedNet"]).TypedNet
    global Net  # noqa: PLW0603  # pickle finds a class by its name alone
    Net = type("Net", (typed, NeuralNetRegressor), {"__module__": __name__, "__qualname__": "Net"})
    net: Any = Net(nn.Linear(2, 1), max_epochs=2, callbacks=[hosting], verbose=0, train_split=None)
    x, y = torch.ones(6, 2), torch.ones(6, 1)
    net.fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copy = pickle.loads(pickle.dumps(net))
    [theirs] = [callback for _, callback in copy.callbacks_ if type(callback) is type(hosting)]
    assert theirs.get(SmoothLoss) is not hosting.get(SmoothLoss)
    before = hosting.get(SmoothLoss).count.value
    assert before > 0
    copy.partial_fit(x, y)
    assert theirs.get(SmoothLoss).count.value == 2 * before
    assert hosting.get(SmoothLoss).count.value == before


Net: Any = None


# ------------------------------------------------------------------------------------------------------ Hugging Face


@pytest.mark.parametrize(
    ("saving", "oops", "n_steps"),
    [
        ({"save_strategy": "epoch"}, interrupting("begin_epoch", 2), 10),
        ({"save_strategy": "steps", "save_steps": 7}, interrupting("after_batch", 1, index=4, phase="train"), 7),
    ],
)
def test_a_trainer_of_hugging_face_takes_a_fit_up(saving: Any, oops: At, n_steps: int, tmp_path: Path) -> None:
    expected = straight("transformers").measured
    host = driver("transformers")
    oops = At(oops.hook, oops.act, oops.epoch, oops.index, oops.phase)
    first = trainer_of_hf(TASK, host.hosting(*Five().hostable, oops), output_dir=str(tmp_path), **saving)
    with pytest.raises(Oops):
        first.train()

    again = Five()
    second = trainer_of_hf(TASK, host.hosting(*again.hostable), output_dir=str(tmp_path), **saving)
    second.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{n_steps}"))
    assert again.measured == expected


def test_a_trainer_of_hugging_face_names_the_callbacks_that_changed(tmp_path: Path) -> None:
    host = driver("transformers")
    options: Any = {"output_dir": str(tmp_path), "save_strategy": "epoch"}
    trainer_of_hf(TASK.count(n_epochs=1), host.hosting(AvgStats(accuracy)), **options).train()
    with pytest.raises(MismatchError, match="SmoothLoss is attached now, and was not when it was saved"):
        trainer_of_hf(TASK, host.hosting(AvgStats(accuracy), SmoothLoss()), **options).train(True)
    (tmp_path / "checkpoint-5" / "typedcb.safetensors").write_bytes(b"no safetensors at all")
    with pytest.raises(CorruptCheckpointError, match=r"typedcb\.safetensors"):
        trainer_of_hf(TASK, host.hosting(AvgStats(accuracy)), **options).train(True)


# ------------------------------------------------------------------------------------------------------------ fastai


def load(learn: Any, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what numpy has to say of fastai
        learn.load(name)


def test_fastai_takes_a_fit_up(tmp_path: Path) -> None:
    expected = straight("fastai").measured
    host = driver("fastai")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what pandas has to say of fastai
        from fastai.callback.tracker import SaveModelCallback  # noqa: PLC0415

    saves = SaveModelCallback(every_epoch=True, with_opt=True, fname="m")
    hosting = host.hosting(*Five().hostable, interrupting("begin_epoch", 2))
    with pytest.raises(Oops):
        learner_of_fastai(TASK, hosting, saves, path=tmp_path).fit(TASK.n_epochs)

    again = Five()
    learn = learner_of_fastai(TASK, host.hosting(*again.hostable), path=tmp_path)
    load(learn, "m_1")
    learn.fit(TASK.n_epochs, start_epoch=2)
    assert again.measured == expected

    afresh = Five()
    learn = learner_of_fastai(TASK, host.hosting(*afresh.hostable), path=tmp_path)
    load(learn, "m_1")
    learn.fit(1)
    assert len(afresh.rows.kept) == 1, "a fit that begins anew begins with what its cells begin with"


# ------------------------------------------------------------------------------------------------------------- Keras


def keras_fit(net: Any, *callbacks: Any, **options: Any) -> None:
    net.fit(
        loader_of(TASK.train), epochs=TASK.n_epochs, verbose=0, shuffle=False, validation_data=loader_of(TASK.valid),
        callbacks=list(callbacks), **options,
    )  # fmt: skip


def keras_net(*, mixin: bool = True) -> Any:
    net = model_of_keras(driver("keras").task(TASK), [], mixin=mixin)
    net.optimizer.build(net.trainable_variables)
    return net


def keras_callbacks() -> Any:
    driver("keras")
    import keras  # noqa: PLC0415

    return keras.callbacks


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # what numpy has to say of Keras
@pytest.mark.parametrize("first", ["it", "typed callbacks"])
def test_a_fit_that_keras_backs_up_and_restores_is_taken_up(first: str, tmp_path: Path) -> None:
    expected, again = Five(), Five()
    backup, host = keras_callbacks().BackupAndRestore, driver("keras")
    keras_fit(keras_net(), host.hosting(*expected.hostable))

    def callbacks(five: Five, *others: Any) -> list[Any]:
        both = [backup(str(tmp_path / "backup")), host.hosting(*five.hostable, *others)]
        return both if first == "it" else both[::-1]

    with pytest.raises(Oops):
        keras_fit(keras_net(), *callbacks(Five(), interrupting("begin_epoch", 2)))
    keras_fit(keras_net(), *callbacks(again))
    assert again.measured == expected.measured
    assert not (tmp_path / "backup").exists(), "Keras deletes it after a whole fit"


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # what numpy has to say of Keras
def test_a_file_of_weights_that_keras_writes_has_the_cells(tmp_path: Path) -> None:
    expected, again, plain = Five(), Five(), keras_net(mixin=False)
    keeps, host = keras_callbacks().ModelCheckpoint, driver("keras")
    keras_fit(keras_net(), host.hosting(*expected.hostable))
    saves = keeps(str(tmp_path / "{epoch}.weights.h5"), save_weights_only=True)
    within = keeps(str(tmp_path / "within.weights.h5"), save_weights_only=True, save_freq=7)
    with pytest.raises(Oops):
        keras_fit(keras_net(), saves, within, host.hosting(*Five().hostable, interrupting("begin_epoch", 2)))

    net = keras_net()
    net.load_weights(tmp_path / "2.weights.h5")
    with pytest.raises(LoopError, match=r"2 epochs had ended.* begins with epoch 1: .*initial_epoch=2"):
        keras_fit(net, host.hosting(*Five().hostable), initial_epoch=1)
    net.load_weights(tmp_path / "within.weights.h5")
    with pytest.raises(LoopError, match=r"in the middle of epoch 1.*hear of batches twice"):
        keras_fit(net, host.hosting(*Five().hostable), initial_epoch=1)

    net.load_weights(tmp_path / "2.weights.h5")
    keras_fit(net, host.hosting(*again.hostable), initial_epoch=2)
    assert again.measured == expected.measured

    net.load_weights(tmp_path / "2.weights.h5")
    afresh = Five()
    keras_fit(net, host.hosting(*afresh.hostable))
    assert len(afresh.rows.kept) == TASK.n_epochs, "a fit that begins anew begins with what its cells begin with"
    plain.load_weights(tmp_path / "2.weights.h5")  # a model without typed callbacks reads it too


def keras_layers(kind: str) -> Any:
    """A model of Keras's own layers, all of which Keras can write; its class is what loading it needs."""
    driver("keras")
    import keras  # noqa: PLC0415

    typed: Any = __import__("typedcb.interop.keras", fromlist=["TypedModel"]).TypedModel
    keras.utils.set_random_seed(3)
    # With names of Keras's own, dense_10 would stand before dense_9 in parameters(), and a norm be summed otherwise.
    inner, outer = keras.layers.Dense(8, activation="relu", name="inner"), keras.layers.Dense(3, name="outer")
    layers = [keras.layers.Input((4,)), inner, outer]
    if kind == "sequential":
        net = type("Net", (typed, keras.Sequential), {})(layers)
    else:
        net = type("Net", (typed, keras.Model), {})(layers[0], layers[2](layers[1](layers[0])))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss=loss)
    return net


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # what numpy has to say of Keras
@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_a_whole_model_that_keras_saves_and_loads_brings_the_cells_back(kind: str, tmp_path: Path) -> None:
    expected, again, host = Five(), Five(), driver("keras")
    whole, first = keras_layers(kind), keras_layers(kind)
    keras_fit(whole, host.hosting(*expected.hostable))
    saves = keras_callbacks().ModelCheckpoint(str(tmp_path / "{epoch}.keras"))
    with pytest.raises(Oops):
        keras_fit(first, saves, host.hosting(*Five().hostable, interrupting("begin_epoch", 2)))

    import keras  # noqa: PLC0415

    other = keras.saving.load_model(tmp_path / "2.keras", custom_objects={"Net": type(first)})
    keras_fit(other, host.hosting(*again.hostable), initial_epoch=2)
    assert again.measured == expected.measured
    assert [weight.tolist() for weight in other.parameters()] == [weight.tolist() for weight in whole.parameters()]

    other.save(tmp_path / "ended.keras")
    ended = keras.saving.load_model(tmp_path / "ended.keras", custom_objects={"Net": type(first)})
    with pytest.raises(LoopError, match=r"3 epochs had ended.* begins with epoch 2"):
        keras_fit(ended, host.hosting(*Five().hostable), initial_epoch=2)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # what numpy has to say of Keras
def test_a_backup_that_would_not_be_exact_is_refused(tmp_path: Path) -> None:
    backup, host = keras_callbacks().BackupAndRestore, driver("keras")
    often = backup(str(tmp_path / "often"), save_freq=3)
    with pytest.raises(LoopError, match=r"BackupAndRestore\(save_freq=3\) saves in the middle of an epoch"):
        keras_fit(keras_net(), often, host.hosting(SmoothLoss()))

    stops = keras_callbacks().LambdaCallback(on_epoch_begin=lambda epoch, logs: _raise_at(epoch))
    with pytest.raises(Oops):
        keras_fit(keras_net(), backup(str(tmp_path / "bare")), stops)
    with pytest.raises(LoopError, match=r"goes on with epoch 2, and its file has no cells for SmoothLoss: it was writ"):
        keras_fit(keras_net(), backup(str(tmp_path / "bare")), host.hosting(SmoothLoss()))
    with pytest.raises(LoopError, match=r"no cells for EpochCounter: without TypedModel"):
        keras_fit(keras_net(mixin=False), backup(str(tmp_path / "bare")), host.hosting(EpochCounter()))


def _raise_at(epoch: int) -> None:
    if epoch == 2:
        raise Oops


@dataclass(frozen=True)
class EpochCounter(AnyCallback):
    n: Cell[int] = cell(0)

    def after_epoch(self, event: object, /) -> None:
        self.n.value += 1
