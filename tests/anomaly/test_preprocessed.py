"""A model behind its preprocessing: what it is given, and what it was fitted to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench.anomaly.pipeline import Pipeline
from lossbench.anomaly.preprocessed import Preprocessed
from tests.training.conftest import same

IMAGES = 100 * jax.random.normal(jax.random.key(0), (3, 6, 7, 4)) + 7
WHERE = jax.random.uniform(jax.random.key(1), (3, 6, 7)) < 0.8


class Doubling:
    """Gives twice its image, and fits a mean to what it is shown."""

    reads = ("image", "where")
    draws = ("noise",)
    held = ("mean",)
    undecayed = ("w",)

    def init(self, key, image, where=None):
        return {"params": {"w": jnp.ones(()), "mean": jnp.zeros(())}, "seen": {"n": jnp.zeros(())}}

    def apply(self, variables, image, where=None, *, mutable=False, rngs=None):
        outputs = {"logits": 2 * variables["params"]["w"] * image}
        return (outputs, {"seen": {"n": variables["seen"]["n"] + 1}}) if mutable else outputs

    def prepare(self, variables, batches):
        mean = jnp.mean(jnp.stack([batch["image"].mean() for batch in batches()]))
        return {**variables, "params": {**variables["params"], "mean": mean}}


@pytest.fixture(scope="module")
def fitted():
    model = Preprocessed(Pipeline.from_config({"min_max": {}, "z_score": {}}), Doubling())
    variables = model.init(jax.random.key(2), IMAGES, WHERE)
    batches = [{"image": IMAGES[i : i + 1], "where": WHERE[i : i + 1]} for i in range(3)]
    return model, variables, model.prepare(variables, lambda: batches)


def test_the_model_is_given_what_the_steps_give(fitted):
    model, _, variables = fitted
    outputs = jax.jit(model.apply)(variables, IMAGES, WHERE)
    counted = np.asarray(outputs["image"], np.float64)[np.asarray(WHERE)]
    np.testing.assert_allclose(counted.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(counted.std(0, ddof=1), 1, rtol=1e-4)
    np.testing.assert_allclose(outputs["logits"], 2 * outputs["image"], rtol=1e-6)


def test_what_the_model_fits_itself_sees_processed_images(fitted):
    _, before, variables = fitted
    assert before["params"]["mean"] == 0
    assert abs(float(variables["params"]["mean"])) < 1  # the images' own is about 7
    assert set(variables["params"]["preprocessing"]) == {"min_max", "z_score"}
    assert jax.tree.structure(before) == jax.tree.structure(variables)


def test_in_training_the_models_collections_move_and_nothing_else(fitted):
    model, _, variables = fitted
    kept = jax.tree.map(jnp.copy, variables)
    _, changed = model.apply(variables, IMAGES, WHERE, mutable=["seen"])
    assert changed == {"seen": {"n": 1}}
    assert same(kept, variables)


def test_what_the_model_says_of_itself_is_passed_on(fitted):
    model = fitted[0]
    assert (model.reads, model.draws) == (("image", "where"), ("noise",))
    assert model.held == ("preprocessing/*", "mean")
    assert model.undecayed == ("preprocessing/*", "w")


def test_one_number_an_image_says_it_of_all_its_pixels():
    model = Preprocessed(Pipeline.from_config({"z_score": {}}), Doubling())
    variables = model.init(jax.random.key(0), IMAGES)
    batch = {"image": IMAGES, "where": jnp.array([True, False, True])}
    found = model.prepare(variables, lambda: [batch])["params"]["preprocessing"]["z_score"]
    kept = np.asarray(IMAGES, np.float64)[[0, 2]].reshape(-1, 4)
    np.testing.assert_allclose(found["mean"], kept.mean(0), rtol=1e-5)


def test_what_does_not_count_reaches_no_gradient_of_the_arrays(fitted):
    model, _, variables = fitted
    spoiled = jnp.where(WHERE[..., None], IMAGES, jnp.nan)

    def total(params):
        outputs = model.apply({**variables, "params": params}, spoiled, WHERE)
        return jnp.sum(jnp.where(WHERE[..., None], outputs["logits"], 0))

    gradient = jax.grad(total)(variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
