import functools
import inspect
from fractions import Fraction

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType
from scipy import stats

from lossbench.metrics import _maps, thresholds
from lossbench.metrics.ranking import f1_max
from lossbench.metrics.thresholds import decide
from tests.metrics import rankings

NAMES, SCORES, LABELS, WHERE, _ = rankings.examples()
TINY = np.finfo(np.float32).tiny
SHARES = np.array([0, 0.04, 0.25, 0.5, 0.9, 1], np.float32)
# As `name(scores, labels, option, where=...)`, of which some have no use for labels.
FUNCTIONS = {
    "quantile": lambda s, t, where=None: thresholds.quantile_threshold(
        s, quantile=0.75, where=where
    ),
    "fpr": lambda s, t, where=None: thresholds.fpr_threshold(s, t, fpr=0.25, where=where),
    "nu": lambda s, t, where=None: thresholds.nu_threshold(s, nu=0.25, where=where),
    "gaussian": lambda s, t, where=None: thresholds.gaussian_threshold(s, fpr=0.1, where=where),
    "f1": lambda s, t, where=None: thresholds.f1_threshold(s, t, where=where),
}


def sparing(scores, share):
    """The lowest threshold that flags at most a share, by trying all; NaN where there is none."""
    scores = np.where(np.abs(scores) < TINY, 0, scores).astype(np.float32)
    if scores.size == 0:
        return np.nan
    spared = [-np.inf]
    for score in sorted(set(scores.tolist())):
        if np.float32((scores >= score).sum() / scores.size) > share:
            spared.append(score)
    if len(spared) == 1:
        return -np.inf
    if spared[-1] == np.inf:
        return np.nan
    above = np.nextafter(np.float32(spared[-1]), np.float32(np.inf))
    return (0.0 if above < 0 else TINY) if abs(above) < TINY else above


@pytest.mark.parametrize("name", ["nu", "fpr"])
def test_the_lowest_threshold_that_flags_at_most_a_share(name):
    """For all shares at once, which are traced."""
    function = {
        "nu": lambda s, t, x: thresholds.nu_threshold(s, nu=x, where=jnp.asarray(WHERE)),
        "fpr": lambda s, t, x: thresholds.fpr_threshold(s, t, fpr=x, where=jnp.asarray(WHERE)),
    }[name]
    many = jax.vmap(function, in_axes=(None, None, 0))
    found = many(jnp.asarray(SCORES), jnp.asarray(LABELS), jnp.asarray(SHARES))
    counted = WHERE & ~LABELS if name == "fpr" else WHERE
    for share, values, undefined in zip(SHARES, found.values, found.undefined, strict=True):
        wanted = [sparing(s[c], share) for s, c in zip(SCORES, counted, strict=True)]
        for i, row in enumerate(NAMES):
            np.testing.assert_array_equal(
                values[i], np.float32(wanted[i]), err_msg=f"{row} {share}"
            )
        assert undefined == np.isnan(wanted).sum()


def test_a_quantile_leaves_the_rest_to_be_flagged():
    for quantile in (0, 0.5, 0.9, 1):
        found = thresholds.quantile_threshold(jnp.asarray(SCORES), quantile=quantile)
        wanted = [sparing(s, np.float32(1 - quantile)) for s in SCORES]
        np.testing.assert_array_equal(found.values, np.array(wanted, np.float32))


@pytest.mark.parametrize("count", [10, 200, 1000])
def test_a_share_that_is_met_exactly_is_met(count):
    """0.005 of 200 is one score, though 1 - 0.995 is a little less in float32."""
    scores = jnp.asarray(np.random.default_rng(0).permutation(count), jnp.float32)[None]
    flagged = np.arange(count + 1)

    def number(share):
        return jnp.sum(decide(scores, thresholds.nu_threshold(scores, nu=share).values))

    found = jax.vmap(number)(jnp.asarray(flagged / count, jnp.float32))
    np.testing.assert_array_equal(found, flagged)
    at = thresholds.quantile_threshold(scores, quantile=0.9).values
    assert decide(scores, at).sum() == count // 10
    if count > 10:
        at = thresholds.quantile_threshold(scores, quantile=0.995).values
        assert decide(scores, at).sum() == count // 200


@pytest.mark.parametrize("name", ["quantile", "fpr", "nu", "gaussian"])
def test_nothing_of_a_constant_map_is_flagged(name):
    """Not of one at 0 either, though XLA's CPU backend takes the next float above for 0."""
    values = np.array([0, 0.1, 7, -3, 1e-40, -1e-40, TINY, -TINY, 1e30], np.float32)
    scores = jnp.asarray(np.repeat(values[:, None], 100, 1))
    found = FUNCTIONS[name](scores, jnp.zeros(scores.shape, bool))
    assert found.undefined == 0
    assert not decide(scores, found.values).any()
    assert not (np.asarray(scores) >= np.asarray(found.values)[:, None]).any()
    if name != "gaussian":
        next_one = np.nextafter(values, np.float32(np.inf))
        small = np.abs(next_one) < TINY
        wanted = np.where(small, np.where(values <= -TINY, 0, TINY), next_one)
        np.testing.assert_array_equal(found.values, wanted.astype(np.float32))


@settings(max_examples=100, deadline=None)
@given(
    row=st.lists(st.floats(width=32, allow_nan=False), min_size=12, max_size=12),
    share=st.floats(0, 1, width=32),
)
def test_no_more_than_the_share_and_not_one_less(row, share):
    scores = np.array([row], np.float32)
    found = thresholds.nu_threshold(jnp.asarray(scores), nu=jnp.float32(share)).values
    if np.isnan(found[0]):
        assert (scores == np.inf).mean() > share
        return
    flagged = np.asarray(decide(jnp.asarray(scores), found))
    assert flagged.mean() <= share * (1 + 1e-6)
    if not flagged.all():
        # All below the smallest normal float is 0 to XLA's CPU backend.
        scores = np.where(np.abs(scores) < TINY, 0, scores)
        assert (scores >= scores[~flagged].max()).mean() > share


def test_counts_of_a_share_are_exact():
    """Against fractions, up to the largest numbers; half a bit of the share is no difference."""
    rng = np.random.default_rng(0)
    shares = np.float32(rng.random(500) ** rng.integers(1, 9, 500))
    shares[:4] = 1, 0.5, 1e-30, np.nextafter(np.float32(1), 0)
    numbers = rng.integers(1, 2**31, 500)
    numbers[:8] = 2**31 - 1
    both = lambda s, n: (_maps.at_most(s, n[None])[0], _maps.at_least(s, n[None])[0])  # noqa: E731
    most, least = jax.jit(jax.vmap(both))(jnp.asarray(shares), jnp.asarray(numbers, jnp.int32))
    for share, number, high, low in zip(shares, numbers.tolist(), most, least, strict=True):
        exact, half = Fraction(float(share)), Fraction(float(np.spacing(share))) / 2
        assert high == min(int((exact + half) * number), number)
        assert low == min(int((exact - half) * number) + 1, number)
    nothing = both(jnp.float32(0), jnp.int32(2**31 - 1))[0]
    assert nothing == both(jnp.float32(np.nan), jnp.int32(9))[0] == 0
    assert both(jnp.float32(1), jnp.int32(0)) == (0, 0)


def test_the_tail_of_a_gaussian():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(5, 400))
    scale = np.array([[1], [1e30], [1e-30], [1], [3]])
    scores = (noise * scale + np.array([[0], [1e30], [0], [1e4], [-50]])).astype(np.float32)
    shares = np.array([1e-6, 0.01, 0.5, 0.9], np.float32)
    function = lambda share: thresholds.gaussian_threshold(jnp.asarray(scores), fpr=share)  # noqa: E731
    found = jax.vmap(function)(jnp.asarray(shares))
    exact = scores.astype(np.float64)
    mean, std = exact.mean(1), exact.std(1, ddof=1)
    wanted = mean + stats.norm.isf(shares.astype(np.float64))[:, None] * std
    # Means are as exact as a float of their size, and of the size of the deviation.
    scaled = (np.asarray(found.values) - wanted) / (std + np.abs(mean))
    np.testing.assert_allclose(scaled, 0, atol=2e-6)
    assert not found.undefined.any()


def test_the_best_f1_is_that_of_f1_max_where_there_are_both_classes():
    given = jnp.asarray(SCORES), jnp.asarray(LABELS)
    for where in (jnp.ones(LABELS.shape, bool), jnp.asarray(WHERE)):
        found = thresholds.f1_threshold(*given, where=where)
        wanted = np.array(f1_max(*given, where=where).thresholds)
        normal = (np.asarray(where) & ~LABELS).any(1)
        np.testing.assert_array_equal(found.values, np.where(normal, wanted, np.nan))
        assert found.undefined == np.isnan(found.values).sum() > 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_masked_equals_removed_and_a_nan_that_counts_flags_nothing(name):
    rng = np.random.default_rng(1)
    scores = jnp.asarray(rng.normal(size=(3, 20)), jnp.float32)
    labels = jnp.asarray(rng.random((3, 20)) < 0.4).at[:, 0].set(False)
    function = FUNCTIONS[name]
    kept = function(scores[:, :15], labels[:, :15])
    where = jnp.ones((3, 20), bool).at[:, 15:].set(False)
    for rubbish in (jnp.nan, jnp.inf, 100.0):
        hidden = function(scores.at[:, 15:].set(rubbish), labels, where=where)
        chex.assert_trees_all_close(hidden, kept, rtol=1e-6)
    broken = scores.at[1, 0].set(jnp.nan)
    found = function(broken, labels)
    assert found.undefined == 1
    assert np.isnan(found.values[1])
    assert not decide(scores, found.values)[1].any()
    nothing = function(scores, labels, where=jnp.zeros((3, 20), bool))
    assert np.isnan(nothing.values).all()
    assert nothing.undefined == 3


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jit_vmap_space_dtypes_and_devices(name):
    rng = np.random.default_rng(2)
    scores = jnp.asarray(rng.normal(size=(4, 24)), jnp.bfloat16)
    labels = jnp.asarray(rng.random((4, 24)) < 0.4)
    function = FUNCTIONS[name]
    whole = function(scores, labels)
    chex.assert_trees_all_equal(function(scores.astype(jnp.float32), labels), whole)
    assert whole.values.dtype == jnp.float32
    space = (4, 2, 3, 4)
    chex.assert_trees_all_close(
        jax.jit(function)(scores.reshape(space), labels.reshape(space)), whole, rtol=1e-6
    )
    alone = jax.vmap(function)(scores[:, None], labels[:, None])
    np.testing.assert_allclose(alone.values[:, 0], whole.values, rtol=1e-6)
    mesh = jax.make_mesh(
        (4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu")[:4]
    )
    spread = jax.device_put((scores, labels), jax.NamedSharding(mesh, jax.P("data")))
    np.testing.assert_allclose(jax.device_get(function(*spread).values), whole.values, rtol=1e-6)
    scores = scores.astype(jnp.float32)
    with jax.numpy_dtype_promotion("strict"):
        assert "callback" not in str(jax.make_jaxpr(function)(scores, labels))


def test_float64_scores_that_float32_cannot_tell_apart():
    with jax.enable_x64(True):
        scores = jnp.array([[1.0, 1 + 1e-12, 1 + 2e-12, -1e300], [0.0, 0.0, 5e-324, -5e-324]])
        found = thresholds.nu_threshold(scores, nu=0.25).values
        assert found.dtype == jnp.float64
        np.testing.assert_array_equal(
            decide(scores, found), [[False, False, True, False], [False] * 4]
        )
        single = jnp.array([[1.0, 2.0]], jnp.float32)
        np.testing.assert_array_equal(decide(single, jnp.float64(1 + 1e-12)), [[False, True]])
        for name in ("quantile", "gaussian"):
            assert FUNCTIONS[name](scores, scores > 1).values.dtype == jnp.float64


@pytest.mark.long
def test_more_scores_than_float32_counts():
    """torch.quantile, which cuvis-ai takes, refuses more than 2^24."""
    count = 2**24 + 2**20
    bits = jnp.arange(count, dtype=jnp.int32) + 2**24
    scores = jax.lax.bitcast_convert_type(bits, jnp.float32)[None]
    found = thresholds.quantile_threshold(scores, quantile=0.995).values
    assert jnp.sum(decide(scores, found)) == int(count * 0.005)


def test_decisions():
    scores = jnp.array([[1.0, 2.0, jnp.nan], [jnp.inf, -jnp.inf, 0.0]])
    for threshold, wanted in (
        (2.0, [[0, 1, 0], [1, 0, 0]]),
        (0, [[1, 1, 0], [1, 0, 1]]),
        (jnp.array([2.0, -jnp.inf]), [[0, 1, 0], [1, 1, 1]]),
        (jnp.array([jnp.nan, jnp.inf]), [[0, 0, 0], [1, 0, 0]]),
    ):
        np.testing.assert_array_equal(decide(scores, threshold), np.array(wanted, bool))
    maps = jnp.broadcast_to(scores[:, :, None], (2, 3, 4))
    found = jax.jit(decide)(maps, jnp.array([2.0, 0.0]))
    np.testing.assert_array_equal(found[:, :, 0], [[0, 1, 0], [1, 0, 1]])
    median = np.quantile(np.array([0.0, 3.0]), 0.5)  # a float64, also where JAX has none
    np.testing.assert_array_equal(decide(scores, median), [[0, 1, 0], [1, 0, 0]])
    # In float32, whatever the scores are: a threshold between two of them is not rounded to one.
    half = jnp.array([[1.0, 1.0078125]], jnp.bfloat16)
    np.testing.assert_array_equal(decide(half, jnp.float32(1.001)), [[False, True]])


GOOD = {"scores": jnp.asarray(SCORES[:2]), "labels": jnp.asarray(LABELS[:2])}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("quantile", {"quantile": 1.5}, "quantile: expected 0 to 1, got 1.5"),
        ("fpr", {"fpr": -0.1}, "fpr: expected 0 to 1, got -0.1"),
        ("nu", {"nu": 5}, "nu: expected 0 to 1, got 5"),
        ("gaussian", {"fpr": 0}, "fpr: expected above 0 and below 1, got 0"),
        ("fpr", {"labels": GOOD["scores"]}, "labels: expected a mask"),
        ("fpr", {"labels": GOOD["labels"][:, 1:]}, "labels: expected shape"),
        ("nu", {"scores": GOOD["labels"]}, "scores: expected a floating dtype, got bool"),
        ("quantile", {"scores": GOOD["scores"][:, :0]}, r"scores: expected shape .* not empty"),
        ("gaussian", {"where": GOOD["scores"]}, "where: expected bool"),
        ("quantile", {"where": GOOD["labels"][:, 1:]}, "where: expected shape"),
        ("decide", {"threshold": jnp.zeros(3)}, r"threshold: expected one number, or one an exam"),
        ("decide", {"scores": GOOD["labels"]}, "scores: expected a floating dtype"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name, change, message):
    function = inspect.unwrap(
        getattr(thresholds, "decide" if name == "decide" else f"{name}_threshold")
    )
    options = {"quantile": 0.5, "fpr": 0.5, "nu": 0.5, "threshold": 1.0, **GOOD}
    taken = {k: v for k, v in options.items() if k in inspect.signature(function).parameters}
    with pytest.raises(ValueError, match=message):
        # The public function as users have it, without the annotations' own check.
        functools.partial(function, **{**taken, **change})()
