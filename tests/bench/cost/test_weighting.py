import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from lossbench.bench.cost import weighting
from lossbench.objective import Objective
from lossbench.weighting import WEIGHTINGS

SHAPE = (1, 4, 8, 3)


@pytest.fixture(scope="module")
def problem():
    return weighting.make_problem(SHAPE)


def test_the_batch_is_noise_in_the_shape_asked_for(problem):
    assert problem.image.shape == (1, 4, 8, 1)
    assert problem.labels.shape == (1, 4, 8)
    assert set(np.unique(problem.labels)) == {0, 1, 2}
    logits = problem.model.apply({"params": problem.params}, problem.image)["logits"]
    assert logits.shape == SHAPE


@pytest.mark.parametrize("shape", [(1, 8, 3), (1, 6, 8, 3), (2, 8, 8, 10, 3)])
def test_what_the_network_cannot_take_is_refused(shape):
    with pytest.raises(ValueError, match=r"--shape=.*two or three axes of space whose sizes 4 div"):
        weighting.check_shape(shape)


def test_all_weightings_are_measured_unless_some_are_asked_for():
    assert weighting.names([]) == tuple(WEIGHTINGS)
    assert weighting.names(["dwa", "dwa", "pcgrad"]) == ("dwa", "pcgrad")
    with pytest.raises(ValueError, match="unknown weighting 'pcgrat'; did you mean 'pcgrad'"):
        weighting.names(["pcgrat"])


def test_terms_may_be_weighed_by_every_method():
    assert len(set(weighting.LOSSES)) == max(weighting.TERMS)
    for name in weighting.LOSSES:
        row = losses.CATALOG[name]
        assert row.lower_bound is not None
        assert row.lower_bound >= 0


@pytest.mark.parametrize("terms", [1, 2, 8])
@pytest.mark.parametrize("method", WEIGHTINGS)
def test_every_weighting_of_the_catalog_has_the_options_it_needs(method, terms):
    """Tracing alone: nothing is compiled."""
    made = weighting.objective(method, terms)
    assert list(made.terms) == list(weighting.LOSSES[:terms])
    assert made.weighting is not None
    if WEIGHTINGS[method].form in weighting.SHARING:
        shared = weighting.objective(method, terms, weighting.LAST_LAYER).shared
        assert shared == (weighting.LAST_LAYER,)


def test_the_last_layer_is_one_of_the_network(problem):
    assert set(problem.params["head_1"]) == {"kernel", "bias"}
    assert weighting.LAST_LAYER == "head_1/*"


def test_limits():
    assert weighting.limit("weights", 8) == 1.05
    assert weighting.limit("norms", 2) == 2.3
    assert weighting.limit("gramian", 3) == 3.3
    assert weighting.limit("gradients", 8) == 8.3


def test_the_plain_sum_is_value_and_gradient_of_the_sum(problem):
    one = weighting.contestant("plain", problem, None, 2)
    value, gradient = one.start()
    both = Objective.from_config({"terms": {"dice": {}, "cross_entropy": {}}})

    @jax.jit
    @jax.value_and_grad
    def expected(params):
        outputs = problem.model.apply({"params": params}, problem.image)
        return both({**outputs, "labels": jnp.asarray(problem.labels)}).total

    asked, wanted = expected(problem.params)
    np.testing.assert_allclose(value, asked, rtol=1e-5)
    for ours, theirs in zip(
        jax.tree.leaves(gradient.gradient), jax.tree.leaves(wanted), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    assert one.program.compile_seconds > 0
    assert one.program.temporary_bytes is not None


@pytest.mark.long
def test_weighed_steps_have_the_same_value_and_keep_their_state(problem):
    plain = weighting.contestant("plain", problem, None, 2).start()
    dwa = weighting.contestant("dwa", problem, "dwa", 2).start()
    last = weighting.contestant("last", problem, "pcgrad", 2, weighting.LAST_LAYER).start()
    np.testing.assert_allclose([dwa[0], last[0]], plain[0], rtol=1e-5)
    assert plain[1].gramian is None
    assert last[1].gramian.shape == (2, 2)
    assert len(jax.tree.leaves(dwa[1].weighting)) > 0
