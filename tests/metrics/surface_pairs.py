"""Masks to measure: packed into text, and real pairs of segmentations of one image."""

import os
from pathlib import Path

import numpy as np

DATA = Path(os.environ.get("LOSSBENCH_DATA", Path(__file__).parents[2] / "../shared/data"))
CORD = {
    "spinalcord t2": ("t2_seg-deepseg_sc-3d", "t2_seg-manual"),
    "spinalcord t2s": ("t2s_seg-deepseg", "t2s_seg"),
}
VESSELS = {f"chase_db1 {image}": image for image in ("01L", "07R")}


def pack(mask):
    return np.packbits(mask.ravel()).tobytes().hex()


def unpack(text, shape):
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))
    return bits[: np.prod(shape)].reshape(shape).astype(bool)


def real_pair(name):
    """Two segmentations of a cord, or the second observer and the first; and the spacing."""
    if name in VESSELS:
        from PIL import Image

        files = (f"Image_{VESSELS[name]}_{observer}HO.png" for observer in ("2nd", "1st"))
        masks = [np.asarray(Image.open(DATA / "chase_db1" / file)) > 0 for file in files]
        return *masks, (1.0, 1.0)
    import nibabel

    images = [nibabel.load(DATA / "spinalcord" / f"{file}.nii.gz") for file in CORD[name]]
    masks = [np.asarray(image.dataobj) > 0 for image in images]
    spacing = tuple(float(f"{z:.6g}") for z in images[1].header.get_zooms()[:3])
    return *masks, spacing


def real_pairs():
    return {name: real_pair(name) for name in (*CORD, *VESSELS)}
