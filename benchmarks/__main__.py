"""Runs all benchmarks, or with `--peers` those of other libraries too; it prints tables in Markdown."""

from __future__ import annotations

import sys

from . import checkpoint, events, imports, loop, trace


def main() -> None:
    """Prints the tables."""
    print("## Loops\n", flush=True)
    loop.main()
    print("\n## Events\n", flush=True)
    events.main()
    print("\n## Imports\n", flush=True)
    imports.main()
    print("\n## Checkpoints\n", flush=True)
    checkpoint.main()
    print("\n## Traces\n", flush=True)
    trace.main()
    if "--peers" in sys.argv:
        from . import peers  # noqa: PLC0415  # only who asks for it gets its virtual environment

        print("\n## Other libraries\n", flush=True)
        peers.main()


if __name__ == "__main__":
    main()
