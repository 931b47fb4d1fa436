"""Each of the sixty mistakes, made with typedcb: none is silent.

What type checkers, the plugin and `typedcb check` report stands in `cases/`. Here are those that are refused when a
class is made or attached, and those that cannot happen: a test shows that the loop does what was meant.
"""

from __future__ import annotations

import shutil
import types
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, ClassVar, Mapping

import pytest
import torch
from checkers import CHECKERS, ROOT, Place, Project, complaints, name_of
from evidence import CASES, MARKS, evidence_of
from further import FURTHER
from mistake import CAUGHT
from recording import stable
from sixty import DOCUMENT, MISTAKES, document
from tiny import Weight, bunch, learner, total
from torch import Tensor, nn
from torch.optim import SGD

from typedcb import (
    AnyCallback,
    CallbackError,
    CancelBatch,
    CancelEpoch,
    CancelTrain,
    Cell,
    DataBunch,
    Failed,
    HookError,
    Learner,
    Series,
    cell,
    series,
)
from typedcb.callbacks import AvgStats, EarlyStopping, GradientAccumulation, Recorder, SmoothLoss
from typedcb.check import check_paths
from typedcb.codes import chosen

# -------------------------------------------------------------------------- what checkers, the plugin and check report


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("project").resolve()
    for name in ("mypy.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    for folder in ("typedcb", "stubs"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in CASES:
        shutil.copy(file, root / file.name)
    return Project(root, {file.name: file for file in CASES})


@pytest.mark.parametrize("checker", CHECKERS)
def test_type_checkers_report_the_marked_lines_and_no_others(checker: str, project: Project) -> None:
    found = complaints(checker, project)
    expected = {place for mark in MARKS.values() for place in mark.errors}
    wrong = [f"{place}: not reported" for place in sorted(expected - found.keys())]
    allowed = {place for mark in MARKS.values() for place in mark.some}
    wrong += [f"{place}: {found[place]}" for place in sorted(found.keys() - expected - allowed)]
    assert not wrong, "\n".join(wrong)


def test_check_reports_the_marked_codes_and_no_others() -> None:
    found = {
        (Place(name_of(found.path), found.finding.line), found.finding.code)
        for found in check_paths(CASES, chosen(["all"]))
    }
    assert found == {mark for those in MARKS.values() for mark in those.codes}


# ------------------------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.id)
def test_each_mistake_has_its_evidence(mistake: Any) -> None:
    assert evidence_of(mistake, globals())


def test_there_are_sixty_and_few_need_more_than_types() -> None:
    assert len({mistake.id for mistake in MISTAKES}) == len(MISTAKES) == 60
    assert sum(mistake.caught in ("checkers", "design") for mistake in MISTAKES) >= 50
    assert {mistake.caught for mistake in MISTAKES} == set(CAUGHT)
    assert MARKS.keys() <= {mistake.id for mistake in (*MISTAKES, *FURTHER)}


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run python tests/mistakes/sixty.py"


# ------------------------------------------------------------------------------------- refused when a class is made


@pytest.mark.parametrize(
    ("name", "meant"), [("after_epochs", "after_epoch"), ("before_fit", "begin_fit"), ("on_epoch_end", "after_epoch")]
)
def test_pl_01_fa_01_co_01_a_hook_of_another_name_is_refused(name: str, meant: str) -> None:
    with pytest.raises(CallbackError, match=rf"C\.{name} is no hook; did you mean {meant}\?"):
        types.new_class("C", (AnyCallback,), exec_body=lambda body: body.update({name: lambda self, event: None}))


def test_fa_12_run_after_is_refused() -> None:
    with pytest.raises(CallbackError, match=r"C\.run_after is a setting of another framework's.*a field"):

        class C(AnyCallback):
            run_after = SmoothLoss


def test_fa_12_a_field_of_that_name_is_a_dependency() -> None:
    @dataclass(frozen=True)
    class C(AnyCallback):
        run_after: SmoothLoss

    smooth = SmoothLoss()
    assert [type(callback).__name__ for callback in learner(C(smooth), smooth).cbs] == ["SmoothLoss", "C"]


def test_any_01_a_mutable_class_attribute_is_refused() -> None:
    with pytest.raises(CallbackError, match=r"History\.losses is a list that all instances share.*series\(\)"):

        class History(AnyCallback):
            losses = [0.0]  # noqa: RUF012


@pytest.mark.parametrize(
    ("annotation", "default", "words"),
    [
        (list[float], None, "is a list, which no reset"),
        ("list[float]", None, "is a list, which no reset"),
        ("Optional[typing.Dict[str, int]]", None, "is a dict, which no reset"),
        ("set[int] | None", None, "is a set, which no reset"),
        (Cell[list[int]], None, "is a cell with a list"),
        ("Cell[dict[str, int]]", None, "is a cell with a dict"),
        ("Cell[Optional[dict[str, int]]]", cell(None), "is a cell with a dict, .* Declare it as a Mapping"),
        ("Cell[Optional[list[int]]]", cell(None), r"is a cell with a list, .* or write series\(\) where it grows"),
        ("Cell[list[int]]", cell([0]), "is a cell with a list, whose initial value would change with it"),
        (Any, field(default_factory=list), "is a list, which no reset"),
        (Any, field(default_factory=dict[str, int]), "is a dict, which no reset"),
        ("list[float]", [], "is a list that all instances share"),
        ("ClassVar[dict[str, int]]", {}, "is a dict that all instances share"),
    ],
    ids=stable,
)
def test_any_01_so_is_a_mutable_field(annotation: Any, default: Any, words: str) -> None:
    body = {"__annotations__": {"x": annotation}, **({} if default is None else {"x": default})}
    with pytest.raises(CallbackError, match=rf"C\.x {words}"):
        types.new_class("C", (AnyCallback,), exec_body=lambda namespace: namespace.update(body))


def test_any_01_what_cannot_be_changed_or_is_meant_is_no_mutable_field() -> None:
    @dataclass(frozen=True)
    class C(AnyCallback):
        best: Cell[Mapping[str, int] | None] = cell(None)
        names: tuple[str, ...] = ()
        labels: ClassVar[Mapping[str, int]] = {"cat": 0}
        table: Annotated[dict[str, int], "the caller's own"] = field(default_factory=dict)
        history: Series[float] = series()
        count: Cell[tuple[int, ...]] = cell(())

    C()


# --------------------------------------------------------------------------------------------- refused when attached


def test_pl_13_one_instance_in_two_learners_is_refused() -> None:
    stats = AvgStats[Any, Any]()
    first = learner(stats)
    with pytest.raises(CallbackError, match="this AvgStats is attached to another loop or learner"):
        learner(stats)
    first.remove(stats)
    learner(stats)


def test_pl_13_each_fit_begins_anew() -> None:
    stats = AvgStats[Any, Any]()
    stop = EarlyStopping(stats.valid_loss, mode="max", patience=2)
    learn = learner(stats, stop, lr=0.0)
    for _ in range(2):
        learn.fit(5)
        assert stop.wait.value == 2, "the first epoch is the best, and two more follow"


def test_hf_18_attached_twice_is_refused() -> None:
    stats = AvgStats[Any, Any]()
    with pytest.raises(CallbackError, match="attached to this loop twice: each of its hooks would run twice"):
        learner(stats, stats)
    learn = learner(stats)
    with pytest.raises(CallbackError, match="twice"):
        learn.fit(1, cbs=[stats])


# ------------------------------------------------------------------------------------------------------ cannot happen


@dataclass(frozen=True)
class Writes(AnyCallback):
    """Writes down what it is told."""

    told: Series[str] = series()

    def begin_fit(self, event: Any) -> None:
        self.told.append("begin_fit")

    def begin_epoch(self, event: Any) -> None:
        self.told.append("begin_epoch")

    def begin_batch(self, event: Any) -> None:
        self.told.append(event.phase)

    def after_epoch(self, event: Any) -> None:
        self.told.append("after_epoch")

    def after_fit(self, event: Any) -> None:
        self.told.append(type(event.outcome).__name__)


def test_pl_05_nothing_is_validated_before_the_first_epoch_has_trained() -> None:
    writes = Writes()
    learner(writes).fit(1)
    assert writes.told.value == (
        "begin_fit", "begin_epoch", "train", "train", "valid", "valid", "after_epoch", "Completed",
    )  # fmt: skip


def test_hf_07_gradients_are_there_after_the_step() -> None:
    model = Weight()

    @dataclass(frozen=True)
    class Norm(AnyCallback):
        norms: Series[float] = series()

        def after_step(self, event: Any) -> None:
            assert model.w.grad is not None
            self.norms.append(float(model.w.grad.norm()))

    norm = Norm()
    Learner(model, bunch(2, 0), total, partial(SGD, lr=1.0), cbs=[norm]).fit(1)
    assert norm.norms.value == (1.0, 2.0), "the inputs"
    assert model.w.grad is None


@pytest.mark.parametrize("reader_first", [True, False])
def test_ig_03_ke_07_what_is_read_runs_first(reader_first: bool) -> None:
    @dataclass(frozen=True)
    class Reads(AnyCallback):
        loss: Cell[float]
        read: Series[float] = series()

        def after_epoch(self, event: Any) -> None:
            self.read.append(self.loss.value)

    stats = AvgStats[Any, Any]()
    reads = Reads(stats.train_loss)
    learner(*((reads, stats) if reader_first else (stats, reads)), n_valid=0, lr=0.0).fit(1)
    assert reads.read.value == (1.5,)


def test_ke_07_the_writer_of_a_figure_runs_before_its_readers() -> None:
    test_ig_03_ke_07_what_is_read_runs_first(True)


def test_pl_25_any_name_is_free() -> None:
    @dataclass(frozen=True)
    class C(AnyCallback):
        log: Series[float] = series()
        model: str = "mine"
        trainer: str = "mine"

        def after_epoch(self, event: Any) -> None:
            self.log.append(1.0)

    mine = C()
    learner(mine).fit(2)
    assert (mine.log.value, mine.model, mine.trainer) == ((1.0, 1.0), "mine", "mine")


def test_hf_13_a_fit_that_is_cancelled_as_it_begins_trains_nothing() -> None:
    @dataclass(frozen=True)
    class Stops(AnyCallback):
        def begin_fit(self, event: Any) -> Any:
            return CancelTrain("bad settings")

    writes = Writes()
    learner(writes, Stops()).fit(3)
    assert writes.told.value == ("begin_fit", "Cancelled")


def test_f1_04_no_batch_follows_a_cancelled_epoch() -> None:
    @dataclass(frozen=True)
    class Stops(AnyCallback):
        def after_batch(self, event: Any) -> Any:
            return CancelEpoch() if event.reached.index == 1 and event.reached.phase == "train" else None

    writes = Writes()
    learner(writes, Stops(), n_train=5, n_valid=1).fit(1)
    assert writes.told.value.count("train") == 2


def test_ig_07_training_and_validation_have_figures_of_their_own() -> None:
    stats = AvgStats[Any, Any]()
    stop = EarlyStopping(stats.valid_loss, mode="min")
    data = DataBunch([(torch.ones(1), torch.ones(1))], [(torch.full((1,), 5.0), torch.ones(1))])
    Learner(Weight(), data, total, partial(SGD, lr=0.0), cbs=[stats, stop]).fit(1)
    assert (stats.train_loss.value, stats.valid_loss.value, stop.best.value) == (1.0, 5.0, 5.0)


@pytest.mark.parametrize(("reset", "best"), [("never", 7.0), ("fit", 3.0)])
def test_sk_05_a_best_value_outlives_a_fit_when_it_is_declared_to(reset: Any, best: float) -> None:
    @dataclass(frozen=True)
    class Best(AnyCallback):
        best: Cell[float] = cell(3.0, reset=reset)

    keeps = Best()
    keeps.best.value = 7.0
    learner(keeps).fit(1)
    assert keeps.best.value == best


def test_pl_17_a_short_last_batch_weighs_less() -> None:
    stats = AvgStats[Any, Any]()
    data = DataBunch([(torch.zeros(3), torch.ones(3)), (torch.full((1,), 4.0), torch.ones(1))])
    Learner(Weight(), data, nn.MSELoss(), partial(SGD, lr=0.0), cbs=[stats]).fit(1)
    assert stats.train_loss.value == (3 * 1.0 + 1 * 9.0) / 4, "and not (1 + 9) / 2"


def test_ke_09_the_loss_is_this_batchs_own() -> None:
    learn = learner(n_train=3, n_valid=0, lr=0.0)
    recorder = learn.add(Recorder)
    learn.fit(1)
    assert recorder.losses.value == (1.0, 2.0, 3.0)


def test_pl_24_steps_are_batches_that_were_stepped_on() -> None:
    @dataclass(frozen=True)
    class Steps(AnyCallback):
        steps: Series[int] = series()

        def after_step(self, event: Any) -> None:
            self.steps.append(event.step)

    steps = Steps()
    learner(steps, n_train=3).fit(2)
    assert steps.steps.value == (0, 1, 2, 3, 4, 5)


def test_fa_16_gradients_are_accumulated_over_batches() -> None:
    @dataclass(frozen=True)
    class Steps(AnyCallback):
        count: Cell[int] = cell(0)

        def after_step(self, event: Any) -> None:
            self.count.value += 1

    steps = Steps()
    data = DataBunch([(torch.ones(16), torch.ones(16))] * 8)
    learn = Learner(Weight(), data, total, partial(SGD, lr=0.0), cbs=[steps])
    learn.add(GradientAccumulation, n=4)
    learn.fit(1)
    assert steps.count.value == 2


def test_pl_30_a_fit_runs_where_it_is_called() -> None:
    writes = Writes()
    learner(writes).fit(1)
    assert len(writes.told) > 0


@pytest.mark.parametrize("error", [ValueError("bad batch"), KeyboardInterrupt()], ids=repr)
def test_hf_20_ig_11_tt_03_a_fit_ends_with_after_fit_and_its_error(error: BaseException) -> None:
    @dataclass(frozen=True)
    class Breaks(AnyCallback):
        def after_loss(self, event: Any) -> None:
            raise error

    @dataclass(frozen=True)
    class Closes(AnyCallback):
        closed: Annotated[list[BaseException], "what after_fit was told"] = field(default_factory=list)

        def after_fit(self, event: Any) -> None:
            assert isinstance(event.outcome, Failed)
            self.closed.append(event.outcome.error)

    closes = Closes()
    with pytest.raises(type(error)) as raised:
        learner(Breaks(), closes).fit(1)
    assert closes.closed == [raised.value] == [error]


test_ig_11_a_hook_cannot_swallow_an_error = test_hf_20_ig_11_tt_03_a_fit_ends_with_after_fit_and_its_error
test_tt_03_after_fit_is_told_of_ctrl_c = test_hf_20_ig_11_tt_03_a_fit_ends_with_after_fit_and_its_error


# ------------------------------------------------------------------- what is reported before is no less loud when run


def test_fa_11_a_cancel_where_nothing_is_under_way_is_an_error() -> None:
    @dataclass(frozen=True)
    class C(AnyCallback):
        def after_batch(self, event: Any) -> None:
            raise CancelBatch("too far")

    with pytest.raises(HookError, match=r"C\.after_batch raised CancelBatch; legal there is None or CancelEpoch\(\)"):
        learner(C()).fit(1)


def test_fa_03_a_cancelled_batch_leaves_no_loss() -> None:
    @dataclass(frozen=True)
    class Skips(AnyCallback):
        def begin_batch(self, event: Any) -> Any:
            return CancelBatch()

    learn = learner(Skips())
    recorder = learn.add(Recorder)
    learn.fit(2)
    assert recorder.losses.value == ()


def test_fa_07_a_callback_is_frozen() -> None:
    @dataclass(frozen=True)
    class C(AnyCallback):
        def begin_fit(self, event: Any) -> None:
            self.generator = 3

    with pytest.raises(AttributeError, match="cannot assign to field 'generator'"):
        learner(C()).fit(1)


def test_v3_05_callbacks_of_a_generator_are_detached() -> None:
    learn = learner()
    generated: Any = (Writes() for _ in range(2))
    learn.fit(1, cbs=generated)
    assert learn.cbs == ()


def test_pl_28_from_after_backward_on_nothing_holds_a_graph() -> None:
    @dataclass(frozen=True)
    class Keeps(AnyCallback):
        kept: Series[Tensor] = series()

        def after_backward(self, event: Any) -> None:
            self.kept.append(event.loss)

    keeps = Keeps()
    learner(keeps).fit(1)
    assert not any(loss.requires_grad for loss in keeps.kept)
