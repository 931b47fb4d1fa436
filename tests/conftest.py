"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("any machine", deadline=None, print_blob=True)  # a busy machine is no failure
settings.load_profile("any machine")
