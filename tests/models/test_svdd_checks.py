import warnings

import jax
import jax.numpy as jnp
import pytest

from lossbench.models import LearnableChannelMixer, SVDDAutoencoder, SVDDEncoder, check_svdd
from lossbench.models.unet import Block

GOOD = jnp.array([0.5, -1.0])


def params_of(model, shape=(2, 12, 12, 3)):
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))["params"]


@pytest.mark.parametrize(
    "model",
    [
        SVDDEncoder(),
        SVDDEncoder("lenet"),
        SVDDEncoder(normalization="layer_no_affine", activation="elu"),
        SVDDAutoencoder(SVDDEncoder()),
    ],
)
def test_the_encoders_pass(model):
    check_svdd(params_of(model), model, GOOD)


def test_biases_are_refused_by_their_paths_with_the_reason():
    params = params_of(SVDDEncoder(use_bias=True))
    with pytest.raises(ValueError, match=r"dense_0/bias, dense_1/bias: .*Proposition 2.*use_bias="):
        check_svdd(params)
    check_svdd(params, allow=["dense_*/bias"])
    check_svdd(params, allow=["*bias"])
    with pytest.raises(ValueError, match="check_svdd: dense_1/bias: Deep SVDD must not train"):
        check_svdd(params, allow=["dense_0/*"])


@pytest.mark.parametrize("name", ["bias_0", "beta", "offset", "shift", "mean"])
def test_other_names_of_offsets(name):
    with pytest.raises(ValueError, match=f"check_svdd: a/{name}: .*offsets"):
        check_svdd({"a": {name: jnp.ones(2)}})


@pytest.mark.parametrize("name", ["scale", "scale_1", "std", "gamma"])
def test_factors_of_normalizations(name):
    with pytest.raises(ValueError, match=f"check_svdd: a/{name}: .*factors of a normalization"):
        check_svdd({"a": {"kernel": jnp.ones(2), name: jnp.ones(2)}})


def test_layers_of_other_networks_are_found():
    for model in (Block(2, 1, False), LearnableChannelMixer((2,))):
        with pytest.raises(ValueError, match=r"check_svdd: .*bias"):
            check_svdd(params_of(model))


def test_parameters_may_come_by_their_paths():
    with pytest.raises(ValueError, match="check_svdd: preprocessing/z_score/mean: "):
        check_svdd({"preprocessing/z_score/mean": jnp.ones(2), "dense_0/kernel": jnp.ones(2)})


def test_names_within_names_are_no_offsets():
    check_svdd({"bias": {"kernel": jnp.ones(2)}, "unbiased": jnp.ones(2)})


def test_a_pattern_that_allows_nothing_is_an_error():
    with pytest.raises(
        ValueError, match=r"allow='head/\*' matches no parameter; there are: kernel"
    ):
        check_svdd({"kernel": jnp.ones(2)}, allow=["head/*"])


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_bounded_activations_are_warned_of(activation):
    model = SVDDEncoder(activation=activation)
    with pytest.warns(UserWarning, match=f"activation='{activation}' is bounded.*Proposition 3"):
        check_svdd({}, model)
    with pytest.warns(UserWarning, match="is bounded"):
        check_svdd({}, SVDDAutoencoder(model))


def test_fourier_features_are_warned_of():
    with pytest.warns(UserWarning, match="fourier_features=16 are cosines"):
        check_svdd({}, SVDDEncoder(fourier_features=16))


def test_a_center_of_zeros_or_near_them_is_warned_of():
    with pytest.warns(UserWarning, match="the center is 0.*Proposition 1"):
        check_svdd({}, center=jnp.zeros(3))
    with pytest.warns(UserWarning, match=r"2 of the center's 3 components .*components 0, 2"):
        check_svdd({}, center=jnp.array([0.0, 0.5, -0.05]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_svdd({}, center=jnp.array([0.1, -0.1, 3.0]))
        check_svdd({}, center=jnp.array([0.02, -0.01]), eps=0.01)


def test_a_center_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="the center is not finite"):
        check_svdd({}, center=jnp.array([0.5, jnp.nan]))
