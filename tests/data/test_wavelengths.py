import numpy as np
import pytest

from lossbench.data.wavelengths import nanometers


@pytest.mark.parametrize(
    ("values", "unit", "expected"),
    [
        ([400, 1000.5], "Nanometers", (400.0, 1000.5)),
        ([400, 500], "nm", (400.0, 500.0)),
        ([0.4, 2.5], "Micrometers", (400.0, 2500.0)),
        ([0.4, 2.5], "um", (400.0, 2500.0)),
        ([0.4, 2.5], "µm", (400.0, 2500.0)),  # the micro sign
        ([0.4, 2.5], "μm", (400.0, 2500.0)),  # the Greek letter
        ([0.4, 2.5], "microns", (400.0, 2500.0)),
        ([4000, 5000], "Angstroms", (400.0, 500.0)),
        ([4e-4], "mm", (400.0,)),
        ([4e-7], "meters", (400.0,)),
        ([4e-7], "metres", (400.0,)),
        ([10000, 20000], "Wavenumber", (1000.0, 500.0)),
        ([0.4, 2.5], None, (400.0, 2500.0)),
        ([0.4, 2.5], "Unknown", (400.0, 2500.0)),
        ([400, 2500], "", (400.0, 2500.0)),
        ([1, 2, 3], "Index", None),
        ([1, 2, 500], None, None),
        ([0, 1, 2], None, None),
        ([400, np.nan], "nm", None),
        ([], "nm", None),
    ],
)
def test_units(values, unit, expected):
    assert nanometers(values, unit) == expected
