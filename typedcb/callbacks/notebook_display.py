"""What `Progress` draws in a notebook: one output, which is drawn anew as the fit goes on."""

from __future__ import annotations

import html
import time
from typing import Final, Optional, Protocol, cast

from typing_extensions import override

from .display import Display, row_of

_REDRAW_SECONDS: Final = 0.2
"""A notebook's output travels to a browser: it is drawn less often than a terminal's."""

_CELL: Final = "padding: 2px 12px; text-align: right; font-variant-numeric: tabular-nums"


class _Handle(Protocol):
    """What IPython's `display(..., display_id=True)` returns."""

    def update(self, shown: object) -> None: ...


class NotebookDisplay(Display):
    """A table of the epochs, and a bar for the pass under way.

    Args:
        header: The names of the table's columns.
        n_epochs: How many epochs the fit is to reach.
    """

    def __init__(self, header: tuple[str, ...], n_epochs: int) -> None:
        self._header = header
        self._n_epochs = n_epochs
        self._rows: list[tuple[str, ...]] = []
        self._said: list[str] = []
        self._pass = ""
        self._bar = ""
        self._drawn = 0.0
        self._handle: Optional[_Handle] = None
        self._draw()

    @override
    def begin_pass(self, phase: str, epoch: int) -> None:
        self._pass = f"epoch {epoch + 1}/{self._n_epochs} {phase}"

    @override
    def is_due(self) -> bool:
        return time.monotonic() - self._drawn >= _REDRAW_SECONDS

    @override
    def move(self, done: int, total: Optional[int], loss: Optional[float]) -> None:
        full = "" if total is None else f' max="{total}"'
        count = str(done) if total is None else f"{done}/{total}"
        figures = "" if loss is None else f", loss {loss:.4f}"
        self._bar = f'<progress value="{done}"{full}></progress> {html.escape(self._pass)}, {count}{figures}'
        self._draw()

    @override
    def add_row(self, epoch: int, figures: tuple[float, ...]) -> None:
        self._rows.append(tuple(row_of(epoch, figures)))
        self._draw()

    @override
    def say(self, text: str) -> None:
        self._said.append(text)
        self._draw()

    @override
    def close(self) -> None:
        self._bar = ""
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        shown = _Html("".join((self._table(), *(f"<p>{html.escape(text)}</p>" for text in self._said), self._bar)))
        if self._handle is None:
            import IPython.display  # noqa: PLC0415  # only a notebook has it, and this is one

            # IPython leaves its parameters without types
            handle = IPython.display.display(shown, display_id=True)  # type: ignore[no-untyped-call]  # pyright: ignore[reportUnknownMemberType]
            self._handle = cast(_Handle, handle)
        else:
            self._handle.update(shown)

    def _table(self) -> str:
        rows = "".join(_row("td", row) for row in self._rows)
        return f"<table><thead>{_row('th', self._header)}</thead><tbody>{rows}</tbody></table>"


def _row(tag: str, cells: tuple[str, ...]) -> str:
    inside = "".join(f'<{tag} style="{_CELL}">{html.escape(cell)}</{tag}>' for cell in cells)
    return f"<tr>{inside}</tr>"


class _Html:
    """A piece of HTML, as notebooks take it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _repr_html_(self) -> str:
        return self._text

    @override
    def __repr__(self) -> str:
        return "the progress of a fit"
