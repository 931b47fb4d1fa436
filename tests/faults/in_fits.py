"""Faults in the data (C), the numbers (D), callbacks (E) and the process (F).

`fault.py` says how an entry is written.
"""

from __future__ import annotations

from typing import Final

from fault import Fault, Peers

_NO_CLEANUP: Final = "partly: no hook at the end"
_SWALLOWED: Final = "partly: raised; swallowed when anybody listens to exceptions"

RUNNING: Final = (
    Fault(
        "C1",
        "the loader raises in the middle of a pass, in this process or in a worker",
        "survived",
        "its own type, with epoch and batch in a note; `after_batch` and `after_fit` come; no worker process "
        "is left, though the error and its traceback are held",
        tests=(
            "tests/faults/test_failing_data.py::test_an_error_of_the_data_keeps_its_type_says_where_it_"
            "was_and_leaves_no_worker",
            "tests/test_data.py::test_an_error_of_the_loader_says_which_pass_it_was",
            "tests/test_data.py::test_an_error_of_the_loader_before_its_first_batch_says_so",
            "tests/test_learner.py::test_an_error_in_the_model_the_loss_or_the_loader_says_where_it_was",
        ),
        peers=Peers(
            "ok",
            _NO_CLEANUP,
            "wrong: swallowed when anybody listens to exceptions, and the fit counts as completed",
            _NO_CLEANUP,
            _NO_CLEANUP,
            "ok",
            _NO_CLEANUP,
        ),
    ),
    Fault(
        "C2",
        "a worker process of the loader dies",
        "survived",
        "the same; torch says which worker was killed, and by what",
        tests=(
            "tests/faults/test_failing_data.py::test_a_worker_that_is_killed_ends_the_fit_and_the_other_workers",
            "tests/faults/test_failing_data.py::test_an_error_in_a_hook_leaves_no_worker",
            "tests/faults/test_failing_data.py::test_a_cancelled_pass_and_a_break_leave_no_worker",
            "tests/faults/test_failing_data.py::test_workers_that_are_to_persist_do",
        ),
        peers=Peers(
            "ok",
            _NO_CLEANUP,
            _SWALLOWED,
            "partly: dies before any hook, since the data is peeked at",
            _NO_CLEANUP,
            "ok",
            _NO_CLEANUP,
        ),
    ),
    Fault(
        "C3",
        "a loader that gives no batch",
        "refused",
        "`BatchError`: at once where its length is known, else when the first batch is asked for",
        tests=(
            "tests/test_data.py::test_a_loader_that_is_known_to_be_empty_is_refused_at_once",
            "tests/test_data.py::test_a_stream_that_yields_nothing_is_refused_when_that_shows",
            "tests/test_data.py::test_an_empty_list_in_a_loop_of_ones_own_is_refused",
        ),
        peers=Peers(
            "wrong: a warning, and the fit succeeds",
            "partly: an error about `max_steps`",
            "ok",
            "partly: an error about a tensor that is None",
            "partly: an error about the sampler",
            "wrong: a warning, and the fit succeeds",
            "wrong: silent",
        ),
    ),
    Fault(
        "C4",
        "a generator that is exhausted when the second epoch begins",
        "refused",
        "`BatchError` when the `DataBunch` is made; of an object that only behaves so, when the second epoch begins",
        tests=(
            "tests/test_data.py::test_a_generator_is_refused_since_each_epoch_runs_through_it",
            "tests/test_data.py::test_a_loader_that_has_run_out_in_a_later_epoch_is_refused",
        ),
        peers=Peers(
            "wrong: two empty epochs, in silence",
            "wrong: a warning, and half of the steps",
            "wrong: a warning",
            "wrong: a warning; trains on the two batches that it peeked at in each later epoch",
            "wrong: silent",
            "wrong: silent",
            "partly: it has no length",
        ),
    ),
    Fault(
        "C5",
        "a batch that is no pair of inputs and targets",
        "refused",
        "`BatchError` with what came in its place, and how to put several inputs into a pair",
        tests=("tests/test_data.py::test_a_batch_that_is_no_pair_is_refused",),
    ),
    Fault(
        "C6",
        "a loader that is shorter or longer than its length says",
        "survived",
        "a `BatchWarning` with both numbers; batches and steps are counted as they come. A length that "
        "changes from epoch to epoch is read anew",
        tests=(
            "tests/faults/test_failing_data.py::test_a_loader_that_gives_another_number_of_batches_"
            "than_it_says_is_warned_of_and_counted_right",
            "tests/faults/test_failing_data.py::test_a_validation_loader_is_warned_of_too",
            "tests/faults/test_failing_data.py::test_a_loader_whose_length_changes_from_epoch_to_epoch_is_all_right",
            "tests/faults/test_failing_data.py::test_a_pass_that_is_left_early_is_no_wrong_length",
        ),
    ),
    Fault(
        "C7",
        "a loader without an end",
        "survived",
        "`StopAfterNBatches`, or a `CancelEpoch` of one's own, ends it; an endless iterator "
        "(`itertools.cycle`) is refused as any that runs only once. That an iterable never ends, nobody can "
        "tell beforehand",
        tests=(
            "tests/faults/test_failing_data.py::test_a_loader_without_an_end_is_trained_on_for_as_long_"
            "as_a_callback_says",
            "tests/test_data.py::test_a_generator_is_refused_since_each_epoch_runs_through_it",
        ),
    ),
    Fault(
        "C8",
        "the last batch is smaller, or a single sample before batch normalisation",
        "survived",
        "`AvgStats` weighs each batch by its samples; torch's error on a single sample in training comes with "
        "its place",
        tests=(
            "tests/faults/test_failing_data.py::test_a_single_sample_before_batch_normalisation_fails_"
            "as_torch_does_with_its_place",
            "tests/callbacks/test_stats.py::test_uneven_batches_give_the_means_of_the_original_course",
        ),
    ),
    Fault(
        "C9",
        "nan or infinity in the inputs",
        "survived",
        "`CheckFinite` names the tensor and the index, and refuses the batch or leaves it out. Not by "
        "default: each look waits for the device",
        tests=(
            "tests/faults/test_failing_data.py::test_nan_in_the_inputs_is_found_by_name_and_index_"
            "where_that_is_asked_for",
            "tests/callbacks/test_finite.py::test_an_input_is_named_with_its_index_before_the_model_sees_it",
            "tests/callbacks/test_finite.py::test_the_tensors_of_a_nest_are_named_by_their_keys_and_"
            "whole_numbers_are_passed_over",
        ),
    ),
    Fault(
        "C10",
        "a callback watches a figure of the validation, and there is no data for that",
        "refused",
        "`CallbackError` when it is attached to a learner: it names the figure, and what to do",
        tests=(
            "tests/faults/test_failing_data.py::test_what_watches_a_figure_of_the_validation_is_"
            "refused_where_there_is_no_data_for_one",
            "tests/faults/test_failing_data.py::test_in_a_loop_of_ones_own_there_may_be_a_validation_"
            "whoever_has_the_data",
        ),
    ),
    Fault(
        "D1",
        "the loss is nan or infinite",
        "refused",
        "`NonFiniteError` at the end of an epoch's training when its last loss is bad and weights are: before "
        "validation and before the epoch's checkpoint, so that the last good one is kept. It costs one look "
        "an epoch; a look at every batch waits for the device, and is a choice: `TerminateOnNaN` ends the "
        "fit, `CheckFinite` raises or leaves the batch out, each before the bad step",
        tests=(
            "tests/faults/test_failing_numbers.py::test_weights_that_are_spoiled_end_the_fit_with_the_epoch_s_training",
            "tests/faults/test_failing_numbers.py::test_the_last_good_checkpoint_is_kept",
            "tests/faults/test_failing_numbers.py::test_a_bad_loss_alone_is_no_reason_where_the_weights_are_sound",
            "tests/faults/test_failing_numbers.py::test_the_loss_is_looked_at_once_an_epoch",
            "tests/callbacks/test_limits.py::test_the_first_loss_that_is_no_number_ends_the_fit",
            "tests/callbacks/test_finite.py::test_a_loss_is_found_and_by_choice_its_batch_is_left_out",
        ),
        peers=Peers(*["wrong: trains on to the end"] * 7),
    ),
    Fault(
        "D2",
        "a gradient is nan, and the loss is not",
        "survived",
        "`CheckFinite` names the parameter, before the step and before clipping; by choice the batch is left "
        "out, and its gradients dropped",
        tests=(
            "tests/callbacks/test_finite.py::test_a_gradient_is_named_by_its_parameter_when_the_loss_is_sound",
            "tests/callbacks/test_finite.py::test_the_gradients_of_a_batch_that_is_left_out_are_dropped",
            "tests/callbacks/test_finite.py::test_gradients_that_are_large_and_sound_are_no_fault",
        ),
    ),
    Fault(
        "D3",
        "the loss is no scalar, or has no gradient",
        "refused",
        "`BatchError` in the first batch, with what the loss is, and what may have cut its graph",
        tests=(
            "tests/test_loop.py::test_a_loss_that_is_no_scalar_tensor_is_refused",
            "tests/test_loop.py::test_a_loss_without_a_graph_is_refused_with_what_may_be_the_reason",
            "tests/test_learner.py::test_a_loss_function_that_gives_no_scalar_tensor_is_refused",
        ),
        peers=Peers("ok", "ok", "ok", "-", "ok", "ok", "ok"),
    ),
    Fault(
        "D4",
        "the loss depends on no parameter",
        "refused",
        "`BatchError` where the loss has no graph at all: a frozen model, a detached prediction. A graph that "
        "ends in other parameters than the model's is not noticed",
        tests=(
            "tests/faults/test_failing_numbers.py::test_a_frozen_model_is_refused_with_what_may_be_the_reason",
            "tests/faults/test_failing_numbers.py::test_a_loss_of_what_has_been_detached_is_refused",
        ),
    ),
    Fault(
        "D5",
        "a metric raises, or is nan",
        "survived",
        "its error carries the metric's name and the place; nan is no better than any value, and the reason "
        "of a stop says that it was nan",
        tests=(
            "tests/faults/test_failing_numbers.py::test_an_error_of_a_metric_carries_its_name",
            "tests/faults/test_failing_numbers.py::test_a_metric_of_nan_is_no_better_than_any_other",
            "tests/callbacks/test_best.py::test_the_epoch_that_is_best",
        ),
    ),
    Fault(
        "D6",
        "half precision overflows, and the step is skipped",
        "survived",
        "`MixedPrecision` cancels the batch: `after_cancel_batch` says so, there is no `after_step`, and "
        "`event.step` counts real steps alone",
        tests=(
            "tests/callbacks/test_precision.py::test_a_batch_whose_gradients_overflow_is_cancelled_and_"
            "the_scale_falls_until_they_do_not",
            "tests/test_events.py::test_step_counts_the_batches_that_were_stepped_on_before",
        ),
    ),
    Fault(
        "E1",
        "an exception in any hook",
        "survived",
        "the very exception, with a note of callback, hook, epoch and batch; nobody behind it is told of that "
        "event; all are told of `after_fit`, with the error, in the order in which they run. The next fit is "
        "as good as any",
        tests=(
            "tests/faults/test_failing_callbacks.py::test_an_error_in_any_hook_ends_the_fit_in_order",
            "tests/faults/test_failing_callbacks.py::test_the_next_fit_after_an_error_in_any_hook_is_as_good_as_any",
            "tests/test_dispatch.py::test_an_error_in_a_hook_keeps_its_type_and_traceback_and_says_where_it_was",
        ),
        peers=Peers(
            "ok",
            _NO_CLEANUP,
            _SWALLOWED,
            _NO_CLEANUP,
            _NO_CLEANUP,
            "ok",
            _NO_CLEANUP,
        ),
    ),
    Fault(
        "E2",
        "an exception without arguments",
        "survived",
        "the same",
        tests=("tests/faults/test_failing_callbacks.py::test_an_error_in_any_hook_ends_the_fit_in_order",),
        peers=Peers("ok", "ok", "ok", "ok", "ok", "ok", "wrong: becomes an `IndexError`"),
    ),
    Fault(
        "E3",
        "a hook that cleans up raises as well",
        "survived",
        "all others clean up; both are raised together, as an `ExceptionGroup`, the first one first",
        tests=(
            "tests/faults/test_failing_callbacks.py::test_an_error_in_cleaning_up_comes_with_the_first_"
            "one_and_keeps_nobody_from_it",
            "tests/test_dispatch.py::test_several_errors_come_together_the_first_one_first",
            "tests/test_dispatch.py::test_one_callbacks_error_in_after_fit_keeps_no_other_from_its_own",
        ),
        peers=Peers(
            "wrong: the second error hides the first, and keeps others from cleaning up",
            "-",
            "wrong: the second error hides the first, and keeps others from cleaning up",
            "-",
            "-",
            "wrong: the second error hides the first, and keeps others from cleaning up",
            "-",
        ),
    ),
    Fault(
        "E4",
        "a misspelt hook",
        "refused",
        "`CallbackError` when the class is made: *did you mean after_batch?* With `@override`, every type "
        "checker reports it before",
        tests=(
            "tests/test_callback.py::test_a_misspelt_hook_is_refused_with_its_class_and_the_hook_that_was_meant",
            "tests/test_rules.py::test_a_hook_with_a_letter_dropped_or_doubled_is_refused_and_recognised",
        ),
        peers=Peers(
            "wrong: never called",
            "wrong: never called",
            "ok",
            "wrong: never called",
            "wrong: never called",
            "wrong: never called",
            "wrong: never called",
        ),
    ),
    Fault(
        "E5",
        "a hook of another signature",
        "refused",
        "`CallbackError` when the class is made, and an error of every type checker",
        tests=(
            "tests/test_callback.py::test_a_hook_of_wrong_arity_is_refused",
            "tests/test_rules.py::test_a_hook_that_cannot_be_called_with_one_event_is_refused",
        ),
        peers=Peers(
            "partly: at the first batch",
            "partly: an error about a keyword",
            "ok",
            "partly: at the first batch",
            "partly: at the first batch",
            "partly: at the first batch",
            "ok",
        ),
    ),
    Fault(
        "E6",
        "a hook answers something that is no answer",
        "refused",
        "`HookError` with callback, hook, what was answered and what is legal there; an error of every type "
        "checker before",
        tests=(
            "tests/test_hooks.py::test_what_other_systems_take_for_an_answer_is_refused",
            "tests/test_hooks.py::test_an_outcome_is_taken_where_it_is_legal_and_refused_elsewhere",
            "tests/test_hooks.py::test_the_class_of_an_outcome_is_no_outcome",
        ),
        peers=Peers(
            "wrong: ignored",
            "partly: crashes later, about an attribute",
            "wrong: ignored",
            "wrong: ignored",
            "wrong: ignored",
            "wrong: ignored",
            "wrong: ignored",
        ),
    ),
    Fault(
        "E7",
        "a hook changes the event that it was given",
        "refused",
        "events and callbacks are immutable; a hook answers `event.with_batch(...)` instead. A tensor in an "
        "event can still be changed in place: torch's own version counter refuses that where backward needs "
        "it",
        tests=(
            "tests/test_events.py::test_an_event_cannot_be_changed",
            "tests/test_callback.py::test_a_callback_cannot_be_changed",
            "tests/test_events.py::test_replacing_leaves_the_event_itself_as_it_was",
            "tests/faults/test_failing_callbacks.py::test_a_prediction_that_is_changed_in_place_is_"
            "noticed_where_its_gradient_needs_it",
        ),
    ),
    Fault(
        "E8",
        "callbacks are added or removed while a fit runs",
        "refused",
        "`LoopError`; callbacks for one fit are given to that fit",
        tests=(
            "tests/test_attach.py::test_callbacks_are_neither_added_nor_removed_during_a_fit",
            "tests/test_learner.py::test_callbacks_cannot_be_added_or_removed_during_a_fit",
        ),
        peers=Peers(
            "partly: works, and nobody says how",
            "partly: the next callback is left out",
            "partly: works, and nobody says how",
            "partly: works, and nobody says how",
            "partly: works, and nobody says how",
            "wrong: ignored in silence",
            "partly: works, and nobody says how",
        ),
    ),
    Fault(
        "E9",
        "one instance in two learners",
        "refused",
        "`CallbackError` while it is attached elsewhere, since its cells are its state; free again when it is "
        "removed there",
        tests=(
            "tests/test_attach.py::test_one_instance_belongs_to_one_learner_at_a_time",
            "tests/test_attach.py::test_an_instance_of_a_learner_that_is_gone_can_be_attached_again",
        ),
        peers=Peers("ok", "ok", "-", "ok", "ok", "ok", "ok"),
    ),
    Fault(
        "E10",
        "one instance twice in a learner",
        "refused",
        "`CallbackError`: each hook would run twice. Two instances of a class, also equal ones, are all right",
        tests=(
            "tests/test_attach.py::test_one_instance_is_attached_once",
            "tests/test_attach.py::test_equal_instances_may_both_be_attached",
        ),
    ),
    Fault(
        "E11",
        "callbacks that depend on each other in a circle, or on what is not there",
        "refused",
        "`DependencyError` when they are attached: it shows the circle, or names what is missing",
        tests=(
            "tests/test_attach.py::test_a_circle_is_refused_and_shown",
            "tests/test_attach.py::test_a_dependency_that_is_not_attached_is_refused_by_field_and_name",
        ),
    ),
    Fault(
        "E12",
        "`fit` inside of a hook",
        "refused",
        "`LoopError` before anything was touched; another learner may be fitted",
        tests=(
            "tests/faults/test_failing_callbacks.py::test_a_fit_that_is_refused_inside_of_another_has_touched_nothing",
            "tests/test_learner.py::test_a_fit_inside_of_a_fit_of_the_same_learner_is_refused",
            "tests/test_learner.py::test_another_learner_may_be_fitted_inside_of_a_fit",
        ),
        peers=Peers(
            "wrong: an assertion without a message, after the inner fit",
            "wrong: 19 of 32 batches, in silence",
            "ok",
            "wrong: trains twice, in silence",
            "wrong: begins the model anew, in silence",
            "wrong: 24 of 32 batches, in silence",
            "wrong: the outer fit dies of an attribute of None",
        ),
    ),
    Fault(
        "E13",
        "`fit` from two threads",
        "refused",
        "`LoopError` for all threads but one, and none leaves callbacks behind; two learners train in two "
        "threads as each would alone",
        tests=(
            "tests/faults/test_failing_callbacks.py::test_of_many_threads_that_fit_one_learner_one_does",
            "tests/faults/test_failing_callbacks.py::test_a_loop_of_ones_own_is_run_by_one_thread_at_a_time",
            "tests/faults/test_failing_callbacks.py::test_two_learners_train_in_two_threads_as_each_would_alone",
        ),
    ),
    Fault(
        "E14",
        "`fit` in another thread than the main one",
        "survived",
        "works; no signal handler is installed, since Python lets the main thread alone do that",
        tests=(
            "tests/faults/test_failing_callbacks.py::test_a_fit_in_another_thread_works_and_leaves_the_"
            "signal_handlers_alone",
        ),
        peers=Peers(*["ok"] * 7),
    ),
    Fault(
        "E15",
        "a hook saves the learner",
        "survived",
        "`learn.save` works in any hook: hooks run between the steps, so that weights and optimizer are of "
        "one moment. `learn.load` is refused until the fit is over",
        tests=("tests/faults/test_failing_callbacks.py::test_a_learner_may_be_saved_in_a_hook_and_not_loaded",),
    ),
    Fault(
        "E16",
        "a Cancel from any hook",
        "survived",
        "exactly the matching `after_cancel_...`, and what is open is ended; tested over random programs "
        "against a reference",
        tests=(
            "tests/test_grammar.py::test_a_learner_does_what_the_loop_by_hand_does",
            "tests/test_grammar.py::test_a_loop_of_ones_own_may_be_left_anywhere",
            "tests/test_hooks.py::test_a_cancel_may_be_raised_where_it_may_be_returned",
        ),
    ),
    Fault(
        "E17",
        "a Cancel from an `after_cancel_...`",
        "refused",
        "`HookError`, and no circle",
        tests=(
            "tests/faults/test_failing_callbacks.py::test_a_cancel_while_a_cancel_is_told_of_is_an_error_and_no_circle",
        ),
    ),
    Fault(
        "E18",
        "a callback that is slow, or hangs",
        "survived",
        "`Timer` counts it as computing, and `Profiler` shows it. There is no watchdog: Python's own "
        "`faulthandler.dump_traceback_later` shows where a process hangs, and Ctrl-C's note says in which "
        "hook",
        tests=("tests/faults/test_failing_callbacks.py::test_a_slow_callback_shows_in_the_time_of_the_batches",),
    ),
    Fault(
        "E19",
        "a callback keeps losses, and with them their graphs",
        "survived",
        "from `after_backward` on, losses and predictions are detached: a callback that keeps all its events "
        "keeps no graph",
        tests=(
            "tests/faults/test_failing_callbacks.py::test_a_callback_that_keeps_all_its_events_keeps_no_graph",
            "tests/faults/test_failing_callbacks.py::test_a_learner_that_is_dropped_is_freed_with_its_callbacks",
            "tests/test_events.py::test_up_to_the_loss_events_hold_the_graph_and_from_after_backward_on_they_do_not",
        ),
    ),
    Fault(
        "F1",
        "Ctrl-C in any phase",
        "survived",
        "`after_batch` and `after_fit` come, the `KeyboardInterrupt` goes on to the caller with its place, "
        "and no worker process is left; `Checkpoint` saves first where that is wanted",
        tests=(
            "tests/faults/test_failing_process.py::test_ctrl_c_anywhere_ends_the_fit_with_after_fit_"
            "and_goes_on_to_the_caller",
            "tests/faults/test_failing_process.py::test_ctrl_c_ends_the_process_and_its_traceback_says_where_it_was",
            "tests/faults/test_failing_process.py::"
            "test_an_interrupt_at_any_moment_ends_the_fit_in_order_and_another_may_follow",
            "tests/faults/test_failing_process.py::test_an_interrupt_where_no_grad_ends_leaves_gradients_enabled",
            "tests/faults/test_failing_process.py::test_ctrl_c_leaves_no_worker_behind",
            "tests/test_dispatch.py::test_ctrl_c_ends_the_fit_with_after_fit_and_propagates",
            "tests/checkpoint/test_writing.py::test_a_signal_ends_the_fit_after_a_last_checkpoint",
        ),
        peers=Peers(
            "partly: becomes `SystemExit(1)`",
            _NO_CLEANUP,
            _SWALLOWED,
            _NO_CLEANUP,
            "wrong: swallowed, and the fit looks as if it had ended",
            "partly: its hook for exceptions is not called",
            _NO_CLEANUP,
        ),
    ),
    Fault(
        "F2",
        "a second Ctrl-C while the first is cleaned up after",
        "survived",
        "obeyed at once: nobody else is told, and the `KeyboardInterrupt` comes as itself. Files are whole, "
        "as after SIGKILL",
        tests=(
            "tests/faults/test_failing_process.py::test_a_second_ctrl_c_is_obeyed_at_once",
            "tests/faults/test_failing_process.py::test_a_second_ctrl_c_in_after_batch_leaves_the_rest_"
            "of_the_cleaning_up_out",
            "tests/faults/test_failing_process.py::test_the_first_ctrl_c_in_cleaning_up_keeps_nobody_from_it",
        ),
    ),
    Fault(
        "F3",
        "SIGTERM",
        "survived",
        "ends the fit in order, as Ctrl-C does, by a `SystemExit` of 143; with `Checkpoint(at_end=True)` "
        "after the batch and a last checkpoint. A second one ends the process at once; the signal's meaning "
        "comes back with the end of the fit",
        tests=(
            "tests/faults/test_failing_process.py::test_sigterm_ends_a_fit_with_after_fit_and_the_process_with_143",
            "tests/faults/test_failing_process.py::test_a_second_sigterm_ends_the_process_at_once",
            "tests/faults/test_failing_process.py::test_the_meaning_of_sigterm_comes_back_with_the_end_of_the_fit",
            "tests/checkpoint/test_writing.py::test_a_signal_ends_the_fit_after_a_last_checkpoint",
            "tests/checkpoint/test_writing.py::test_a_signal_after_the_last_batch_is_not_lost",
        ),
        peers=Peers(
            "ok",
            "wrong: dies at once, but for a setting",
            *["wrong: dies at once"] * 5,
        ),
    ),
    Fault(
        "F4",
        "SIGTERM in the middle of a save",
        "survived",
        "with `at_end` it waits for the save; else the save is dropped, and older checkpoints are as they were",
        tests=(
            "tests/faults/test_failing_process.py::test_sigterm_in_the_middle_of_a_save_takes_effect_"
            "when_the_save_is_whole",
            "tests/faults/test_failing_process.py::test_sigterm_in_the_middle_of_a_save_leaves_no_half_"
            "of_one_where_nobody_waits_for_it",
        ),
    ),
    Fault(
        "F5",
        "the program has a handler of its own for the signal",
        "survived",
        "it stays, and is called: a fit hears SIGTERM itself only where the program has no handler. With "
        "`at_end`, the first signal is the fit's, and the program's handler gets a second one",
        tests=(
            "tests/faults/test_failing_process.py::test_a_handler_of_the_program_s_own_is_called_and_stays",
            "tests/faults/test_failing_process.py::test_the_meaning_of_sigterm_comes_back_with_the_end_of_the_fit",
            "tests/faults/test_failing_process.py::test_with_at_end_the_program_s_handler_gets_the_"
            "second_signal_and_comes_back",
        ),
    ),
    Fault(
        "F6",
        "forked processes, a loader's workers among them, inherit the handlers",
        "survived",
        "a fork is ended by signals as ever, and tells no callback",
        tests=(
            "tests/faults/test_failing_process.py::test_a_forked_process_is_ended_by_signals_as_ever",
            "tests/faults/test_failing_process.py::test_ctrl_c_leaves_no_worker_behind",
        ),
    ),
    Fault(
        "F7",
        "memory runs out in a batch",
        "survived",
        "the error as it is, with a note of the kinds and shapes of the batch; another fit may follow",
        tests=(
            "tests/faults/test_failing_process.py::test_memory_that_runs_out_is_told_with_the_shapes_of_the_batch",
            "tests/faults/test_failing_process.py::test_a_smaller_batch_may_be_tried_after_memory_ran_out",
        ),
    ),
    Fault(
        "F8",
        "another fit after one that failed",
        "survived",
        "runs all epochs that it is asked for, or goes on from a checkpoint; gradients that the other left are dropped",
        tests=(
            "tests/faults/test_failing_process.py::test_another_fit_runs_all_the_epochs_that_it_is_asked_for",
            "tests/test_learner.py::test_gradients_that_a_failed_fit_left_are_not_taken_by_the_next_one",
            "tests/test_loop.py::test_a_loop_can_be_used_again_after_an_error",
        ),
        peers=Peers("ok", "ok", "wrong: no batch, in silence", "ok", "ok", "ok", "ok"),
    ),
    Fault(
        "F9",
        "another fit after one that has ended",
        "survived",
        "runs all epochs that it is asked for",
        tests=(
            "tests/faults/test_failing_process.py::test_another_fit_runs_all_the_epochs_that_it_is_asked_for",
            "tests/callbacks/test_resets.py::test_it_begins_a_second_fit_as_it_began_the_first",
        ),
        peers=Peers("wrong: no batch, in silence", "ok", "ok", "ok", "ok", "wrong: no batch, in silence", "ok"),
    ),
    Fault(
        "F10",
        "one of several processes that train together fails",
        "survived",
        "with `TorchEngine` the others end too, by a `PeerError` with the first error's words and its place; one that "
        "is killed is named",
        tests=(
            "tests/engines/test_engines.py::test_an_error_of_one_rank_ends_the_others_with_its_name_and_place",
            "tests/engines/test_engines.py::test_a_rank_that_is_killed_ends_the_others_and_is_named",
        ),
    ),
    Fault(
        "F11",
        "the clock jumps, or a counter of steps overflows",
        "survived",
        "what is measured is measured by clocks that nobody sets; a counter is a Python int, which has no end",
        tests=(
            "tests/faults/test_failing_process.py::test_nothing_measures_by_a_clock_that_can_be_set",
            "tests/faults/test_failing_process.py::test_a_clock_that_is_set_back_in_a_fit_changes_no_figure",
            "tests/faults/test_failing_process.py::test_a_counter_of_steps_has_no_end",
        ),
    ),
    Fault(
        "F12",
        "the interpreter exits while a fit is under way",
        "survived",
        "`sys.exit` ends a fit as any exception does; a fit that is held, or waits in a thread, is dropped "
        "without a traceback: each line of a log is written with its epoch, and the terminal gets its cursor "
        "back",
        tests=(
            "tests/faults/test_failing_process.py::test_an_interpreter_that_exits_while_a_thread_fits_"
            "says_nothing_and_loses_no_line",
            "tests/faults/test_failing_process.py::test_an_interpreter_that_exits_in_the_middle_of_a_loop_says_nothing",
            "tests/faults/test_failing_process.py::test_a_fit_that_is_left_by_an_exit_is_ended",
            "tests/callbacks/test_progress.py::test_the_display_is_closed_when_the_interpreter_exits",
        ),
    ),
    Fault(
        "F13",
        "output that is no terminal, or that is closed or broken",
        "survived",
        "plain lines where there is no terminal; a `LogWarning`, once, and nothing more is shown where the "
        "stream is closed or broken",
        tests=(
            "tests/faults/test_failing_output.py::test_progress_that_can_no_longer_be_shown_turns_itself_off",
            "tests/faults/test_failing_output.py::test_a_real_pipe_that_nobody_reads_any_more_does_no_harm",
            "tests/callbacks/test_progress.py::test_without_a_terminal_each_epoch_is_one_plain_line",
        ),
    ),
    Fault(
        "F14",
        "what is logged cannot be written",
        "survived",
        'a `LogWarning`, once, and the fit goes on without the log; `on_error="raise"` ends it. A file that '
        "cannot be opened is an error before training",
        tests=(
            "tests/faults/test_failing_output.py::test_a_log_whose_disk_is_full_is_warned_of_once_or_"
            "ends_the_fit_by_choice",
            "tests/faults/test_failing_output.py::test_tensorboard_without_a_disk_is_warned_of_once_or_"
            "ends_the_fit_by_choice",
            "tests/faults/test_failing_output.py::test_tensorboard_on_a_disk_that_is_really_full_does_no_harm",
            "tests/callbacks/test_observers.py::test_a_missing_folder_of_the_csv_file_is_an_error_before_training",
        ),
    ),
)
