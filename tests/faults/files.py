"""Faults in writing (A) and in reading (B) checkpoints; `fault.py` says how an entry is written."""

from __future__ import annotations

from typing import Final

from fault import Fault, Peers

FILES: Final = (
    Fault(
        "A1",
        "SIGKILL at any moment of a save",
        "survived",
        "the newest complete one loads; what is half written has a temporary name, is no checkpoint, and goes with "
        "the next save",
        tests=(
            "tests/checkpoint/test_writing.py::test_whoever_is_killed_leaves_every_checkpoint_whole",
            "tests/checkpoint/test_writing.py::test_training_that_is_killed_comes_to_the_same_in_the_end",
            "tests/checkpoint/test_writing.py::test_leftovers_of_the_dead_are_removed_and_of_the_living_are_not",
        ),
        peers=Peers(
            "partly: whole where the temporary folder is on the same file system; cut short and the old one gone where "
            "it is not",
            "wrong: the half written folder counts as the last checkpoint, and resuming fails",
            "ok",
            "wrong: cut short, the old one gone",
            "wrong: new weights beside an old optimizer",
            "wrong: what was there is overwritten in place",
            "wrong: cut short, the old one gone",
        ),
    ),
    Fault(
        "A2",
        "the disk is full in the middle of a save",
        "survived",
        "`CheckpointWriteError` with the room that is needed and left; what is half written goes, what was there "
        'stays; `on_error="warn"` trains on',
        tests=(
            "tests/checkpoint/test_writing.py::test_a_full_disk_leaves_what_was_there_and_says_so",
            "tests/checkpoint/test_writing.py::test_an_error_in_writing_ends_the_fit_or_is_a_warning",
        ),
        peers=Peers(
            "wrong: an error, and the old file is destroyed",
            "partly: an error about a position in the file; half a folder is left, and counts as the last",
            "ok",
            "wrong: the old file is destroyed",
            "wrong: `fit` returns as if all were well, the files are empty",
            "-",
            "wrong: the old file is destroyed",
        ),
    ),
    Fault(
        "A3",
        "the folder for temporary files is on another file system",
        "survived",
        "it is never used: a checkpoint is written beside its place, and renamed",
        tests=(
            "tests/checkpoint/test_write_faults.py::test_the_folder_for_temporary_files_is_never_used",
            "tests/checkpoint/test_write_faults.py::test_everything_is_forced_to_the_disk_before_it_has_its_name",
        ),
    ),
    Fault(
        "A4",
        "the power goes after the rename",
        "survived",
        "each file and the folder are forced to the disk before the rename, and the folder above after it",
        tests=("tests/checkpoint/test_write_faults.py::test_everything_is_forced_to_the_disk_before_it_has_its_name",),
    ),
    Fault(
        "A5",
        "the folder cannot be written into, is a file, or has gone",
        "refused",
        "`CheckpointWriteError` as the fit begins; a folder that goes later is made again",
        tests=(
            "tests/checkpoint/test_writing.py::test_a_folder_that_cannot_be_written_is_refused_before_training",
            "tests/checkpoint/test_writing.py::test_a_folder_that_is_missing_is_made",
            "tests/checkpoint/test_write_faults.py::test_a_folder_that_vanishes_is_made_again",
        ),
    ),
    Fault(
        "A6",
        "two runs write into one folder",
        "refused",
        "the second is refused as it begins, with the process and the time of the first; the lock is the system's, "
        "and ends with its process",
        tests=(
            "tests/checkpoint/test_locks.py::test_a_second_process_is_refused_by_the_name_of_the_first_until_that_is_killed",
            "tests/checkpoint/test_locks.py::test_two_of_one_learner_are_refused_too",
            "tests/checkpoint/test_locks.py::test_a_child_that_outlives_its_parent_does_not_hold_the_folder",
        ),
    ),
    Fault(
        "A7",
        "the state holds an object that only pickle could write",
        "refused",
        "`StateError` at the save, with the place in the state: the callback and its cell, or the path",
        tests=(
            "tests/checkpoint/test_refused.py::test_what_no_checkpoint_can_hold_is_refused_when_it_is_saved",
            "tests/checkpoint/test_write_faults.py::test_what_only_pickle_could_write_is_refused_with_its_place",
        ),
    ),
    Fault(
        "A8",
        "an old checkpoint cannot be removed",
        "survived",
        "a warning; no old one is removed before the new one is forced to the disk, its files untouched since",
        tests=(
            "tests/checkpoint/test_write_faults.py::test_an_old_one_that_cannot_be_removed_is_a_warning",
            "tests/checkpoint/test_writing.py::test_nothing_is_removed_when_the_newest_has_been_touched",
        ),
    ),
    Fault(
        "A9",
        "a checkpoint is asked for while a step is half done",
        "survived",
        "it comes when the batch has ended; a batch that fails is never saved",
        tests=(
            "tests/checkpoint/test_write_faults.py::test_a_step_that_is_half_done_is_never_saved",
            "tests/checkpoint/test_writing.py::test_an_error_in_a_batch_is_never_gone_on_from",
        ),
    ),
    Fault(
        "A10",
        "the model changes while a thread writes it",
        "survived",
        "tensors are copied first; an error of the thread comes at the next event",
        tests=(
            "tests/checkpoint/test_write_faults.py::test_a_save_is_the_state_of_its_moment_whatever_becomes_of_the_model",
            "tests/checkpoint/test_writing.py::test_a_thread_writes_the_same",
            "tests/checkpoint/test_writing.py::test_an_error_in_writing_ends_the_fit_or_is_a_warning",
        ),
    ),
    Fault(
        "A11",
        "an exception or Ctrl-C inside a save",
        "survived",
        "it goes on to the caller, and nothing half written stays",
        tests=(
            "tests/checkpoint/test_write_faults.py::test_an_error_inside_a_save_goes_on_and_leaves_nothing_half_done",
        ),
    ),
    Fault(
        "B1",
        "a file that is cut short, empty or missing",
        "refused",
        "`CorruptCheckpointError` with the file and what is wrong; in a folder the newest sound one is gone on from, "
        "and the broken ones are named in a warning",
        tests=(
            "tests/checkpoint/test_refused.py::test_a_file_cut_short_anywhere_is_refused",
            "tests/checkpoint/test_refused.py::test_zeros_and_emptiness_are_refused",
            "tests/checkpoint/test_refused.py::test_the_newest_sound_one_is_gone_on_from_and_broken_ones_are_named",
        ),
        peers=Peers(
            "partly: `EOFError` without a message",
            "wrong: resumes in silence without `optimizer.pt`, `scheduler.pt` or `rng_state.pth`",
            "partly: `EOFError` without a message",
            "wrong: says that there is no such file",
            "partly: `EOFError` without a message",
            "partly: one error inside of another",
            "partly: `EOFError` without a message",
        ),
    ),
    Fault(
        "B2",
        "one bit is flipped",
        "refused",
        "`CorruptCheckpointError`: each file's checksum (BLAKE3) stands in the manifest, and that of the manifest too",
        tests=("tests/checkpoint/test_refused.py::test_a_single_flipped_bit_anywhere_is_refused",),
        peers=Peers(
            "wrong: loaded in silence",
            "wrong: loaded in silence",
            "wrong: loaded in silence",
            "ok",
            "wrong: loaded in silence",
            "partly: noticed where it hits a header",
            "wrong: loaded in silence",
        ),
    ),
    Fault(
        "B3",
        "a malicious pickle in any of the files",
        "refused",
        "nothing is ever unpickled, and no file is read but the three that a checkpoint has",
        tests=(
            "tests/checkpoint/test_refused.py::test_a_pickle_in_disguise_is_never_run",
            "tests/checkpoint/test_refused.py::test_a_torch_file_in_disguise_is_never_run",
            "tests/checkpoint/test_refused.py::test_nothing_that_loading_reaches_can_run_code",
            "tests/checkpoint/test_refused.py::test_the_interpreter_runs_no_code_while_hostile_files_are_read",
        ),
        peers=Peers(
            "ok by default; its code runs with `weights_only=False`",
            "ok",
            "ok",
            "ok",
            "ok; a pickled net runs code, as documented",
            "wrong: its code runs",
            "ok for weights; its code runs in `load_learner`",
        ),
    ),
    Fault(
        "B4",
        "`TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` is set",
        "survived",
        "it has no effect: `torch.load` is not used",
        tests=(
            "tests/checkpoint/test_refused.py::test_a_torch_file_in_disguise_is_never_run",
            "tests/checkpoint/test_refused.py::test_the_interpreter_runs_no_code_while_hostile_files_are_read",
        ),
    ),
    Fault(
        "B5",
        "the checkpoint of another model",
        "refused",
        "`MismatchError` with every tensor that differs, before any is read; the model is as it was",
        tests=("tests/checkpoint/test_refused.py::test_another_models_is_refused_before_anything_is_copied",),
        peers=Peers(
            "partly: an error, after some tensors were overwritten",
            "partly: an error, after some tensors were overwritten",
            "partly: an error, after some tensors were overwritten",
            "partly: an error, after some tensors were overwritten",
            "partly: an error, after some tensors were overwritten",
            "ok",
            "partly: an error, after some tensors were overwritten",
        ),
    ),
    Fault(
        "B6",
        "another optimizer, or other parameter groups",
        "refused",
        '`MismatchError`; `on_mismatch={"optimizer": "reset"}` begins its state anew',
        tests=(
            "tests/checkpoint/test_refused.py::test_another_optimizer_is_refused_unless_it_may_begin_anew",
            "tests/checkpoint/test_refused.py::test_other_parameter_groups_are_refused",
        ),
    ),
    Fault(
        "B7",
        "another scheduler, or another number of steps in all",
        "refused",
        "another callback is refused by name (B8, B9); how many epochs there are is a setting, which is the new run's",
        tests=(
            "tests/checkpoint/test_refused.py::test_a_callback_that_is_missing_or_new_is_refused_unless_it_may_begin_anew",
            "tests/checkpoint/test_others.py::test_other_settings_are_no_other_state",
        ),
    ),
    Fault(
        "B8",
        "a callback with saved state is not there any more",
        "refused",
        '`MismatchError` by name; `on_mismatch={"EarlyStopping": "reset"}` goes on without it',
        tests=(
            "tests/checkpoint/test_refused.py::test_a_callback_that_is_missing_or_new_is_refused_unless_it_may_begin_anew",
        ),
        peers=Peers("partly: a warning", "wrong: silent", "wrong: silent", "-", "-", "-", "-"),
    ),
    Fault(
        "B9",
        "a new callback has no saved state",
        "refused",
        "the same",
        tests=(
            "tests/checkpoint/test_refused.py::test_a_callback_that_is_missing_or_new_is_refused_unless_it_may_begin_anew",
        ),
    ),
    Fault(
        "B10",
        "a callback's settings have changed",
        "survived",
        "the new settings hold, the saved state goes on: settings are not saved, so that no difference is logged",
        tests=("tests/checkpoint/test_others.py::test_other_settings_are_no_other_state",),
        peers=Peers(
            "wrong: the old patience, in silence",
            "wrong: its state is lost; with the flag for it, the old settings are back",
            "ok",
            "wrong: its state is lost",
            "wrong: its state is lost",
            "-",
            "-",
        ),
    ),
    Fault(
        "B11",
        "a callback's class has another name, place or version",
        "refused",
        "a callback of another name is another callback, and one whose cells differ is refused by cell; there is no "
        "migration but `on_mismatch`",
        tests=(
            "tests/checkpoint/test_refused.py::test_a_callback_of_another_name_is_another_callback",
            "tests/checkpoint/test_refused.py::test_a_cell_of_another_type_or_name_is_refused",
        ),
    ),
    Fault(
        "B12",
        "two callbacks would be saved under one key",
        "refused",
        "it cannot be: the key is the class and its place among the instances of the class, and each keeps its own",
        tests=("tests/checkpoint/test_writing.py::test_two_instances_of_a_class_keep_their_own",),
    ),
    Fault(
        "B13",
        "written in a newer format",
        "refused",
        "`CheckpointError` with both versions",
        tests=("tests/checkpoint/test_refused.py::test_what_means_harm_is_refused",),
    ),
    Fault(
        "B14",
        "another batch size, number of samples, sampler or number of processes",
        "refused",
        '`MismatchError` by what differs; `on_mismatch={"data": "reset"}` goes on all the same. Another number of '
        "processes gives another number of batches",
        tests=(
            "tests/checkpoint/test_refused.py::test_other_data_is_refused",
            "tests/checkpoint/test_refused.py::test_data_that_cannot_be_the_same_is_refused_by_what_differs",
            "tests/checkpoint/test_loaders.py::test_another_generator_in_its_place_is_refused",
            "tests/checkpoint/test_loaders.py::test_another_number_of_living_workers_is_refused",
        ),
    ),
    Fault(
        "B15",
        "random states are missing, or of another kind of device",
        "refused",
        '`MismatchError`; `on_mismatch={"random": "reset"}` goes on with the states of the new process',
        tests=(
            "tests/checkpoint/test_at_rest.py::test_random_states_that_cannot_be_set_are_refused",
            "tests/checkpoint/test_refused.py::test_a_fit_without_a_part_of_it_is_refused",
        ),
    ),
    Fault(
        "B16",
        "links, `..`, a huge header, a huge shape in the folder",
        "refused",
        "`CorruptCheckpointError`: links are not followed, names are those of three files, sizes and depth have "
        "limits, shapes are compared before anything is read",
        tests=(
            "tests/checkpoint/test_refused.py::test_what_means_harm_is_refused",
            "tests/checkpoint/test_refused.py::test_a_checkpoint_that_is_a_link_is_refused",
        ),
    ),
    Fault(
        "B17",
        "resumed twice, or after the end",
        "survived",
        "twice is as good as once; after the end no batch is run, and the outcome is `Completed`",
        tests=(
            "tests/checkpoint/test_resume.py::test_a_fit_that_was_left_twice_is_the_same_too",
            "tests/checkpoint/test_resume.py::test_a_fit_that_is_over_runs_no_more",
        ),
    ),
    Fault(
        "B18",
        "saved on a GPU that this machine does not have",
        "survived",
        "tensors come to the device that the model is on; random states of the GPU are refused as in B15",
        tests=(
            "tests/checkpoint/test_at_rest.py::test_tensors_of_a_device_that_is_not_here_come_to_the_one_that_is",
            "tests/checkpoint/test_at_rest.py::test_random_states_that_cannot_be_set_are_refused",
        ),
    ),
)
