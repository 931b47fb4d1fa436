"""The command line: `typedcb demo`, `check`, `explain` and `trace`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final, Optional, Sequence


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Runs a command.

    Args:
        argv: The arguments; those of the process by default.

    Returns:
        The exit status.
    """
    options = _parser().parse_args(argv)
    if options.command == "demo":
        return _demo(options.out, options.epochs, options.seed)
    if options.command == "check":
        return _check(options.paths, options.select, options.ignore)
    if options.command == "explain":
        from .explain.command import run_explain  # noqa: PLC0415  # torch is loaded for the commands that need it

        return run_explain(options)
    if options.command == "trace":
        from .trace.command import run_trace  # noqa: PLC0415  # as said

        return run_trace(options)
    raise AssertionError(f"no command {options.command}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="typedcb", description="Typed callbacks for PyTorch training loops.")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="train a small network on handwritten digits, with callbacks")
    demo.add_argument("--out", type=Path, default=Path("demo-out"), help="folder of the picture (default: demo-out)")
    demo.add_argument("--epochs", type=int, default=8, help="how many epochs (default: 8)")
    demo.add_argument("--seed", type=int, default=0, help="what makes the run repeatable (default: 0)")
    check = commands.add_parser("check", help="find mistakes in callbacks that no type checker sees")
    check.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="a Python file, a notebook or a folder")
    check.add_argument("--select", type=_codes, default=[], help="the codes to report, separated by commas, or all")
    check.add_argument("--ignore", type=_codes, default=[], help="codes to leave out, separated by commas")
    _add_explain(commands.add_parser("explain", help="show in what order callbacks run, why, and who hears what"))
    trace = commands.add_parser("trace", help="look at what a Trace callback has recorded, or compare two recordings")
    actions = trace.add_subparsers(dest="action", required=True)
    _add_show(actions.add_parser("show", help="show a trace: epochs, events, cells, what each callback costs"))
    _add_diff(actions.add_parser("diff", help="find the first event at which two traces differ", epilog=_DIFF_EPILOG))
    return parser


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target",
        metavar="MODULE:NAME",
        help="a learner, a loop, a list of callbacks, or what makes one: my_module:learn, train.py:make",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it into an SVG file")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw it into a PNG file")


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="what a Trace callback has written")
    parser.add_argument("--events", action="store_true", help="show events, and not only what they come to")
    parser.add_argument("--event", metavar="HOOK", help="the events of this hook, such as after_loss")
    parser.add_argument("--callback", metavar="NAME", help="the events at which this callback has a turn")
    parser.add_argument("--epoch", type=int, metavar="N", help="the events of this epoch, counted from 0")
    parser.add_argument("--batch", type=int, metavar="N", help="the events of batches of this number, counted from 0")
    parser.add_argument("--phase", choices=("train", "valid"), help="the events of this phase's batches")
    parser.add_argument("--search", metavar="TEXT", help="the events with this text in a name, an answer or an error")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="how many events at most (default: 100)")
    parser.add_argument("--html", type=Path, metavar="OUT", help="write a page to look at in a browser instead")


_DIFF_EPILOG: Final = "The exit status is 0 where they are equal, 1 where they differ, 2 where one cannot be read."


def _add_diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", type=_paths, metavar="A", help="a trace; parts of one fit are separated by commas")
    parser.add_argument("b", type=_paths, metavar="B", help="the trace that it is compared to")
    parser.add_argument("--ignore", type=_codes, default=[], metavar="NAMES", help="names to pass over: random:*")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="take numbers as equal up to this relative difference, and compare tensors by their statistics",
    )
    parser.add_argument("--common", action="store_true", help="pass over events that one side alone has")
    parser.add_argument("--by-place", action="store_true", help="know callbacks by their places, not their names")
    parser.add_argument("--measured", action="store_true", help="compare cells with times and open files too")
    parser.add_argument("--strict", action="store_true", help="versions, machines, seeds and settings count too")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def _paths(text: str) -> list[Path]:
    return [Path(part) for part in text.split(",")]


def _codes(text: str) -> list[str]:
    return [name for name in text.replace(",", " ").split() if name]


def _check(paths: Sequence[Path], select: Sequence[str], ignore: Sequence[str]) -> int:
    from .check import SourceError, check_paths  # noqa: PLC0415  # no other command needs it
    from .codes import chosen  # noqa: PLC0415

    try:
        found = [str(finding) for finding in check_paths(paths, chosen(select, ignore))]
    except (SourceError, ValueError) as error:
        print(f"typedcb check: {error}", file=sys.stderr)  # noqa: T201
        return 2
    for line in found:
        print(line)  # noqa: T201
    return 1 if found else 0


def _demo(out: Path, epochs: int, seed: int) -> int:
    try:
        from .demo import run  # noqa: PLC0415  # torch is loaded for the commands that need it

        run(out, epochs=epochs, seed=seed)
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0
