import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.metrics import deciders
from lossbench.metrics.deciders_stream import fit_f1_streamed, fit_fpr_streamed, fit_nu_streamed
from lossbench.metrics.ranking_stream import F1Max, RocAuc

RNG = np.random.default_rng(0)
LABELS = jnp.asarray(RNG.random((8, 50)) < 0.3)
NOISE = jnp.asarray(RNG.normal(size=LABELS.shape) + LABELS, jnp.float32)
WHOLE_NUMBERS = jnp.round(4 * NOISE)
FITS = {
    "fpr": lambda histogram: fit_fpr_streamed(histogram, fpr=0.1, split="a"),
    "nu": lambda histogram: fit_nu_streamed(histogram, nu=0.1, split="a"),
    "f1": lambda histogram: fit_f1_streamed(histogram, split="a"),
}
EXACT = {
    "fpr": lambda s, t: deciders.fit_fpr(s, t, fpr=0.1, split="a"),
    "nu": lambda s, t: deciders.fit_nu(s, nu=0.1, split="a"),
    "f1": lambda s, t: deciders.fit_f1(s, t, split="a"),
}
SHARES = jnp.array([0, 0.01, 0.1, 0.5, 1])


def histogram_of(scores, labels=LABELS, bins=2**12):
    return RocAuc.empty(bins=bins).update(scores, labels).histogram


@pytest.mark.parametrize("name", FITS)
def test_decides_as_the_exact_one_where_each_score_has_a_bin(name):
    found = FITS[name](histogram_of(WHOLE_NUMBERS))
    exact = EXACT[name](WHOLE_NUMBERS, LABELS)
    np.testing.assert_array_equal(found.decide(WHOLE_NUMBERS), exact.decide(WHOLE_NUMBERS))
    assert (found.how, found.split) == (exact.how, exact.split)
    if name != "nu":  # which knows no labels if it sees scores alone
        assert (found.normal, found.anomalous) == (exact.normal, exact.anomalous)
    assert found.value >= exact.value - 1e-6
    assert found.value - exact.value < 0.3


@pytest.mark.parametrize("bins", [8, 256])
def test_what_it_promises_holds_in_wide_bins(bins):
    histogram = histogram_of(NOISE, bins=bins)
    normal, scores = np.asarray(~LABELS), np.asarray(NOISE)
    many = jax.vmap(lambda x: fit_fpr_streamed(histogram, fpr=x, split="a").value)(SHARES)
    every = jax.vmap(lambda x: fit_nu_streamed(histogram, nu=x, split="a").value)(SHARES)
    exact = jax.vmap(lambda x: deciders.fit_fpr(NOISE, LABELS, fpr=x, split="a").value)(SHARES)
    for share, fpr, nu, lowest in zip(SHARES, many, every, exact, strict=True):
        assert ((scores >= fpr) & normal).sum() <= float(share) * normal.sum() + 1e-4
        assert (scores >= nu).sum() <= float(share) * scores.size + 1e-4
        assert fpr >= lowest
    assert many[-1] == every[-1] == -np.inf
    best = F1Max.empty(bins=bins).update(NOISE, LABELS).compute()
    threshold = FITS["f1"](histogram).value
    assert threshold == best.threshold
    flagged = scores >= float(threshold)
    f1 = 2 * (flagged & ~normal).sum() / (flagged.sum() + (~normal).sum())
    np.testing.assert_allclose(f1, best.value, rtol=1e-6)


def test_a_finer_histogram_comes_closer():
    for name in ("fpr", "nu"):
        exact = EXACT[name](NOISE, LABELS).value
        coarse, fine = (FITS[name](histogram_of(NOISE, bins=n)).value for n in (2**10, 2**16))
        assert exact <= fine <= coarse
        assert fine - exact < 0.01 * abs(exact)


@pytest.mark.parametrize("name", FITS)
def test_batches_and_merging_change_nothing(name):
    whole = FITS[name](histogram_of(NOISE))
    states = [RocAuc.empty(bins=2**12) for _ in range(2)]
    for i in range(0, 8, 2):
        side = i // 2 % 2
        states[side] = states[side].update(NOISE[i : i + 2], LABELS[i : i + 2])
    for merged in (states[0].merge(states[1]), states[1].merge(states[0])):
        assert FITS[name](merged.histogram).value == whole.value


@pytest.mark.parametrize("name", FITS)
def test_a_threshold_that_there_is_not_is_refused_outside_of_jit_and_nan_inside(name):
    nothing = jnp.zeros(LABELS.shape, bool)
    bad = [histogram_of(NOISE.at[0, 0].set(jnp.nan)), RocAuc.empty(bins=2**12).histogram]
    bad += [histogram_of(NOISE, ~nothing)] * (name != "nu")
    bad += [histogram_of(NOISE, nothing)] * (name == "f1")
    compiled = jax.jit(FITS[name])
    for histogram in bad:
        with pytest.raises(
            ValueError, match=f"scores: expected what a threshold by '{name}' needs"
        ):
            FITS[name](histogram)
        assert np.isnan(compiled(histogram).value)


def test_nothing_of_constant_maps_is_flagged_and_infinity_cannot_be_spared():
    for value in (0.0, 0.1, -3.0, 1e-40):
        scores = jnp.full(LABELS.shape, value)
        for name in ("fpr", "nu"):
            found = FITS[name](histogram_of(scores, jnp.zeros(LABELS.shape, bool)))
            assert not found.decide(scores).any()
    some = jnp.where(LABELS, 0, jnp.inf)
    with pytest.raises(ValueError, match="scores: expected what a threshold by 'fpr' needs"):
        FITS["fpr"](histogram_of(some))


def test_what_does_not_fit_is_refused_by_name():
    histogram = histogram_of(NOISE)
    with pytest.raises(ValueError, match=r"fpr: expected 0 to 1, got 1.5"):
        fit_fpr_streamed(histogram, fpr=1.5, split="a")
    with pytest.raises(ValueError, match=r"nu: expected 0 to 1, got -1"):
        fit_nu_streamed(histogram, nu=-1, split="a")
    with pytest.raises(ValueError, match="split: expected the name of the data"):
        fit_f1_streamed(histogram, split="")
