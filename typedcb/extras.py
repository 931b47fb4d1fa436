"""Optional packages: what is missing says which extra brings it."""

from __future__ import annotations

from importlib.util import find_spec


def require(package: str, *, extra: str) -> None:
    """Checks that an optional package is installed.

    Args:
        package: The name that is imported.
        extra: The extra of typedcb that brings it.

    Raises:
        ModuleNotFoundError: It is not installed; the message says how to install it.
    """
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"this needs {package}: pip install 'typedcb[{extra}]'", name=package)
