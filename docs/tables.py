"""Writes the tables that say what the package says: python docs/tables.py.

What a hook is given and may answer comes from the package; what that does, and what stood there before, from here.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Callable, Final, Iterator, Mapping

from typedcb import events
from typedcb.answers import legal_answers
from typedcb.check import CODES
from typedcb.hooks import HOOKS, HookSpec

HERE: Final = Path(__file__).resolve().parent

_END_OF_FIT: Final = "`CancelTrain`: the fit ends"
_IN_BATCH: Final = "the three Cancels as in `begin_batch`"

EFFECTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "begin_fit": (
        f"{_END_OF_FIT} before its first epoch",
        "`return`: nothing is trained, and `after_fit` is not called",
        "`on_train_begin`",
    ),
    "begin_epoch": (
        f"`CancelEpoch`: the whole epoch is left out, with its validation and `after_epoch`; {_END_OF_FIT}",
        "`continue`: on to the next epoch",
        "`on_epoch_begin`",
    ),
    "begin_batch": (
        "an event: the model sees that batch; `CancelBatch`: on to the next batch; `CancelEpoch`: the pass over the "
        f"data ends, validation and `after_epoch` still come; {_END_OF_FIT}, without validation and `after_epoch`",
        "`return` from `one_batch`: on to the next batch",
        "`on_batch_begin`: `last_input`, `last_target` replace the batch",
    ),
    "after_pred": (
        f"an event: the loss is computed of that prediction; {_IN_BATCH}",
        "no such hook",
        "`on_loss_begin`: `last_output` replaces the prediction",
    ),
    "after_loss": (
        f"an event: backward runs on that loss; `SkipBackward`: no backward, no step; {_IN_BATCH}",
        "`return` from `one_batch`: no backward, no step",
        "`on_backward_begin`: `last_loss` replaces the loss; `skip_bwd` leaves backward out, and still steps",
    ),
    "after_backward": (
        "`SkipStep`: no step, and the gradients stay, so that the next batch adds to them; `CancelBatch`: no step, "
        "and the gradients are dropped; the other Cancels drop them too",
        "`opt.step()` is left out, and the gradients are zeroed all the same",
        "`on_backward_end`: `skip_step`; the gradients are zeroed all the same",
    ),
    "after_step": (
        f"`SkipZeroGrad`: the gradients are not zeroed; {_IN_BATCH}",
        "`opt.zero_grad()` is left out",
        "`on_step_end`: `skip_zero`",
    ),
    "after_cancel_batch": ("nothing to answer: it tells who asked, and why", "no such hook", "none"),
    "after_batch": (
        f"`CancelEpoch`: the pass ends; {_END_OF_FIT}",
        "no such hook; `learn.stop = True` ends the pass",
        "`on_batch_end`: `stop_epoch`, `stop_training`",
    ),
    "after_cancel_epoch": ("nothing to answer", "no such hook", "none"),
    "begin_validate": (
        f"`SkipValidate`: no validation this time, `after_epoch` comes; {_END_OF_FIT}",
        "the validation is left out",
        "the flag `skip_validate`, which then holds for the rest of the fit",
    ),
    "after_validate": (f"{_END_OF_FIT}, without `after_epoch`", "no such hook", "none"),
    "after_epoch": (_END_OF_FIT, "`break`: the fit ends", "`on_epoch_end`: `stop_training`"),
    "after_cancel_train": ("nothing to answer", "no such hook", "none"),
    "after_fit": ("nothing to answer: the fit is over", "nothing", "`on_train_end`, which is given `exception`"),
}


def new_fields(spec: HookSpec) -> list[str]:
    """The fields of a hook's event that the event before it in the batch did not have."""
    fields: tuple[str, ...] = getattr(spec.event, "__struct_fields__", ())
    before: tuple[str, ...] = getattr(spec.event.__base__, "__struct_fields__", ())
    return [name for name in fields if name not in before]


def answers(spec: HookSpec) -> list[str]:
    """What a hook may answer besides None."""
    found = [f"event.{spec.replace}(...)"] if spec.replace else []
    found += [spec.skip.__name__] if spec.skip else []
    return found + [kind.__name__ for kind in spec.cancels]


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _given() -> Iterator[str]:
    yield "| hook | is given | with the new fields | may answer, besides `None` |"
    yield "| --- | --- | --- | --- |"
    for spec in HOOKS.values():
        event = f"[`{spec.event.__name__}`](api/events.md#{spec.event.__module__}.{spec.event.__name__})"
        yield f"| `{spec.name}` | {event} | {_code(new_fields(spec)) or 'none'} | {_code(answers(spec)) or 'nothing'} |"


def _effects() -> Iterator[str]:
    yield "| hook | what the answer does | what `False` did in notebook 04 | fastai v1 |"
    yield "| --- | --- | --- | --- |"
    for name in HOOKS:
        yield f"| `{name}` | {' | '.join(EFFECTS[name])} |"


def _drawing() -> Iterator[str]:
    """The drawing of a fit in the docstring of the events."""
    told = (events.__doc__ or "").partition("happens inside:")[2].partition("A batch's events")[0]
    yield "```text"
    yield textwrap.dedent(told).strip("\n ")
    yield "```"


def _codes() -> Iterator[str]:
    yield "| code | what it is about |"
    yield "| --- | --- |"
    for code in CODES.values():
        yield f"| `{code.name}` | {code.summary}{'' if code.default else ' (only when asked for)'} |"


_MEASURED: Final = HERE.parent / "tests" / "interop" / "hosting" / "measured.json"
"""What the tests have measured of other trainers: by trainer and hook, the answers that it honours."""

TITLES: Final[Mapping[str, str]] = {
    "lightning": "[Lightning](hosts/lightning.md)",
    "ignite": "[Ignite](hosts/ignite.md)",
    "skorch": "[skorch](hosts/skorch.md)",
    "transformers": "[Hugging Face](hosts/transformers.md)",
    "fastai": "[fastai](hosts/fastai.md)",
    "keras": "[Keras](hosts/keras.md)",
    "ignite_engine": "Ignite, own step function",
    "transformers_own_loss": "Hugging Face, the model's own loss",
    "transformers_callback": "Hugging Face, without the mixin",
    "keras_callback": "Keras, without the mixin",
}


def _hosts() -> Iterator[str]:
    """What other trainers do for typed callbacks."""
    measured: dict[str, dict[str, dict[str, list[str]]]] = json.loads(_MEASURED.read_text())
    yield f"| hook | {' | '.join(TITLES[name] for name in measured)} |"
    yield f"| --- |{' --- |' * len(measured)}"
    for spec in HOOKS.values():
        yield f"| `{spec.name}` | {' | '.join(_honoured(spec, one['hooks']) for one in measured.values())} |"


def _honoured(spec: HookSpec, hooks: Mapping[str, list[str]]) -> str:
    if spec.name not in hooks:
        return "\N{EN DASH}"
    legal = sorted(one.__name__ for one in legal_answers(spec))
    return "all" if hooks[spec.name] == legal else _code(hooks[spec.name]) or "`None`"


TABLES: Final[Mapping[str, Mapping[str, Callable[[], Iterator[str]]]]] = {
    "why-hooks-answer-differently.md": {"drawing": _drawing, "given": _given, "effects": _effects},
    "check.md": {"codes": _codes},
    "hosts.md": {"hosts": _hosts},
}
"""The tables of each page, by the mark that stands before them."""


def written(name: str) -> str:
    """A page with its tables as they should be."""
    page = (HERE / name).read_text()
    for mark, lines in TABLES[name].items():
        begin, end = f"<!-- table: {mark} -->\n", "\n<!-- end -->"
        before, begun, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not begun or not ended:
            raise ValueError(f"{name} has to have a line {begin.strip()}, and one {end.strip()} further on.")
        page = "".join([before, begin, "\n", "\n".join(lines()), "\n", end, after])
    return page


if __name__ == "__main__":
    for page_name in TABLES:
        (HERE / page_name).write_text(written(page_name))
