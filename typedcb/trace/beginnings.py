"""What is different about two runs before their first event: versions, machines, seeds, callbacks and settings."""

from __future__ import annotations

from typing import Iterator, Mapping

from .records import Header, TextValue, Value
from .words import shown


def beginnings(a: Header, b: Header) -> Iterator[str]:
    """What is different about two runs from the beginning.

    Args:
        a: What one of them began with.
        b: What the other did.
    """
    for what, one, other in (
        ("version of", a.versions, b.versions),
        ("host's", a.host, b.host),
        ("seed", a.seeds, b.seeds),
    ):
        for name in sorted({*one, *other} - {"pid"}):
            if one.get(name) != other.get(name):
                yield f"the {what} {name}: {shown(one.get(name))} and {shown(other.get(name))}"
    mine, yours = [info.name for info in a.callbacks], [info.name for info in b.callbacks]
    if mine != yours:
        yield f"the callbacks: {', '.join(mine)} and {', '.join(yours)}"
    settings = {info.name: info.settings for info in b.callbacks}
    for info in a.callbacks:
        yield from _settings(info.name, info.settings, settings.get(info.name, info.settings))
    yield from _settings("model", a.model, b.model)
    yield from _settings("optimizer", a.optimizer, b.optimizer)


def _settings(owner: str, one: Mapping[str, Value], other: Mapping[str, Value]) -> Iterator[str]:
    for name in sorted({*one, *other}):
        if one.get(name) != other.get(name) and not (_is_learner(one.get(name)) and _is_learner(other.get(name))):
            what = f"{owner}.{name.removeprefix('hypers:')}"
            yield f"{what}: {shown(one.get(name))} and {shown(other.get(name))}"


def _is_learner(value: Value) -> bool:
    """Whether a setting is the learner: what is different about it is told of by itself."""
    return isinstance(value, TextValue) and value.kind == "Learner"
