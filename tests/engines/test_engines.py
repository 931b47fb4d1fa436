"""Fits over several processes, for real: gloo, on this machine."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sharded_callbacks
from launching import HERE, environment, free_port, launch, said

from typedcb import EngineError, MismatchError
from typedcb.callbacks import EMA
from typedcb.engines import TorchEngine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[str, Any]]:
    return said(launch(2, "several", folder))


@pytest.fixture(scope="module")
def one(folder: Path, two: Any) -> dict[str, Any]:
    return said(launch(1, "several", folder))[0]


@pytest.fixture(scope="module")
def four(folder: Path, one: Any) -> list[dict[str, Any]]:
    return said(launch(4, "several", folder))


FIGURES = ("row", "train", "smooth", "validate", "lists", "weights")


def flat(found: dict[str, Any]) -> list[float]:
    values: list[Any] = [found[name] for name in FIGURES]
    return [float(value) for part in values for value in (part if isinstance(part, list) else [part])]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_and_four_processes_give_the_figures_of_one_on_uneven_batches(
    strategy: str, one: dict[str, Any], two: list[dict[str, Any]], four: list[dict[str, Any]]
) -> None:
    alone = flat(one[strategy])
    for rank in (*two, *four):
        assert flat(rank[strategy]) == pytest.approx(alone, rel=2e-4, abs=1e-5)


def test_all_ranks_have_the_same_figures_to_the_bit(two: list[dict[str, Any]], four: list[dict[str, Any]]) -> None:
    for ranks in (two, four):
        for strategy in ("ddp", "fsdp"):
            assert all(flat(rank[strategy]) == flat(ranks[0][strategy]) for rank in ranks)


def test_gradients_of_uneven_batches_accumulate_to_those_of_one_process(
    one: dict[str, Any], two: list[dict[str, Any]], four: list[dict[str, Any]]
) -> None:
    for ranks in (two, four):
        for rank in ranks:
            for found, alone in zip(rank["accumulated"], one["accumulated"], strict=True):
                assert found == pytest.approx(alone, rel=2e-4, abs=1e-5)
            assert rank["accumulated"] == ranks[0]["accumulated"]


def test_sharded_parameters_are_sharded(two: list[dict[str, Any]], four: list[dict[str, Any]]) -> None:
    assert [rank["fsdp"]["shapes"][0] for rank in two] == [[4, 6], [4, 6]]
    assert [rank["fsdp"]["shapes"][0] for rank in four] == [[2, 6]] * 4
    assert sum(rank["fsdp"]["shapes"][2][0] for rank in four) == 3  # three rows among four ranks
    assert all(rank["fsdp"]["sharded"] and not rank["ddp"]["sharded"] for rank in (*two, *four))


def test_files_are_written_once(folder: Path, two: Any, four: Any, one: Any) -> None:
    with (folder / "log.csv").open() as file:
        assert [line[0] for line in csv.reader(file)] == ["epoch", "0", "1"]


@pytest.mark.parametrize("case", ["batch", "epoch", "train", "raised", "backward", "step", "validate"])
def test_what_one_rank_decides_all_do(case: str, two: list[dict[str, Any]]) -> None:
    first, second = (rank["decisions"][case] for rank in two)
    assert first["weights"] == second["weights"]
    assert first["ended"] == second["ended"]
    assert first["ended"] == ("enough (asked for by rank 1 of 2)" if case == "train" else "completed")
    counts = [{hook: rank["heard"].count(hook) for hook in set(first["heard"])} for rank in (first, second)]
    assert counts[0] == counts[1]


def test_decisions_have_their_effect(two: list[dict[str, Any]]) -> None:
    heard = {name: found["heard"] for name, found in two[0]["decisions"].items() if name != "stopping"}
    # 2 epochs of 6 training and 5 validation batches; the second batch of each pass is the one that is decided on
    assert heard["batch"].count("after_loss") == 2 * (5 + 4)
    assert heard["epoch"].count("begin_batch") == 2 * (2 + 2)
    assert heard["train"].count("begin_batch") == 2
    assert heard["backward"].count("after_backward") == 2 * 5
    assert heard["validate"].count("begin_batch") == 2 * 6


def test_early_stopping_stops_all_ranks_in_the_same_epoch(two: list[dict[str, Any]]) -> None:
    assert two[0]["decisions"]["stopping"] == two[1]["decisions"]["stopping"]
    assert "no improvement" in two[0]["decisions"]["stopping"]


def test_a_callback_of_the_main_rank_runs_there_alone_and_decides_for_all(two: list[dict[str, Any]]) -> None:
    assert [rank["main"]["asked"] for rank in two] == [[0, 1], []]
    assert all("main" in rank["main"]["outcome"] for rank in two)


def test_a_callback_looks_at_a_batch_on_one_rank_alone_and_changes_nothing(two: list[dict[str, Any]]) -> None:
    assert [rank["peeking"]["sizes"] for rank in two] == [[], [4] * 12 + [4] * 10]
    for rank in two:
        without, with_it = rank["peeking"]["weights"]
        assert without == with_it


def test_a_trace_is_written_once_and_leaves_shards_alone(two: list[dict[str, Any]]) -> None:
    for rank in two:
        assert rank["traced"] == 2 * [{"ended": "Completed", "steps": 6}]


def test_all_callbacks_hear_of_the_end_of_a_batch_and_the_farthest_cancel_counts(two: list[dict[str, Any]]) -> None:
    for rank in two:
        assert rank["end of batch"]["heard"] == [2, 2]
        assert "much" in rank["end of batch"]["outcome"]


def test_objectives_on_several_ranks_come_to_the_figures_of_one(
    one: dict[str, Any], two: list[dict[str, Any]], four: list[dict[str, Any]]
) -> None:
    alone = one["objectives"]["whole"]
    for ranks in (two, four):
        for rank in ranks:
            found = rank["objectives"]["whole"]
            assert found["weights"] == pytest.approx(alone["weights"], rel=2e-4, abs=1e-5)
            assert found["smooth"] == pytest.approx(alone["smooth"], rel=1e-4)
            assert found["weights"] == ranks[0]["objectives"]["whole"]["weights"]


def test_what_one_rank_decides_in_a_turn_all_do(
    one: dict[str, Any], two: list[dict[str, Any]], four: list[dict[str, Any]]
) -> None:
    alone = one["objectives"]["whole"]
    assert alone["heard"].count("loss") == 12
    assert alone["heard"].count("backward") == 10  # a turn was cancelled in each epoch
    assert alone["steps"] == [8, 6]  # and a step skipped; the other objective sums two batches up
    for rank in (*two, *four):
        found = rank["objectives"]["whole"]
        assert (found["heard"], found["steps"]) == (alone["heard"], alone["steps"])


def test_objectives_of_several_ranks_are_taken_up_bit_for_bit(two: list[dict[str, Any]]) -> None:
    for rank in two:
        found = rank["objectives"]
        assert found["again"]["weights"] == found["whole"]["weights"]
        assert found["again"]["steps"] == found["whole"]["steps"]
    assert "step-00000010" in two[0]["objectives"]["names"]


def same(found: dict[str, Any], alone: dict[str, Any], rel: float = 2e-4, tiny: float = 1e-5) -> bool:
    """Whether objectives have come to the same."""
    numbers = all(
        found[name] == pytest.approx(alone[name], rel=rel, abs=tiny) for name in ("weights", "smooth", "means")
    )
    return numbers and (found["heard"], found["steps"]) == (alone["heard"], alone["steps"])


def test_objectives_in_shards_come_to_the_figures_of_one_process_without_an_engine(
    one: dict[str, Any], two: list[dict[str, Any]], four: list[dict[str, Any]]
) -> None:
    alone = one["sharded objectives"]["no engine"]
    assert alone["steps"] == [8, 6] and not alone["sharded"]
    for ranks in ([one], two, four):
        for rank in ranks:
            found = rank["sharded objectives"]["whole"]
            assert found["sharded"]
            assert same(found, alone)
            assert found["weights"] == ranks[0]["sharded objectives"]["whole"]["weights"]


def test_objectives_in_shards_are_taken_up_bit_for_bit_by_as_many_ranks_and_to_rounding_by_others(
    one: dict[str, Any], two: list[dict[str, Any]], four: list[dict[str, Any]]
) -> None:
    whole = two[0]["sharded objectives"]["whole"]
    for rank in two:
        assert rank["sharded objectives"]["again"]["weights"] == whole["weights"]
    for rank in (one, *two, *four):
        assert same(rank["sharded objectives"]["again"], whole)


def test_objectives_in_shards_are_loaded_by_any_number_of_ranks_and_without_an_engine(
    one: dict[str, Any], two: list[dict[str, Any]], four: list[dict[str, Any]]
) -> None:
    saved = two[0]["sharded objectives"]["loaded"]
    assert saved != [two[0]["sharded objectives"]["whole"]["weights"]]
    assert one["sharded objectives"]["loaded"] == 2 * saved
    assert all(rank["sharded objectives"]["loaded"] == saved for rank in (*two, *four))


def test_an_error_in_a_turn_of_sharded_objectives_ends_the_others() -> None:
    healthy, failed = launch(2, "turns", "fsdp", "raises")
    assert failed.code == healthy.code == 1
    assert "ValueError: bad luck" in failed.out
    assert "PeerError: rank 1 failed in Trouble.after_loss" in healthy.out
    assert "in the turn of critic" in healthy.out


@pytest.fixture(scope="module")
def without_shards() -> dict[str, list[float]]:
    return sharded_callbacks.callbacks(None)


@pytest.mark.parametrize("case", sharded_callbacks.CASES)
def test_callbacks_come_to_the_same_over_shards_as_in_one_process_without_an_engine(
    case: str, without_shards: dict[str, list[float]], two: list[dict[str, Any]]
) -> None:
    for rank in two:
        assert rank["callbacks"][case] == pytest.approx(without_shards[case], rel=0, abs=1e-6)


def test_an_average_over_shards_is_that_of_one_process_and_taken_up_by_any_number(
    one: dict[str, Any], two: list[dict[str, Any]], four: list[dict[str, Any]]
) -> None:
    alone = sharded_callbacks.average(None)
    for rank in (one, *two, *four):
        assert len(rank["averages"]) >= 3
        for found in rank["averages"].values():
            assert found == pytest.approx(alone, rel=0, abs=1e-6)
    for rank in two:
        assert rank["averages"]["again from 2"] == rank["averages"]["whole"]


def test_an_epoch_that_two_processes_began_does_not_go_on_with_batches_of_another_size(folder: Path, two: Any) -> None:
    learn = sharded_callbacks.learner(None, sharded_callbacks.SGD, batch_size=9)
    learn.add(EMA, decay=0.8)
    with pytest.raises(MismatchError, match="batch_size of the train loader was 10, and is 9"):
        learn.fit(2, resume=folder / "averages" / "2" / "step-00000004")


@pytest.mark.parametrize("strategy", ["saving", "sharded"])
def test_a_fit_is_taken_up_bit_for_bit_by_as_many_ranks(strategy: str, two: list[dict[str, Any]]) -> None:
    for rank in two:
        assert rank[strategy]["again"] == rank[strategy]["whole"]


def test_shards_of_two_are_read_by_one_and_by_four(
    one: dict[str, Any], two: list[dict[str, Any]], four: list[dict[str, Any]]
) -> None:
    for rank in (one, *four):
        assert rank["loaded"]["weights"] == two[0]["loaded"]["weights"]
        assert rank["loaded"]["moment"] == two[0]["loaded"]["moment"]


def test_a_hostile_pickle_in_a_sharded_checkpoint_is_not_opened(
    folder: Path, one: dict[str, Any], four: list[dict[str, Any]]
) -> None:
    assert (folder / "fsdp" / "step-00000012" / ".metadata").exists()
    assert not (folder / "pwned").exists()
    assert all(rank["loaded"]["seen"] == [] for rank in (one, *four))


def test_an_error_of_one_rank_ends_the_others_with_its_name_and_place() -> None:
    begun = time.monotonic()
    healthy, failed = launch(2, "failing", "raises", seconds=60)
    assert time.monotonic() - begun < 60
    assert failed.code == healthy.code == 1
    assert "ValueError: bad luck" in failed.out
    assert (
        "PeerError: rank 1 failed in Trouble.after_loss, epoch 0, batch 3, train: ValueError: bad luck" in healthy.out
    )


def test_a_rank_that_is_killed_ends_the_others_and_is_named() -> None:
    healthy, killed = launch(2, "failing", "killed", seconds=60)
    assert killed.code == -9
    assert healthy.code == 1
    assert "PeerError: rank 1 ended without a word" in healthy.out


def test_without_anybody_saying_which_process_it_is_there_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(EngineError, match="torchrun --nproc-per-node"):
        TorchEngine()


@pytest.fixture(scope="module")
def accelerated() -> list[dict[str, Any]]:
    return said(launch(2, "accelerated"))


def test_accelerate_that_shards_nothing_is_refused(accelerated: list[dict[str, Any]]) -> None:
    for rank in accelerated:
        assert "FSDP was asked for (ACCELERATE_USE_FSDP is set), and accelerate does MULTI_CPU" in rank["fsdp"]


def test_two_processes_of_accelerate_give_the_figures_of_one(
    one: dict[str, Any], accelerated: list[dict[str, Any]]
) -> None:
    for rank in accelerated:
        assert rank["no"]["weights"] == pytest.approx(one["ddp"]["weights"], rel=2e-4, abs=1e-5)
        assert rank["no"]["row"] == pytest.approx(one["ddp"]["row"][:3], rel=2e-4)


def test_two_processes_of_accelerate_compute_in_the_precision_that_it_was_asked_for(
    one: dict[str, Any], accelerated: list[dict[str, Any]]
) -> None:
    for rank in accelerated:
        assert rank["no"]["inside"] == ["torch.float32"]
        assert rank["bf16"]["inside"] == ["torch.bfloat16"]
        assert rank["bf16"]["weights"] == accelerated[0]["bf16"]["weights"]
        assert rank["bf16"]["weights"] == pytest.approx(one["ddp"]["weights"], rel=0.05, abs=0.05)


def test_objectives_of_two_processes_of_accelerate_come_to_the_figures_of_one(
    one: dict[str, Any], accelerated: list[dict[str, Any]]
) -> None:
    for rank in accelerated:
        assert same(rank["no objectives"], one["objectives"]["whole"])
        assert rank["no objectives"]["weights"] == accelerated[0]["no objectives"]["weights"]
        assert rank["no objectives"]["inside"] == ["torch.float32"]


def test_objectives_of_accelerate_compute_in_the_precision_that_it_was_asked_for(
    one: dict[str, Any], accelerated: list[dict[str, Any]]
) -> None:
    for rank in accelerated:
        assert rank["bf16 objectives"]["inside"] == ["torch.bfloat16"]
        assert rank["bf16 objectives"]["weights"] == accelerated[0]["bf16 objectives"]["weights"]
        assert rank["bf16 objectives"]["weights"] != one["objectives"]["whole"]["weights"]
        assert same(rank["bf16 objectives"], one["objectives"]["whole"], rel=0.05, tiny=0.05)


def test_accelerate_that_starts_one_process_instead_of_two_is_refused() -> None:
    launcher = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, str(HERE / "programs.py"), "launched"],
        env={name: value for name, value in environment(0, 1, free_port()).items() if "RANK" not in name},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert "EngineError: 2 processes were asked for, and accelerate runs 1" in done.stderr
