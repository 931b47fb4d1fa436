"""Mistakes in callbacks that no type checker can see, found in the source: `typedcb check PATH...`.

The mypy plugin (`typedcb.mypy`) reports the same findings, with the same codes and words.
"""

from ..codes import CODES as CODES
from ..codes import Code as Code
from .findings import Finding as Finding
from .run import SourceError as SourceError
from .run import check_paths as check_paths
from .run import check_text as check_text
