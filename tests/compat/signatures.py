"""Whether a function or class takes the arguments of its namesake."""

import inspect


def arguments(function):
    """Names, kinds and defaults of the arguments, `self` left out."""
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in parameters]


def assert_same(ours, theirs):
    """The same names in the same order, with the same defaults."""
    assert arguments(ours) == arguments(theirs)
