"""`typedcb explain`."""

from __future__ import annotations

import sys
import traceback
from argparse import Namespace
from importlib import import_module, util
from pathlib import Path
from typing import Iterable, cast

from ..articles import an_instance
from ..callback import is_callback
from ..errors import CallbackError
from ..extras import require
from .explaining import HasCallbacks, Subject, explain
from .facts import Explanation


class TargetError(Exception):
    """What was asked for is not there, cannot be explained, or cannot be drawn."""


def run_explain(options: Namespace) -> int:
    """Explains what the command line names.

    Args:
        options: What the command line says.

    Returns:
        The exit status: 0; 1 where something is refused; 2 where there is nothing to explain.
    """
    try:
        explanation = explained(options.target)
        _tell(explanation, options)
    except (TargetError, ModuleNotFoundError) as error:
        print(f"typedcb explain: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 1 if explanation.refused else 0


def _tell(explanation: Explanation, options: Namespace) -> None:
    pictures = [path for path in (options.svg, options.png) if path is not None]
    if pictures:
        require("matplotlib", extra="plot")
        from .picture import draw  # noqa: PLC0415  # matplotlib is an extra

        for path in pictures:
            try:
                draw(explanation, path)
            except OSError as error:
                raise TargetError(f"{path} cannot be written: {error.strerror or error}.") from error
    if options.json:
        print(explanation.json())  # noqa: T201
    elif not pictures:
        require("rich", extra="progress")
        from rich.console import Console  # noqa: PLC0415  # rich is an extra

        console = Console(highlight=False)
        wide = console if console.is_terminal else Console(width=180, highlight=False)
        wide.print(explanation)


def explained(target: str) -> Explanation:
    """Explains what a name stands for; what is refused while it is made is told of, and not raised.

    Args:
        target: Such as `my_module:learn` or `train.py:make`.

    Raises:
        TargetError: There is no such thing, or it is nothing that can be explained.
    """
    module, _, path = target.partition(":")
    if not path:
        raise TargetError(f"{target} names no object: write MODULE:NAME, such as {module or 'my_module'}:learn.")
    try:
        found = _loaded(module)
        for name in path.split("."):
            if not hasattr(found, name):
                raise TargetError(f"{target}: there is no {name} in {module}.")
            found = getattr(found, name)
        return explain(_subject(found, target))
    except CallbackError as error:
        return Explanation(target, (), {}, (str(error),))


def _loaded(module: str) -> object:
    try:
        return _imported(module)
    except (CallbackError, TargetError):
        raise
    except Exception as error:
        last = [frame for frame in traceback.extract_tb(error.__traceback__) if "<frozen" not in frame.filename][-1]
        where = f"{last.filename}:{last.lineno}"
        raise TargetError(f"{module} cannot be imported: {type(error).__name__}: {error} ({where})") from error


def _imported(module: str) -> object:
    if module.endswith(".py"):
        path = Path(module)
        if not path.is_file():
            raise TargetError(f"{module}: there is no such file.")
        spec = util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise TargetError(f"{module} is no module.")
        made = util.module_from_spec(spec)
        sys.modules[path.stem] = made  # dataclasses look their module up
        sys.path.insert(0, str(path.resolve().parent))
        spec.loader.exec_module(made)
        return made
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # what is missing is something that the module imports
        raise TargetError(
            f"there is no module {error.name}, neither here nor among what is installed: a file is named by its path, "
            f"such as train.py:learn."
        ) from error


def _subject(found: object, target: str) -> Subject:
    """What can be explained: the object itself, or what it makes when it is called."""
    if hasattr(found, "cbs") and not isinstance(found, type):
        return cast("HasCallbacks", found)
    if is_callback(found):
        return (found,)
    if isinstance(found, Iterable) and not isinstance(found, (str, bytes, type)):
        return cast("Iterable[object]", found)
    if callable(found):
        try:
            made: object = found()
        except TypeError as error:
            if isinstance(error, CallbackError):
                raise
            raise TargetError(f"{target} cannot be called without arguments ({error}): name what it makes.") from error
        if not callable(made) or hasattr(made, "cbs"):
            return _subject(made, target)
        found = made
    raise TargetError(
        f"{target} is {an_instance(found)}: a learner, a loop, a list of callbacks, or a function that makes one "
        f"of these can be explained."
    )
