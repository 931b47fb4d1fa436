"""Where typedcb meets other callback systems: a module for each, loaded when it is asked for."""
