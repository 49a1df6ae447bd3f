"""An encoder that begins as an autoencoder's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.anomaly.svdd_options import SvddOptions
from lossbench.models import SVDDAutoencoder, SVDDEncoder
from lossbench.training.pretraining import Pretrained
from tests.training.conftest import same

# Two directions in five channels: an embedding of two can hold all of it.
ROWS = jax.random.normal(jax.random.key(0), (64, 2)) @ jax.random.normal(jax.random.key(1), (2, 5))
BATCHES = [{"image": ROWS[:32]}, {"image": ROWS[32:]}]
ENCODER = SVDDEncoder(features=(8, 2))


def trained(steps, seed=2):
    options = SvddOptions(pretrain_steps=steps, pretrain_learning_rate=1e-2)
    model = Pretrained(ENCODER, options)
    variables = model.init(jax.random.key(seed), ROWS)
    return variables, model.prepare(variables, lambda: BATCHES)


def error_with_best_decoder(variables):
    """Mean squared error of the best linear map back, by least squares in float64."""
    z = np.asarray(ENCODER.apply(variables, ROWS)["embeddings"], np.float64)
    x = np.asarray(ROWS, np.float64)
    back, *_ = np.linalg.lstsq(z, x, rcond=None)
    return np.mean((z @ back - x) ** 2)


def test_the_encoder_learns_to_keep_its_input():
    before, after = trained(200)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    assert error_with_best_decoder(after) < 0.3 * error_with_best_decoder(before)


def test_it_is_the_same_again_and_another_for_another_seed():
    assert same(trained(3)[1], trained(3)[1])
    assert not same(trained(3)[1], trained(3, seed=5)[1])


def test_the_decoder_differs_from_seed_to_seed_and_the_encoder_is_as_it_was():
    from lossbench.training.pretraining import _with_decoder

    wholes = []
    for seed in (0, 0, 1):
        variables = ENCODER.init(jax.random.key(seed), ROWS)
        whole = _with_decoder(SVDDAutoencoder(ENCODER), variables, BATCHES[0])
        assert same(whole["params"]["encoder"], variables["params"])
        wholes.append(whole["params"]["decoder"])
    assert same(wholes[0], wholes[1])
    assert not same(wholes[0], wholes[2])


def test_another_model_has_no_decoder():
    with pytest.raises(ValueError, match="svdd_encoder alone, not of object"):
        Pretrained(object(), SvddOptions(pretrain_steps=1))


def test_an_error_that_is_not_finite_ends_it():
    model = Pretrained(ENCODER, SvddOptions(pretrain_steps=2))
    variables = model.init(jax.random.key(0), ROWS)
    with pytest.raises(ValueError, match=r"lower svdd.pretrain_learning_rate"):
        model.prepare(variables, lambda: [{"image": ROWS * jnp.inf}])


def test_images_with_one_label_each_are_pretrained_too():
    """As digits are: one `where` an image, and an encoder of whole images."""
    encoder = SVDDEncoder("lenet", channels=(2,), features=(3,))
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
    where = jnp.array([True, True, False, True])
    model = Pretrained(encoder, SvddOptions(pretrain_steps=2))
    variables = model.init(jax.random.key(1), images, where)
    after = model.prepare(variables, lambda: [{"image": images, "where": where}])
    spoiled = jnp.where(where[:, None, None, None], images, 7.0)
    assert same(after, model.prepare(variables, lambda: [{"image": spoiled, "where": where}]))
    assert not same(after, variables)
