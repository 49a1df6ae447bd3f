"""The ways of holding a class axis."""

import pytest

from lossbench.ops import blocks, classes


@pytest.fixture(params=["apart", "few side by side", "many"])
def form(request, monkeypatch):
    """Runs the test with classes apart, with few classes side by side, and as if they were many."""
    limit = 0 if request.param == "many" else 1000
    monkeypatch.setattr(classes, "UNROLLED_CLASSES", limit)
    monkeypatch.setattr(blocks, "BLOCK", 4)
    if request.param != "few side by side":
        yield request.param
    else:
        with classes.side_by_side():
            yield request.param
