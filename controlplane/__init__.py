"""The control plane: environments, serves, revisions and their roll-out, behind a REST API.

What is wanted is stored first; loops then make the world as the store says. `decide` is a pure function, and all else
is I/O around it.
"""
