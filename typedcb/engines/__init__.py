"""The engines of several processes.

Each is loaded when it is first asked for, since torch's distributed package takes a while to import.
"""
