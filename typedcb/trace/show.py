"""A trace in the terminal; rich draws it."""

from __future__ import annotations

import time
from itertools import islice
from typing import Iterator, Mapping, Optional

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree
from typing_extensions import override

from .figures import Filter, changes_of, costs_of, epochs_of
from .reading import TracedRun, TraceFile
from .records import Event, Header, Value
from .words import duration, place_of, shown

PLAIN_WIDTH = 140
"""How wide lines may be where the output is no terminal."""


def console_for(*, plain: bool = False) -> Console:
    """A console for the process's output: with colours on a terminal, plain and wide into a pipe.

    Args:
        plain: Whether it is plain on a terminal too.
    """
    console = _Console(no_color=True if plain else None, highlight=False)
    return console if console.is_terminal else _Console(width=PLAIN_WIDTH, highlight=False)


class _Console(Console):
    """A console that leaves to its caller what to do when nobody reads on."""

    @override
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def show(trace: TraceFile, console: Console, which: Filter, *, limit: int = 100, each: bool = False) -> None:
    """Shows a trace: what its runs come to, or those of their events that are meant.

    Args:
        trace: The trace.
        console: Where to.
        which: The events that are meant; each run as a whole where it leaves nothing out.
        limit: How many events are shown of a run, at most.
        each: Whether events are shown where `which` leaves nothing out.
    """
    for place, run in enumerate(trace.runs):
        if place:
            console.print()
        title = f"{trace.path}, run {place + 1} of {len(trace.runs)}: a {run.header.kind}"
        console.rule(Text(title), align="left")
        if which or each:
            _show_events(run, console, which, limit)
        else:
            console.print(overview(run))
    if not trace.runs:
        console.print(f"{trace.path} has no run in it.")
    if trace.cut:
        console.print(f"the last {trace.cut} bytes are no whole record: the run was killed as it wrote, or still runs.")


def _show_events(run: TracedRun, console: Console, which: Filter, limit: int) -> None:
    found = (event for event in run.events if which.takes(event, run))
    some = list(islice(found, limit))
    for event in some:
        console.print(detail(event, run))
    left = sum(1 for _ in found)
    if left:
        console.print(f"{left} more events; --limit {limit + left} shows them all")
    elif not some:
        console.print("no such event")


def overview(run: TracedRun) -> RenderableType:
    """What a run comes to: how it began and ended, its epochs, its callbacks' costs, its cells."""
    parts: list[RenderableType] = [_head(run.header), Text(_ending(run), style="bold"), _epochs(run), _costs(run)]
    return Group(*parts, _changes(run))


def _head(header: Header) -> RenderableType:
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(header.started))
    versions = ", ".join(f"{name} {version}" for name, version in header.versions.items())
    weights = header.model.get("weights")
    count = getattr(weights, "length", 0)
    lines = [
        f"begun {started} on {shown(header.host.get('name'))}, {versions}, seed {shown(header.seeds.get('torch'))}",
        f"{shown(header.model.get('class'))} with {count} weights and buffers, {shown(header.optimizer.get('class'))}",
        "callbacks in order: " + " → ".join(info.name for info in header.callbacks),
    ]
    return Text("\n".join(lines))


def _ending(run: TracedRun) -> str:
    end = run.end
    if end is None:
        last = place_of(run.events[-1]) if run.events else "its beginning"
        return f"no end: killed, or still under way, after {last}"
    words = f"{end.outcome} after {duration(end.seconds)}, {len(run.events)} events"
    if end.reason:
        words += f": {end.reason}"
    if end.error is not None:
        words += f": {end.error.kind}: {end.error.message} ({end.error.place})"
    return words


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    return table


def _epochs(run: TracedRun) -> RenderableType:
    figures = epochs_of(run)
    if not figures:
        return Text("")
    table = _table(">epoch", ">train batches", ">valid batches", ">train loss", ">valid loss", ">time")
    for epoch in figures:
        losses = [_figure(epoch.train_loss), _figure(epoch.valid_loss)]
        counts = [str(epoch.train_batches), str(epoch.valid_batches)]
        table.add_row(str(epoch.epoch), *counts, *losses, duration(epoch.seconds))
    return table


def _figure(value: Optional[float]) -> str:
    return "" if value is None else f"{value:.4g}"


def _costs(run: TracedRun) -> RenderableType:
    costs = costs_of(run)
    whole = sum(cost.seconds for cost in costs) or 1.0
    table = _table("callback", ">turns", ">time", ">a turn", ">longest", ">share", "most of it in")
    for cost in costs:
        each = duration(cost.seconds / cost.turns)
        share = f"{cost.seconds / whole:.0%}"
        table.add_row(
            escape(cost.name), str(cost.turns), duration(cost.seconds), each, duration(cost.longest), share, cost.hook
        )
    return table


def _changes(run: TracedRun) -> RenderableType:
    table = _table("cell or hyperparameter", ">changes", "in the end")
    for name, (times, value) in changes_of(run).items():
        if times:
            table.add_row(escape(name.partition(":")[2]), str(times), escape(shown(value)))
    return table


def detail(event: Event, run: TracedRun) -> RenderableType:
    """An event, with everybody's turn at it."""
    head = Text(f"{event.number}  ", style="dim")
    head.append(place_of(event), style="bold")
    head.append(f"  at {event.at:.6f} s", style="dim")
    tree = Tree(head, guide_style="dim")
    for line in _lines(event.before, "dim"):
        tree.add(line)
    for line in _lines(event.fields):
        tree.add(line)
    for call in event.calls:
        title = Text(run.callback(call.callback).name, style="cyan")
        title.append(f"  {duration(call.seconds)}", style="dim")
        if call.answer is not None:
            title.append(f"  answered {call.answer}" + (f": {call.reason}" if call.reason else ""), style="yellow")
        if call.error is not None:
            title.append(f"  raised {call.error.kind}: {call.error.message} ({call.error.place})", style="red")
        branch = tree.add(title)
        for line in (*_lines(call.fields), *_lines(call.changed)):
            branch.add(line)
    return tree


def _lines(values: Mapping[str, Value], style: str = "") -> Iterator[Text]:
    """What has a name and a value, a line each."""
    for name, value in values.items():
        yield Text(f"{name} = {shown(value)}", style=style)
