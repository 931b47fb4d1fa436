"""Training inside of a web service: runs in background threads, watched and cancelled by requests."""
