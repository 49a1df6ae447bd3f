"""Flax models, each built from plain arguments and found by its name in a config."""

from lossbench.models.unet import UNet

MODELS = {"unet": UNet}

__all__ = ["MODELS", "UNet"]
