from xml.etree import ElementTree

import numpy as np
import pytest

from lossbench.bench import drawing
from lossbench.bench.band_figures import band_weights

WAVES = np.linspace(400, 1000, 61)


def texts(figure):
    return [e.text for e in ElementTree.fromstring(drawing.svg(figure, "a")).iter("text")]


def lines(figure):
    """The curves of the front axes: x and y of each line with a point at each band."""
    return [line.get_xydata().T for line in figure.axes[0].lines if len(line.get_xdata()) > 20]


def test_a_line_a_selector_over_the_wavelengths():
    weights = np.random.default_rng(0).random((3, 61))
    figure = band_weights(weights, WAVES)
    assert {"selector 1", "selector 2", "selector 3", "Wavelength (nm)"} <= set(texts(figure))
    for (x, y), row in zip(lines(figure), weights, strict=True):
        np.testing.assert_array_equal(x, WAVES)
        np.testing.assert_array_equal(y, row)


def test_wavelengths_come_in_order_and_gaps_stay_open():
    waves = np.r_[np.arange(400, 600, 10.0), np.arange(800, 1000, 10.0)]
    order = np.random.default_rng(0).permutation(40)
    ((x, y), (x2, _)) = lines(band_weights(np.stack([waves, waves])[:, order], waves[order]))
    assert (np.diff(x) >= 0).all()
    np.testing.assert_array_equal(x, x2)
    assert np.isnan(y).sum() == 1
    assert np.nanmax(y[: np.flatnonzero(np.isnan(y))[0]]) == 590


def test_chosen_bands_are_marked():
    weights = np.eye(61)[[5, 30]]
    figure = band_weights(weights, WAVES, chosen={"selector 1": [5], "selector 2": [30]})
    assert {"450", "700"} <= set(texts(figure))
    both = band_weights({"a": weights[0], "b": weights[1]}, chosen=[60])
    assert texts(both).count("60") >= 2
    assert "Band" in texts(both)


def test_spectra_stand_behind_on_an_axis_of_their_own():
    spectra = {"normal": WAVES * 10, "anomalous": WAVES * 12}
    figure = band_weights(np.ones(61) / 61, WAVES, spectra=spectra)
    assert {"normal spectrum", "anomalous spectrum", "Mean spectrum", "Weight"} <= set(
        texts(figure)
    )
    assert figure.axes[0].get_ylim()[1] < 1
    assert figure.axes[1].get_ylim()[1] > 1000


def test_one_selector_of_few_bands_is_bars():
    figure = band_weights([0.2, 0.5, 0.3], [450, 550, 650])
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights == [0.2, 0.5, 0.3]
    assert drawing.figure_png(band_weights([1.0]), dots=50)


@pytest.mark.parametrize("fill", [0.0, -1.0, np.nan])
def test_weights_that_say_nothing_can_be_drawn(fill):
    assert texts(band_weights(np.full((2, 61), fill), WAVES))


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"wavelengths: expected 61 bands, got shape \(3,\)"):
        band_weights(np.ones(61), [1, 2, 3])
    with pytest.raises(ValueError, match="normal: expected 61 bands"):
        band_weights(np.ones(61), spectra={"normal": np.ones(60)})
    with pytest.raises(ValueError, match="expected at least one selector"):
        band_weights({})
    with pytest.raises(ValueError, match="expected bands or selectors bands"):
        band_weights(np.ones((2, 3, 4)))
