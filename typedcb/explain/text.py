"""An explanation on a terminal; rich draws it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .facts import Explained, Explanation


def rendered(explanation: Explanation) -> RenderableType:
    """The callbacks in their order and why, and who hears what."""
    head = Text(f"{explanation.subject}: {len(explanation.callbacks)} callbacks, in the order in which they run")
    parts: list[RenderableType] = [head, _order(explanation), Text(""), _hooks(explanation)]
    if any(callback.cells for callback in explanation.callbacks):
        parts += [Text(""), _cells(explanation)]
    if explanation.refused:
        parts += [Text(""), Text("refused:", style="bold red")]
        parts += [Text(f"  {words}", style="red") for words in explanation.refused]
    return Group(*parts)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    return table


def _order(explanation: Explanation) -> RenderableType:
    table = _table(">", "callback", ">order", "batches", "why there", "what it does")
    for place, callback in enumerate(explanation.callbacks, 1):
        phases = "both" if len(callback.phases) == 2 else callback.phases[0]
        name, why, does = escape(_with_settings(callback)), "; ".join(callback.why), escape(callback.does)
        table.add_row(str(place), name, str(callback.order), phases, why, does)
    return table


def _with_settings(callback: Explained) -> str:
    settings = ", ".join(f"{name}={value}" for name, value in callback.settings.items() if name != "learn")
    return f"{callback.name}({settings})"


def _hooks(explanation: Explanation) -> RenderableType:
    table = _table("event", "who hears it, in order", "asks for", "reads", "may answer, besides None", "replaces")
    for name, those in explanation.listeners.items():
        first = name
        for callback in explanation.callbacks:
            if callback.name not in those:
                continue
            hook = next(hook for hook in callback.hooks if hook.name == name)
            only = "" if len(callback.phases) == 2 or not _in_batch(name) else f" ({callback.phases[0]})"
            words = (", ".join(hook.reads), ", ".join(hook.answers), ", ".join(hook.replaces))
            table.add_row(first, f"{callback.name}{only}", escape(hook.asks), *words)
            first = ""
    return table


def _in_batch(hook: str) -> bool:
    return hook.endswith(("_batch", "_pred", "_loss", "_backward", "_step"))


def _cells(explanation: Explanation) -> RenderableType:
    table = _table("cell", "begins anew with each", "in a checkpoint")
    for callback in explanation.callbacks:
        for cell in callback.cells:
            saved = "yes" if cell.saved else "no"
            table.add_row(f"{callback.name}.{cell.name}", "" if cell.reset == "never" else cell.reset, saved)
    return table
