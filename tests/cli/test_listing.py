import pytest

from lossbench import data, losses, metrics, models, weighting
from tests.cli.conftest import called


@pytest.mark.parametrize("what", [(), ("losses",), ("data",)])
def test_list_has_one_line_for_each_name(capsys, what):
    status, out, err = called(capsys, "list", *what)
    assert (status, err) == (0, "")
    tables = {
        "losses": losses.CATALOG,
        "metrics": metrics.STATES,
        "weightings": weighting.WEIGHTINGS,
        "models": models.MODELS,
        "data": data.SOURCES,
    }
    wanted = [name for table in what or tables for name in tables[table]]
    lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith(" ")]
    assert [line[0] for line in lines] == wanted
    assert all(len(line) == 2 and len(line[1]) > 10 for line in lines)
    assert [t for t in out.splitlines() if t[0] != " "] == [f"{t}:" for t in what or tables]
