"""What every weighting of losses does: the same properties for each row of the table."""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import weighting
from lossbench.weighting import WEIGHTINGS

ROWS = [row for row in WEIGHTINGS.values() if row.form in ("weights", "norms")]
ALL = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
STEPS = 6
# Terms that are not alike to these: by their place, their draw or their own options.
NOT_SYMMETRIC = {"scheduled", "stages", "random", "last_layer_ratio"}


def build(row, terms=2, **options):
    """A weighting, with what it cannot do without."""
    if row.name == "scheduled":
        options.setdefault("schedules", [0.5 + i for i in range(terms)])
    if row.name == "stages":
        weights = np.ones(terms)
        options.setdefault("stages", [(0, weights), (2, 2 * weights), (4, weights)])
        options.setdefault("blend", 2)
    return row.function(**options)


@functools.cache
def runs(row, terms):
    """A program: losses and squared norms `cases steps terms` -> weights, and states after."""
    init, update, needs_gramian, _ = build(row, terms)

    def step(state, now):
        values, squares = now
        weights, state = update(values, state, jnp.diag(squares) if needs_gramian else None)
        return state, (weights, state)

    def run(values, squares):
        return jax.lax.scan(step, init(terms, 3), (values, squares))[1]

    return jax.jit(jax.vmap(run))


@pytest.fixture(scope="module", autouse=True)
def _programs_end_with_the_file():
    yield
    runs.cache_clear()


def sequences(terms, *, negative=False):
    """Losses and squared norms of many kinds, `cases STEPS terms`."""
    rng = np.random.default_rng(terms)
    size = (STEPS, terms)
    usual = rng.uniform(0.5, 2.0, size)
    scales = 10.0 ** np.linspace(-6, 6, terms)
    cases = [
        usual,
        np.zeros(size),
        usual * (rng.random(size) < 0.5),
        np.ones(size),
        np.broadcast_to(usual[:, :1], size),
        usual * scales,
        usual * scales[::-1] ** rng.choice([-1, 1], size),
        np.full(size, np.nan),
        np.where(rng.random(size) < 0.5, np.nan, usual),
        np.where(rng.random(size) < 0.5, np.inf, usual),
        np.where(np.arange(STEPS)[:, None] < 3, np.nan, usual),
    ]
    if negative:
        cases += [-usual, rng.normal(size=size), -usual * scales]
    values = np.stack(cases).astype(np.float32)
    squares = np.stack([np.abs(np.roll(case, 1, axis=-1)) ** 2 for case in cases])
    return values, squares.astype(np.float32)


@ALL
@pytest.mark.parametrize("terms", [1, 2, 3, 8])
def test_weights_and_states_are_finite_whatever_the_losses(row, terms):
    values, squares = sequences(terms, negative=not build(row, terms).positive)
    weights, states = runs(row, terms)(values, squares)
    assert weights.shape == values.shape
    assert weights.dtype == jnp.float32
    for leaf in (weights, *jax.tree.leaves(states)):
        assert np.isfinite(leaf).all()
    lost = ~np.isfinite(values)
    if build(row, terms).needs_gramian:
        lost |= ~np.isfinite(squares)
    np.testing.assert_array_equal(weights[lost], 0)


@ALL
def test_a_term_that_is_never_finite_is_as_if_it_were_not_there(row):
    values, squares = sequences(3)
    values, squares = values[[0, 2, 5, 8]], squares[[0, 2, 5, 8]]
    for lost in (np.nan, np.inf):
        values[..., 2], squares[..., 2] = lost, 1
        weights, _ = runs(row, 3)(values, squares)
        alone, _ = runs(row, 2)(values[..., :2], squares[..., :2])
        np.testing.assert_allclose(weights[..., :2], alone, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(weights[..., 2], 0)


@pytest.mark.parametrize("row", [r for r in ROWS if r.form == "norms"], ids=lambda row: row.name)
def test_a_gradient_that_is_not_finite_takes_its_term_away(row):
    values, squares = sequences(3)
    squares[..., 2] = np.nan
    weights, _ = runs(row, 3)(values[[0, 2, 5]], squares[[0, 2, 5]])
    alone, _ = runs(row, 2)(values[[0, 2, 5], :, :2], squares[[0, 2, 5], :, :2])
    np.testing.assert_allclose(weights[..., :2], alone, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(weights[..., 2], 0)


@ALL
def test_what_is_kept_of_a_term_stays_while_it_is_away(row):
    values, squares = sequences(3)
    values = values[:1].repeat(2, axis=0)
    values[:, 3, 1] = np.nan
    squares = squares[:1].repeat(2, axis=0)
    _, states = runs(row, 3)(values, squares)
    for name, leaf in zip(states._fields, states, strict=True):
        for entry in jax.tree.leaves(leaf):
            if entry.ndim == 3 and name != "weights":
                np.testing.assert_array_equal(entry[:, 3, 1], entry[:, 2, 1])


@ALL
def test_a_state_goes_through_a_loop_that_donates_it(row):
    init, update, *_ = build(row)
    state = init(2, 1)
    places = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
    assert len(set(places)) == len(places)
    step = jax.jit(update, donate_argnums=1)
    dtypes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)]
    values = jnp.array([1.0, 2.0])
    for _ in range(3):
        weights, state = step(values, state, jnp.eye(2))
        assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)] == dtypes
    assert weights.shape == weighting.get_weights(state).shape == (2,)
    assert step._cache_size() == 1


@pytest.mark.parametrize(
    "row", [r for r in ROWS if r.name not in NOT_SYMMETRIC], ids=lambda row: row.name
)
def test_the_order_of_the_terms_does_not_matter(row):
    values, squares = sequences(3)
    values, squares = values[[0, 2, 5, 8]], squares[[0, 2, 5, 8]]
    weights, _ = runs(row, 3)(values, squares)
    order = np.array([2, 0, 1])
    turned, _ = runs(row, 3)(values[..., order], squares[..., order])
    np.testing.assert_allclose(turned, weights[..., order], rtol=2e-4, atol=1e-6)


def number_options(row):
    """The options that are numbers and may be traced, with their defaults."""
    parameters = inspect.signature(row.function).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, float)}


@ALL
def test_options_that_are_numbers_may_be_traced(row):
    options = number_options(row)
    values, gramian = jnp.array([[2.0, 1.0], [1.5, 1.2], [1.0, 1.1]]), jnp.diag(jnp.array([4.0, 1]))

    def weights(options):
        init, update, *_ = build(row, **options)
        step = lambda state, value: update(value, state, gramian)[::-1]  # noqa: E731
        return jax.lax.scan(step, init(2), values)[1]

    traced = jax.jit(weights)(options)
    np.testing.assert_allclose(traced, weights({}), rtol=1e-5)


@ALL
def test_all_stays_float32_beside_float64(row):
    with jax.enable_x64(True):
        options = {name: jnp.float64(default) for name, default in number_options(row).items()}
        init, update, *_ = build(row, **options)
        state = init(2, 1)
        weights, after = jax.eval_shape(update, jnp.ones(2, jnp.float64), state, jnp.eye(2))
    assert weights.dtype == jnp.float32
    for before, leaf in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert before.dtype == leaf.dtype != jnp.float64
        assert leaf.dtype != jnp.int64


@ALL
def test_an_option_that_cannot_be_is_refused_by_its_name(row):
    for name, wrong in itertools.product(number_options(row), (np.nan, "much", None)):
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            build(row, **{name: wrong})


@ALL
def test_another_number_of_losses_is_refused(row):
    init, update, *_ = build(row)
    with pytest.raises(ValueError, match=r"values: expected shape \(2,\) \(terms\), got \(3,\)"):
        update(jnp.ones(3), init(2), jnp.eye(3))


@ALL
def test_a_missing_gramian_is_asked_for(row):
    init, update, needs_gramian, _ = build(row)
    assert needs_gramian == (row.form == "norms")
    if needs_gramian:
        with pytest.raises(ValueError, match=f"{row.name} needs the Gramian"):
            update(jnp.ones(2), init(2))
        with pytest.raises(ValueError, match=r"gramian: expected shape \(2, 2\)"):
            update(jnp.ones(2), init(2), jnp.eye(3))


@ALL
def test_the_row_says_what_the_weighting_does(row):
    assert build(row).positive == row.positive
    assert getattr(weighting, row.name) is row.function


@ALL
def test_the_documentation_has_all_its_parts(row):
    text = inspect.getdoc(row.function)
    parts = ["Returns:", "Raises:", "Example:"]
    parts += ["Args:"] if inspect.signature(row.function).parameters else []
    parts += ["Reference:"] if row.paper else []
    assert [part for part in parts if part not in text] == []
