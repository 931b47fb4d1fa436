"""What a trace says of a run as it begins: what it runs on, which callbacks it has, and their settings."""

from __future__ import annotations

import os
import platform
import time
from typing import Literal, Mapping, Sequence

import attrs
import torch
from torch import nn

from ..callback import SomeCallback, field_values
from ..cell import View
from ..dependencies import own_states
from ..dispatch import overrides
from ..hooks import HOOKS
from ..needs import HasModelAndOpt
from ..tree import dtype_name
from .looking import hypers, random_hashes
from .options import Options
from .records import FORMAT, CallbackInfo, Header, NamedValues, TensorValue, TextValue, Value
from .summaries import Summarizer


def header_of(
    kind: Literal["fit", "validation"],
    learn: HasModelAndOpt,
    callbacks: Sequence[SomeCallback],
    names: Mapping[int, str],
    options: Options,
    summarize: Summarizer,
) -> Header:
    """What a run begins with.

    Args:
        kind: What begins.
        learn: The model and the optimizer.
        callbacks: In the order in which they run.
        names: What they and their cells are called, by id.
        options: What is recorded.
        summarize: What makes values of settings.
    """
    model, opt = learn.model, learn.opt
    return Header(
        FORMAT,
        kind,
        time.time(),
        _versions(),
        _host(),
        {"torch": torch.initial_seed(), **random_hashes(sync=options.sync)},
        tuple(_info(callback, names, summarize) for callback in callbacks),
        {"class": type(model).__qualname__, "weights": _shapes(model)},
        {"class": type(opt).__qualname__, **hypers(opt, summarize)},
        {name: summarize(value) for name, value in _shown(options).items()},
    )


def _shown(options: Options) -> dict[str, object]:
    """Options by name; sets in an order."""
    shown: dict[str, object] = attrs.asdict(options, recurse=False)
    sets = {"events": options.events, "fields": options.fields, "watch": options.watch}
    return {**shown, **{name: tuple(sorted(words)) for name, words in sets.items()}}


def _info(callback: SomeCallback, names: Mapping[int, str], summarize: Summarizer) -> CallbackInfo:
    own = own_states(callback)
    settings = {name: value for name, value in field_values(callback).items() if name not in own}
    return CallbackInfo(
        names[id(callback)],
        type(callback).__module__,
        callback.order,
        callback.phases,
        tuple(name for name, spec in HOOKS.items() if overrides(callback, spec)),
        {name: _setting(value, names, summarize) for name, value in settings.items()},
        {name: state.reset for name, state in own.items()},
        tuple(name for name, state in own.items() if not state.saved),
    )


def _setting(value: object, names: Mapping[int, str], summarize: Summarizer) -> Value:
    if isinstance(value, View):
        return TextValue("View", names.get(id(value.source), ""))
    return summarize(value)


def _versions() -> dict[str, str]:
    from .. import __version__  # noqa: PLC0415  # the package has loaded this module

    return {"typedcb": __version__, "torch": str(torch.__version__), "python": platform.python_version()}


def _host() -> dict[str, Value]:
    return {
        "name": platform.node(),
        "machine": platform.machine(),
        "system": platform.system(),
        "threads": torch.get_num_threads(),
        "pid": os.getpid(),
    }


def _shapes(model: nn.Module) -> NamedValues:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    shapes: dict[str, Value] = {
        name: TensorValue(tuple(tensor.shape), dtype_name(tensor), str(tensor.device)) for name, tensor in tensors
    }
    return NamedValues("dict", len(shapes), shapes)
