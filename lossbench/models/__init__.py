"""Flax models, each built from plain arguments and found by its name in a config."""

from lossbench.models.autoencoder import SVDDAutoencoder, encoder_params, encoder_variables
from lossbench.models.mixers import LearnableChannelMixer
from lossbench.models.selector_networks import BandSelectorNetwork, ChannelSelectorNetwork
from lossbench.models.selectors import ConcreteBandSelector, SoftChannelSelector, selected_bands
from lossbench.models.svdd_checks import check_svdd
from lossbench.models.svdd_encoder import SVDDEncoder
from lossbench.models.trainable_pca import TrainablePCA, with_pca
from lossbench.models.unet import UNet

MODELS = {
    "unet": UNet,
    "svdd_encoder": SVDDEncoder,
    "channel_selector": ChannelSelectorNetwork,
    "band_selector": BandSelectorNetwork,
}

__all__ = [
    "MODELS",
    "BandSelectorNetwork",
    "ChannelSelectorNetwork",
    "ConcreteBandSelector",
    "LearnableChannelMixer",
    "SVDDAutoencoder",
    "SVDDEncoder",
    "SoftChannelSelector",
    "TrainablePCA",
    "UNet",
    "check_svdd",
    "encoder_params",
    "encoder_variables",
    "selected_bands",
    "with_pca",
]
