"""`python -m typedcb`, for `typedcb`."""

import sys

from .cli import main

sys.exit(main())
