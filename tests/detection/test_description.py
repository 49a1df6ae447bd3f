import json

import flax.linen as nn
import jax.numpy as jnp
import pytest

from lossbench.anomaly.deep_svdd import DeepSvdd
from lossbench.anomaly.pipeline import Pipeline
from lossbench.anomaly.preprocessed import Preprocessed
from lossbench.anomaly.svdd_options import SvddOptions
from lossbench.detection.classical import Classical
from lossbench.detection.description import assembled, describe, is_pixelwise, parts_of, rebuild
from lossbench.models import ChannelSelectorNetwork, SVDDEncoder, UNet
from lossbench.training.pretraining import Pretrained

OPTIONS = SvddOptions(nu=0.2, pretrain_steps=3, allow=("a",))
STEPS = {"unit_norm": {}, "pca": {"n_components": 2}}
MODELS = [
    DeepSvdd(SVDDEncoder(features=(8, 4)), OPTIONS, warmup_steps=7),
    DeepSvdd(Preprocessed(Pipeline.from_config(STEPS), SVDDEncoder()), OPTIONS),
    Preprocessed(Pipeline.from_config(STEPS), Classical("rx")),
    Classical("lad"),
    ChannelSelectorNetwork(n_select=2),
    UNet(num_classes=1, dims=2, features=(4, 8)),
]


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_built_again_from_json(model):
    assert rebuild(json.loads(json.dumps(describe(model))), None) == model


def test_what_a_training_alone_needs_is_left_out():
    encoder = SVDDEncoder()
    pipeline = Pipeline.from_config(STEPS)
    trained = DeepSvdd(
        Preprocessed(pipeline, Pretrained(encoder, OPTIONS)), OPTIONS, checks=lambda *_: None
    )
    plain = assembled(parts_of(trained))
    assert plain == DeepSvdd(Preprocessed(pipeline, encoder), OPTIONS)
    assert describe(trained) == describe(plain)


def test_which_models_score_each_pixel_by_itself():
    assert [is_pixelwise(model) for model in MODELS] == [True] * 5 + [False]
    assert not is_pixelwise(SVDDEncoder("lenet"))
    assert not is_pixelwise(ChannelSelectorNetwork(head="conv"))


class Own(nn.Module):
    width: object = 3

    def __call__(self, image):
        return {"scores": jnp.sum(image, -1)}


def test_a_network_of_ones_own_needs_its_name_and_plain_options():
    with pytest.raises(ValueError, match=r"Own has no name in lossbench\.models\.MODELS"):
        describe(Own())
    described = describe(Own(4), f"{__name__}:Own")
    assert described["model"] == {"name": f"{__name__}:Own", "options": {"width": 4}}
    with pytest.raises(ValueError, match="width: only plain values can be saved, got type"):
        describe(Own(int), "own:Own")
