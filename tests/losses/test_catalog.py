import pytest

from lossbench import losses
from lossbench.losses.catalog import CATALOG, get


def test_a_loss_is_found_by_its_name():
    for name, row in CATALOG.items():
        assert row.name == name
        assert get(name) is row.function is getattr(losses, name)


def test_an_unknown_name_gets_the_nearest_and_the_list():
    with pytest.raises(
        ValueError, match=r"unknown loss 'focall'; did you mean 'focal'\? There are:"
    ):
        get("focall")


FAMILIES = {"pixel-wise", "region", "distance", "topology", "instance", "calibration"}
FAMILIES |= {"anomaly", "spectral", "regularizer"}


@pytest.mark.parametrize("name", CATALOG)
def test_a_row_is_complete(name):
    row = CATALOG[name]
    assert row.family in FAMILIES
    assert row.soft_labels in ("yes", "biased", "no")
    assert row.paper
