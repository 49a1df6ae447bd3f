import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.models import ConcreteBandSelector, SoftChannelSelector, selected_bands

LOGITS = jnp.array([0.3, -1.0, 2.0, 0.5])
ROWS = jnp.array([[0.3, -1.0, 2.0, 0.5], [1.0, 0.9, -2.0, 0.0]])


def image(channels=4, space=(2, 3)):
    return jax.random.normal(jax.random.key(1), (2, *space, channels))


def variables(logits, step=0):
    return {"params": {"logits": logits}, "schedule": {"step": jnp.int32(step)}}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def at_step(step, start, end, steps):
    return start * (end / start) ** min(step / (steps - 1), 1)


def test_equal_weights_leave_the_image_as_it_is():
    x = image()
    outputs, drawn = SoftChannelSelector().init_with_output(jax.random.key(0), x)
    np.testing.assert_array_equal(outputs["selected"], x)
    np.testing.assert_array_equal(outputs["selector_weights"], [0.25] * 4)
    assert drawn["schedule"]["step"] == 0


@pytest.mark.parametrize("n_select", [None, 2])
def test_the_weights_sharpen_as_training_goes_on(n_select):
    """In training and in the evaluations between, which change nothing."""
    model, x = SoftChannelSelector(n_select, start=4.0, end=0.5, steps=3), image()
    train = jax.jit(functools.partial(model.apply, mutable=["schedule"]))
    evaluate = jax.jit(model.apply)
    state = variables(LOGITS)
    for step in range(5):
        expected = softmax(np.asarray(LOGITS, np.float64) / at_step(step, 4.0, 0.5, 3))
        for outputs in (evaluate(state, x), train(state, x)[0]):
            np.testing.assert_allclose(outputs["selector_weights"], expected, rtol=1e-5)
            factor = (n_select or 4) * expected
            np.testing.assert_allclose(outputs["selected"], np.asarray(x) * factor, rtol=1e-5)
        state = {**state, **train(state, x)[1]}


def test_without_noise_two_calls_in_training_are_the_same():
    model, x = SoftChannelSelector(), image()
    rngs = [{"gumbel": jax.random.key(i)} for i in range(2)]
    a, b = (model.apply(variables(LOGITS), x, rngs=r)["selector_weights"] for r in rngs)
    np.testing.assert_array_equal(a, b)


def test_hard_keeps_the_best_as_they_are_with_the_soft_gradient():
    model, x = SoftChannelSelector(2, hard=True, start=2.0), image()
    target = jnp.arange(4.0)

    def value(logits, hard):
        outputs = model.clone(hard=hard).apply(variables(logits), x)
        return outputs["selector_weights"] @ target, outputs

    (_, outputs), gradient = jax.value_and_grad(value, has_aux=True)(LOGITS, True)
    np.testing.assert_array_equal(outputs["selector_weights"], [0, 0, 0.5, 0.5])
    np.testing.assert_array_equal(outputs["selected"], x * jnp.array([[[[0, 0, 1, 1]]]]))
    soft = jax.grad(value, has_aux=True)(LOGITS, False)[0]
    np.testing.assert_allclose(gradient, soft, atol=1e-6)
    assert np.all(np.abs(gradient) > 1e-3)


def test_variances_begin_the_weights_whatever_their_unit():
    variances = np.array([4.0, 1.0, 0.0, 2.0])
    for unit in (1.0, 1e-8):
        model = SoftChannelSelector(start=1.0, variances=[float(v) for v in unit * variances])
        assert isinstance(hash(model), int)
        outputs, _ = model.init_with_output(jax.random.key(0), image())
        expected = np.maximum(variances, 4e-6)
        np.testing.assert_allclose(
            outputs["selector_weights"], expected / expected.sum(), rtol=1e-5, atol=1e-9
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hard": True}, "hard=True needs n_select"),
        ({"n_select": 5}, "n_select must be between 1 and the image's 4 channels, got 5"),
        ({"variances": (1.0, 2.0)}, r"variances: expected shape \(4,\)"),
        ({"end": 0.0}, "start and end must be above 0"),
    ],
)
def test_what_cannot_be_weighed_says_why(options, message):
    with pytest.raises(ValueError, match=message):
        SoftChannelSelector(**options).init(jax.random.key(0), image())


def test_rows_are_the_softmax_at_the_temperature_of_the_step():
    model, x = ConcreteBandSelector(2, tau_start=5.0, tau_end=0.5, steps=4), image()
    train = jax.jit(functools.partial(model.apply, mutable=["schedule"]))
    state = variables(ROWS)
    for step in range(5):
        outputs, changed = train(state, x)
        expected = softmax(np.asarray(ROWS, np.float64) / at_step(step, 5.0, 0.5, 4))
        np.testing.assert_allclose(outputs["selector_weights"], expected, rtol=1e-5)
        np.testing.assert_allclose(
            outputs["selected"], np.asarray(x, np.float64) @ expected.T, atol=1e-5
        )
        state = {**state, **changed}


def test_noise_follows_its_key_and_only_a_key_brings_it():
    model, x = ConcreteBandSelector(2, tau_start=1.0), image()

    def weights(**options):
        outputs, _ = model.apply(variables(ROWS), x, mutable=["schedule"], **options)
        return np.asarray(outputs["selector_weights"])

    one, same, other = (weights(rngs={"gumbel": jax.random.key(i)}) for i in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.05
    np.testing.assert_allclose(weights(), softmax(np.asarray(ROWS)), rtol=1e-5)


def test_noise_picks_each_channel_as_often_as_its_probability():
    """The largest of logits with Gumbel noise is drawn from their softmax."""
    model, x = ConcreteBandSelector(2, straight_through=True), image()

    @jax.jit
    @jax.vmap
    def pick(key):
        return model.apply(variables(ROWS), x, rngs={"gumbel": key})["selector_weights"]

    picked = np.asarray(pick(jax.random.split(jax.random.key(0), 4000)))
    assert set(np.unique(picked)) == {0, 1}
    np.testing.assert_allclose(picked.mean(0), softmax(np.asarray(ROWS)), atol=0.03)


def test_straight_through_is_hard_with_the_soft_gradient():
    x, key = image(), jax.random.key(3)
    target = jnp.arange(8.0).reshape(2, 4)

    def value(logits, hard):
        model = ConcreteBandSelector(2, tau_start=1.0, straight_through=hard)
        outputs, _ = model.apply(variables(logits), x, rngs={"gumbel": key}, mutable=["schedule"])
        return jnp.sum(outputs["selector_weights"] * target), outputs["selector_weights"]

    (gradient, weights), (soft, _) = (
        jax.grad(value, has_aux=True)(ROWS, hard) for hard in (True, False)
    )
    assert np.isin(weights, (0, 1)).all()
    np.testing.assert_array_equal(weights.sum(1), [1, 1])
    np.testing.assert_allclose(gradient, soft, atol=1e-6)
    assert np.abs(gradient).min() > 1e-4


def test_evaluation_picks_channels_or_mixes_them_softly():
    x = image()
    hard = ConcreteBandSelector(2).apply(variables(ROWS), x)
    np.testing.assert_array_equal(hard["selector_weights"], [[0, 0, 1, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(hard["selected"], x[..., jnp.array([2, 0])])
    soft = ConcreteBandSelector(2, tau_end=0.1, steps=3, evaluation="soft")
    got = soft.apply(variables(ROWS, step=9), x)["selector_weights"]
    np.testing.assert_allclose(got, softmax(np.asarray(ROWS, np.float64) / 0.1), rtol=1e-4)


def test_distinct_rows_pick_each_channel_once():
    """Softly, a row weighs `softmax(logits / tau)` of logits `+ log(1 - what is taken)`."""
    x, alike = image(), jnp.broadcast_to(LOGITS, (3, 4))
    model = ConcreteBandSelector(3, tau_start=0.5, distinct=True)
    hard = model.apply(variables(alike), x)["selector_weights"]
    np.testing.assert_array_equal(hard, np.eye(4)[[2, 3, 0]])
    assert selected_bands({"logits": alike}, distinct=True).tolist() == [2, 3, 0]
    soft = model.apply(variables(alike), x, mutable=["schedule"])[0]["selector_weights"]
    left, expected = np.ones(4), []
    for row in np.asarray(alike, np.float64):
        expected.append(softmax((row + np.log(np.maximum(left, 1e-30))) / 0.5))
        left = left - expected[-1]
    np.testing.assert_allclose(soft, expected, rtol=1e-4, atol=1e-6)


def test_distinct_rows_stay_distinct_and_finite_when_sharp():
    x = image()

    @jax.jit
    def value(logits):
        model = ConcreteBandSelector(3, tau_start=0.1, distinct=True, straight_through=True)
        rngs = {"gumbel": jax.random.key(0)}
        outputs, _ = model.apply(variables(logits), x, mutable=["schedule"], rngs=rngs)
        return jnp.sum(outputs["selected"] ** 2), outputs["selector_weights"]

    gradient, weights = jax.grad(value, has_aux=True)(jnp.zeros((3, 4)).at[:, 1].set(20))
    assert float(weights.sum(0).max()) == 1
    assert bool(jnp.isfinite(gradient).all())


def test_rows_begin_apart():
    model = ConcreteBandSelector(5)
    logits = model.init(jax.random.key(0), image(channels=30))["params"]["logits"]
    assert logits.shape == (5, 30)
    apart = jnp.abs(logits[:, None] - logits[None]).max(-1)
    assert bool(jnp.all((apart > 0.005) | jnp.eye(5, dtype=bool)))
    assert float(jnp.abs(logits).max()) < 0.05


def test_picks_the_band_that_carries_the_signal():
    """100 steps: channel 3 of 6 is the target, the rest is noise."""
    keys = jax.random.split(jax.random.key(0), 100)
    x = jax.random.normal(jax.random.key(1), (200, 6))
    model = ConcreteBandSelector(1, steps=100)
    state = model.init(jax.random.key(2), x)

    def step(state, key):
        def loss(params):
            outputs, changed = model.apply(
                {**state, "params": params}, x, rngs={"gumbel": key}, mutable=["schedule"]
            )
            return jnp.mean((outputs["selected"][:, 0] - x[:, 3]) ** 2), changed

        gradient, changed = jax.grad(loss, has_aux=True)(state["params"])
        params = jax.tree.map(lambda p, g: p - 5 * g, state["params"], gradient)
        return {"params": params, **changed}, None

    state, _ = jax.jit(lambda state: jax.lax.scan(step, state, keys))(state)
    assert selected_bands(state["params"]).tolist() == [3]
    assert state["schedule"]["step"] == 100
    np.testing.assert_array_equal(model.apply(state, x)["selected"], x[:, 3:4])


@pytest.mark.parametrize("model", [SoftChannelSelector(), ConcreteBandSelector(2)])
def test_nan_that_does_not_count_reaches_no_gradient(model):
    x, where = image(), jnp.ones((2, 2, 3), bool).at[1, 0].set(False)
    state = model.init(jax.random.key(0), x)

    @jax.jit
    def gradient(x):
        def loss(params):
            outputs, _ = model.apply({**state, "params": params}, x, where, mutable=["schedule"])
            return jnp.sum(jnp.where(where[..., None], outputs["selected"], 0) ** 2)

        return jax.grad(loss)(state["params"])["logits"]

    spoiled = jnp.where(where[..., None], x, jnp.nan)
    assert bool(jnp.isfinite(gradient(spoiled)).all())
    np.testing.assert_array_equal(gradient(spoiled), gradient(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": 5}, "bands must be between 1 and the image's 4 channels, got 5"),
        ({"evaluation": "argmax"}, "evaluation: expected one of 'hard', 'soft', got 'argmax'"),
        ({"tau_start": -1.0}, "start and end must be above 0"),
    ],
)
def test_what_cannot_be_picked_says_why(options, message):
    with pytest.raises(ValueError, match=message):
        ConcreteBandSelector(**options).init(jax.random.key(0), image())


def test_selected_bands_of_selectors_and_networks():
    assert selected_bands({"selector": {"logits": ROWS}, "head": {}}).tolist() == [2, 0]
    assert selected_bands({"logits": LOGITS}, count=3).tolist() == [2, 3, 0]
    with pytest.raises(ValueError, match="has 2 bands; give no count"):
        selected_bands({"logits": ROWS}, count=2)
    with pytest.raises(ValueError, match="needs a count from 1 to its 4 channels, got None"):
        selected_bands({"logits": LOGITS})
    with pytest.raises(ValueError, match="which have an entry \"logits\"; got 'kernel'"):
        selected_bands({"kernel": ROWS})
