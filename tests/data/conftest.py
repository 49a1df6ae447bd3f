"""A maker of small task folders in the format of the Medical Segmentation Decathlon."""

import json

import numpy as np
import pytest


def write_nifti(path, array, spacing=(1.0, 1.0, 1.0)):
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*spacing, 1.0])
    image = nibabel.Nifti1Image(array, affine)
    image.to_filename(path)
    return path


@pytest.fixture
def nifti():
    pytest.importorskip("nibabel")
    return write_nifti


@pytest.fixture
def task_folder(tmp_path, nifti):
    """Returns a function that writes a task with cases of the given shapes."""

    def make(shapes=((9, 8, 7),) * 6, modalities=("T1",), classes=3, spacing=(1.0, 1.0, 2.5)):
        rng = np.random.default_rng(0)
        folder = tmp_path / "Task99_Blobs"
        entries = []
        for i, shape in enumerate(shapes):
            name = f"blob_{i:02d}.nii.gz"
            full = (*shape, len(modalities)) if len(modalities) > 1 else shape
            image = rng.normal(100 * (i + 1), 5 * (i + 1), full).astype(np.float32)
            labels = rng.integers(0, classes, shape).astype(np.uint8)
            nifti(folder / "imagesTr" / name, image, spacing)
            nifti(folder / "labelsTr" / name, labels, spacing)
            entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
        content = {
            "name": "Blobs",
            "labels": {str(c): ("background", "front", "back")[c] for c in range(classes)},
            "modality": {str(m): name for m, name in enumerate(modalities)},
            "training": entries,
        }
        (folder / "dataset.json").write_text(json.dumps(content))
        return folder

    return make
