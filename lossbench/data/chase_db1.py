"""CHASE_DB1: vessels in photographs of the retina, drawn by two observers."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from lossbench.data.dataset import Dataset
from lossbench.data.image_folder import image_folder

OBSERVERS = {1: "1stHO", 2: "2ndHO"}


def chase_db1(
    *,
    path: str | os.PathLike[str],
    observer: int = 1,
    channels: str | Sequence[str] | None = None,
    patch: Sequence[int] | None = (128, 128),
    tile: Sequence[int] | None = None,
    foreground: float = 0.0,
    seed: int = 0,
    validation: float | int = 0.2,
    test: float | int | None = None,
    fold: int | None = None,
    folds: int | None = None,
    cache_gib: float = 2.0,
) -> Dataset:
    """CHASE_DB1: retinal vessels of children, both eyes, two observers.

    The folder holds `Image_01L.jpg`, `Image_01L_1stHO.png`, `Image_01L_2ndHO.png` and so on, 999 by
    960 pixels. Both eyes of a child are on the same side of the split, so `validation`, `test` and
    `folds` count children; a split by image would test on the vessels' twins. Other folders of the
    kind: `image_folder`.

    Args:
        path: The folder.
        observer: 1 or 2, whose masks are the truth. The usual truth is the first; the second is
            what a person reaches.
        channels: Bands of the images, such as "G", which shows the vessels best; None takes R, G
            and B.
        patch: Pixels per axis of a training crop; None takes whole images.
        tile: Pixels per axis of an example of validation and test; None takes whole images, padded.
        foreground: Chance that a training crop is drawn around a vessel's pixel. A third of an
            image lies outside the round field of view and is black.
        seed: Seed of the split.
        validation: Number or share of children for validation.
        test: Number or share of children for test; None is a fifth of them, or the fold's part
            where there are folds.
        fold: Which of the `folds` parts is the test set.
        folds: Number of parts for cross-validation.
        cache_gib: Memory for images in GiB; see `image_folder`.

    Returns:
        The data set.

    Reference: Fraz et al., An Ensemble Classification-Based Approach Applied to Retinal Blood
    Vessel Segmentation, IEEE TBME 2012.
    """
    if observer not in OBSERVERS:
        raise ValueError(f"observer must be 1 or 2, got {observer!r}")
    data = image_folder(
        path=path,
        images="Image_{name}.jpg",
        masks=f"Image_{{name}}_{OBSERVERS[observer]}.png",
        group=r"(\d+)[LR]$",
        foreground_name="vessel",
        channels=channels,
        patch=patch,
        tile=tile,
        foreground=foreground,
        seed=seed,
        validation=validation,
        test=test,
        fold=fold,
        folds=folds,
        cache_gib=cache_gib,
    )
    what = f"CHASE_DB1, retinal vessels as observer {observer} drew them; a group is a child. "
    return dataclasses.replace(data, name="chase_db1", description=what + data.description)
