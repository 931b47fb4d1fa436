"""What there is to say of callbacks that run together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Optional

import attrs
import msgspec

from ..events import Phase
from ..showing import html_of

if TYPE_CHECKING:
    from rich.console import RenderableType


@attrs.frozen
class Need:
    """Something that a callback depends on, and that therefore runs before it."""

    field: str
    """The field that it is in."""

    callback: str
    """The callback that runs before."""

    what: Literal["callback", "cell"]
    """Whether the field holds the callback, or a cell of it."""


@attrs.frozen
class ExplainedHook:
    """A hook that a callback has."""

    name: str
    """Its name."""

    asks: str
    """What it asks of the event: the annotation of its parameter."""

    reads: tuple[str, ...]
    """The event's fields that its code names; empty where there is no source to look into."""

    answers: tuple[str, ...]
    """What its return type says that it may answer, besides None; all that is legal there, where it has none."""

    replaces: tuple[str, ...]
    """The event's fields that it may replace."""


@attrs.frozen
class ExplainedCell:
    """A cell of a callback."""

    name: str
    """The field."""

    reset: str
    """When the loop gives it its initial value again."""

    saved: bool
    """Whether it is part of a checkpoint."""


@attrs.frozen
class Explained:
    """A callback and its place."""

    name: str
    """Its class, with `#2` and so on behind it where there are several."""

    module: str
    """The module of its class."""

    does: str
    """The first sentence of its class's docstring."""

    order: int
    """Its `order`."""

    phases: tuple[Phase, ...]
    """The data whose batches it is told of."""

    why: tuple[str, ...]
    """Why it runs where it does, each reason in words."""

    needs: tuple[Need, ...]
    """What it depends on."""

    settings: dict[str, str]
    """Its fields that are no cells of its own."""

    cells: tuple[ExplainedCell, ...]
    """Its cells."""

    hooks: tuple[ExplainedHook, ...]
    """The hooks that it has, in the order in which a fit first meets them."""


@attrs.frozen
class Explanation:
    """Callbacks in the order in which they run, and why; `rich.print` it, or show it in a notebook."""

    subject: str
    """What they belong to."""

    callbacks: tuple[Explained, ...]
    """The callbacks in the order in which they run; as they were given, where something is refused."""

    listeners: dict[str, tuple[str, ...]]
    """Who is told of each event, in order; events that nobody wants are left out."""

    refused: tuple[str, ...] = ()
    """What would be refused, or was, and how to mend it."""

    def json(self) -> str:
        """All of it as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode()

    def __rich__(self) -> RenderableType:
        """What rich shows of it."""
        from .text import rendered  # noqa: PLC0415  # rich is an extra

        return rendered(self)

    def _repr_html_(self) -> Optional[str]:
        return html_of(self)
