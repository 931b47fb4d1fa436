class _BatchProgress:
    is_last_batch: bool
