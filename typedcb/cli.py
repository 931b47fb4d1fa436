"""The command line: `typedcb demo` and `typedcb check`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Optional, Sequence


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
    raise AssertionError(f"no command {options.command}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="typedcb", description="Typed callbacks for PyTorch training loops.")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="train a small network on handwritten digits, with callbacks")
    demo.add_argument("--out", type=Path, default=Path("demo-out"), help="folder of the picture (default: demo-out)")
    demo.add_argument("--epochs", type=int, default=8, help="how many epochs (default: 8)")
    demo.add_argument("--seed", type=int, default=0, help="what makes the run repeatable (default: 0)")
    check = commands.add_parser("check", help="find mistakes in callbacks that no type checker sees")
    check.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="a Python file or a folder")
    check.add_argument("--select", type=_codes, default=[], help="the codes to report, separated by commas, or all")
    check.add_argument("--ignore", type=_codes, default=[], help="codes to leave out, separated by commas")
    return parser


def _codes(text: str) -> list[str]:
    return [name for name in text.replace(",", " ").split() if name]


def _check(paths: Sequence[Path], select: Sequence[str], ignore: Sequence[str]) -> int:
    from .check import SourceError, check_paths  # noqa: PLC0415  # no other command needs it
    from .check.codes import chosen  # noqa: PLC0415

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
