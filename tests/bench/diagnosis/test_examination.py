"""The doctor on models and data: objectives that are broken on purpose, and one that is not."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lossbench import losses
from lossbench.bench.diagnosis import diagnose
from lossbench.bench.diagnosis.examination import Diagnosis, Examination, take
from lossbench.bench.diagnosis.findings import findings
from lossbench.bench.diagnosis.proposal import propose
from lossbench.objective import Objective, Term
from tests.bench.diagnosis.made import drawn, seen
from tests.pixelwise import Pixelwise

BATCHES = 6


class Two(nn.Module):
    """Logits of three classes, and one more channel beside them."""

    @nn.compact
    def __call__(self, image: jax.Array) -> dict[str, jax.Array]:
        return {"logits": nn.Dense(3)(image), "single": nn.Dense(1, name="single")(image)}


def batch(k):
    rng = np.random.default_rng(k)
    labels = rng.integers(0, 3, (2, 8, 8)).astype(np.int32)
    image = np.stack([labels == 1, labels == 2], axis=-1) + rng.normal(size=(2, 8, 8, 2))
    return {
        "image": image.astype(np.float32),
        "labels": labels,
        "where": rng.uniform(size=labels.shape) < 0.9,
        "nowhere": np.zeros(labels.shape, bool),
    }


DATA = [batch(k) for k in range(BATCHES)]


def published(logits, labels):
    """The cross entropy of a softmax over one channel, as it sits in published code: 0."""
    truth = (labels > 0).astype(logits.dtype)[..., None]
    return -jnp.mean(truth * jax.nn.log_softmax(logits), axis=(1, 2, 3))


def logarithm(logits, labels):
    """Of numbers below 0."""
    return jnp.mean(jnp.log(-1 - logits**2), axis=(1, 2, 3))


def without_overlap(logits, labels, *, where=None):
    """Dice with its sign the wrong way round."""
    return -losses.dice(logits, labels, where=where)


BROKEN = {
    "cross_entropy": Term(losses.cross_entropy),
    "dice": Term(losses.dice, weight=1000.0),
    "focal": Term(losses.focal),
    "again": Term(losses.cross_entropy, weight=2.0),
    "single": Term(published, inputs={"logits": "single"}),
    "masked": Term(losses.dice, inputs={"where": "nowhere"}),
    "nan": Term(logarithm),
    "upside_down": Term(without_overlap),
}


@pytest.fixture(scope="module")
def broken():
    return diagnose(Two(), Objective(BROKEN), DATA)


def root_of_zero(logits, labels):
    """0, with a derivative that is infinite."""
    return jnp.sqrt(jnp.mean((logits - jax.lax.stop_gradient(logits)) ** 2, axis=(1, 2, 3)))


def test_a_gradient_that_is_not_finite_is_not_taken_for_one_of_0():
    objective = Objective({"dice": Term(losses.dice), "root": Term(root_of_zero)})
    found = diagnose(Two(), objective, DATA[:2])
    assert "finite, but its gradient is not, on each of 2" in of_kind(found, "not finite")["root",]
    assert found.moment.term("dice").finite == 2


def of_kind(diagnosis, kind):
    return {one.terms: one.text for one in diagnosis.findings if one.kind == kind}


def test_everything_that_is_broken_is_named(broken):
    assert [(one.kind, one.terms) for one in broken.findings] == [
        ("not finite", ("nan",)),
        ("dominates", ("dice",)),
        ("dead", ("single",)),
        ("dead", ("masked",)),
        ("identical", ("cross_entropy", "again")),
        ("opposite", ("dice", "upside_down")),
    ]
    dead = of_kind(broken, "dead")
    assert "softmax over one is 1 at every logit" in dead["single",]
    assert "its `where` counts no pixel" in dead["masked",]


def test_a_broken_term_changes_no_number_of_the_others(broken):
    """Equal to a diagnosis of the terms that are whole, with the same parameters."""
    names = ("cross_entropy", "focal")
    objective = Objective({name: BROKEN[name] for name in names})
    variables = Two().init(jax.random.key(0), DATA[0]["image"])
    alone = diagnose(Two(), objective, DATA, variables=variables).moment
    for name in names:
        one, other = alone.term(name), broken.moment.term(name)
        assert one.norm == pytest.approx(other.norm, rel=1e-5)
        assert one.mean == pytest.approx(other.mean, rel=1e-6)
        assert one.signal_to_noise == pytest.approx(other.signal_to_noise, rel=1e-3)
    pair = alone.pair(*names)
    assert pair.cosine == pytest.approx(broken.moment.pair(*names).cosine, abs=1e-5)


def test_the_proposal_repairs_what_weights_can(broken):
    weights = broken.weights
    norms = {term.name: term.norm for term in broken.moment.terms}
    kept = [term.name for term in broken.proposal.kept]
    assert kept == ["cross_entropy", "dice", "focal"]
    weighted = [weights[name] * norms[name] for name in kept]
    np.testing.assert_allclose(weighted, weighted[0], rtol=0.06)
    assert weights["dice"] < 1000 / 30
    assert (weights["again"], weights["upside_down"]) == (0, 0)
    assert (weights["single"], weights["masked"], weights["nan"]) == (1, 1, 1)


def test_shares_add_up_without_the_term_that_is_not_finite(broken):
    found = [term.share for term in broken.moment.terms if term.name != "nan"]
    assert sum(found) == pytest.approx(1)
    assert broken.moment.term("dice").share > 0.99
    assert broken.moment.term("upside_down").share < 0


@pytest.fixture(scope="module")
def single():
    return diagnose(Pixelwise(), Objective({"only": Term(losses.dice)}), DATA)


def test_one_term_alone(single):
    assert single.findings == ()
    assert dict(single.weights) == {"only": 1.0}
    assert single.moment.terms[0].share == pytest.approx(1)


def test_a_diagnosis_goes_on_with_an_earlier_one(single):
    objective = Objective({"only": Term(losses.dice)})
    later = diagnose(Pixelwise(), objective, DATA[:1], step=9, seed=1, earlier=single)
    assert [one.moment.step for one in later.examinations] == [0, 9]
    assert later.examinations[0] is single.examinations[0]
    other = Objective({"other": Term(losses.dice)})
    with pytest.raises(ValueError, match=r"terms only, this is one of other"):
        diagnose(Pixelwise(), other, DATA[:1], earlier=single)


def test_a_term_that_reaches_no_parameter_looked_at():
    objective = Objective(
        {"dice": Term(losses.dice), "other": Term(losses.dice, inputs={"logits": "logits"})}
    )
    found = diagnose(Two(), objective, DATA[:2], shared="single/*")
    assert found.shared == ("single/*",)
    assert [one.kind for one in found.findings] == ["dead", "dead"]
    assert all("none of it reaches these parameters" in one.text for one in found.findings)
    assert "the 3 parameters of single/*" in str(found)


def test_what_cannot_be_diagnosed_is_refused():
    objective = Objective({"dice": Term(losses.dice)})
    with pytest.raises(ValueError, match="no batch"):
        diagnose(Pixelwise(), objective, [])
    with pytest.raises(ValueError, match="nosuch"):
        diagnose(Pixelwise(), objective, DATA[:1], shared="nosuch/*")
    with pytest.raises(ValueError, match="'labels'"):
        diagnose(Pixelwise(), objective, [{"image": DATA[0]["image"]}])


def examined(moment):
    return Examination(moment, findings(moment, {}), propose(moment))


def test_changes_tell_which_gradient_moved_and_by_how_much():
    a, b, c = drawn(1.0, 1.0, 1.0)
    first = examined(seen({"a": a, "b": b, "c": c}))
    last = examined(seen({"a": 8 * a, "b": b, "c": 1.5 * c}, step=70))
    assert Diagnosis((first,)).changes() == []
    (said,) = Diagnosis((first, last)).changes()
    assert last.proposal.reference == "c"
    assert said.startswith("From step 0 to 70 the gradient of 'a' went from 1 to 5.3 times that")
    still = examined(seen({"a": 1.1 * a, "b": b, "c": 0 * c}, step=70))
    assert Diagnosis((first, still)).changes() == []


def test_batches_are_taken_from_a_stream_without_end():
    def stream():
        while True:
            yield {"image": np.zeros(2)}

    assert len(take(stream(), 3)) == 3


SIDE = 128


class Bias:
    """Its image is a prediction already; what it has for a parameter is a logit a pixel."""

    def init(self, key, image):
        return {"params": {"bias": jnp.zeros(image.shape[1:])}}

    def apply(self, variables, image):
        return {"logits": image + variables["params"]["bias"][None]}


def predicted_mask(share):
    """A disc of this share of the image, predicted one pixel off, with an edge that is unsure.

    The logit falls by 1 from pixel to pixel.
    """
    radius = SIDE * np.sqrt(share / np.pi)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    logits = (radius - np.hypot(x - 1, y)).astype(np.float32)
    return {"image": logits[None, ..., None], "labels": np.hypot(x, y)[None] < radius}


def ratio_by_hand(batch, *, alpha=0.25, gamma=2.0, smooth=1.0):
    """How many times smaller focal's gradient is than Dice's, from their derivatives, float64."""
    z, t = batch["image"][0, ..., 0].astype(np.float64), batch["labels"][0]
    p, q = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))
    log_p, log_q = -np.logaddexp(0, -z), -np.logaddexp(0, z)
    positive = alpha * q**gamma * (gamma * p * log_p - q)
    negative = (1 - alpha) * p**gamma * (p - gamma * q * log_q)
    focal = np.where(t, positive, negative) / z.size
    both, overlap = p.sum() + t.sum() + smooth, 2 * (p * t).sum() + smooth
    dice = -(2 * t * both - overlap) / both**2 * p * q
    return np.linalg.norm(dice) / np.linalg.norm(focal)


def segment_anything(weight):
    """The mask loss of Segment Anything: focal, a mean over pixels, and Dice, of a mask each."""
    focal = {"loss": "sigmoid_focal", "gamma": 2.0, "alpha": 0.25, "weight": weight}
    dice = {"activation": "sigmoid", "smooth": 1.0}
    return Objective.from_config({"terms": {"focal": focal, "dice": dice}})


@pytest.mark.parametrize(("share", "ratio"), [(0.0205, 40), (0.041, 20), (0.082, 10)])
def test_twenty_to_one_of_segment_anything_is_that_of_gradient_norms(share, ratio):
    """Of a mask that is found to a pixel: 20 at 4 % of the image, and 1 over that share beside."""
    batch = predicted_mask(share)
    exact = ratio_by_hand(batch)
    assert exact == pytest.approx(ratio, rel=0.12)
    found = diagnose(Bias(), segment_anything(1.0), [batch])
    assert found.proposal.ratio == f"{exact:.2g} : 1"
    assert found.weights["focal"] / found.weights["dice"] == pytest.approx(exact, rel=0.05)
    times = found.moment.term("dice").norm / found.moment.term("focal").norm
    assert times == pytest.approx(exact, rel=1e-4)
    assert found.moment.term("focal").share < 0.15
    assert [term.share for term in found.proposal.terms] == pytest.approx([0.5, 0.5], abs=0.03)
    if ratio == 20:
        sentence = (
            f"times smaller than that of 'dice', so {exact:.2g} : 1 gives both the same share"
        )
        assert sentence in str(found)
        assert diagnose(Bias(), segment_anything(20.0), [batch]).proposal.balanced


def test_before_training_segment_anything_s_weights_are_the_wrong_way_round():
    """Where every pixel has logit 0, focal has the larger gradient, because of the background."""
    batch = predicted_mask(0.041)
    batch["image"] = 0 * batch["image"]
    found = diagnose(Bias(), segment_anything(1.0), [batch])
    assert ratio_by_hand(batch) < 1
    assert found.weights["focal"] < found.weights["dice"]


def lost(step):
    """A moment whose parameters are not finite."""
    moment = seen({name: np.nan * drawn(1.0)[0] for name in "ab"}, step=step)
    return examined(
        dataclasses.replace(moment, measured=dataclasses.replace(moment.measured, length=np.nan))
    )


def test_the_headline_is_the_last_moment_that_can_be_told():
    a, b = drawn(1.0, 4.0)
    whole = examined(seen({"a": a, "b": b}))
    found = Diagnosis((whole, lost(7)))
    assert found.headline is whole
    assert found.moment.step == 0
    assert dict(found.weights) == {"a": 4.0, "b": 1.0}
    assert found.notices() == ["At step 7 the parameters are not finite: it cannot be looked at."]
    assert found.changes() == []
    ended = Diagnosis((whole,), ended="The training ended.")
    assert ended.notices() == ["The training ended."]
    assert str(ended).startswith("- The training ended.")
    assert "The training ended." in ended._repr_html_()


def test_of_parameters_that_never_were_finite_nothing_is_proposed_or_drawn():
    variables = Pixelwise().init(jax.random.key(0), DATA[0]["image"])
    variables = jax.tree.map(lambda x: x * jnp.nan, variables)
    objective = Objective({"dice": Term(losses.dice), "focal": Term(losses.focal)})
    found = diagnose(Pixelwise(), objective, DATA[:2], variables=variables)
    assert dict(found.weights) == {}
    assert [one.kind for one in found.findings] == ["not finite"]
    assert "no weights are proposed" in str(found)
    assert "<svg" not in found._repr_html_()
