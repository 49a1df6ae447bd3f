from pathlib import Path

import numpy as np
import pytest

from lossbench.data.scene_files import chosen_bands, find_files, names_of, read_scenes

OPTIONS = {
    "key": None,
    "mask_key": None,
    "masks": None,
    "without_mask": "error",
    "anomalous": None,
    "ignored": (),
    "bands": None,
    "bad_bands": "drop",
    "cache_gib": 1.0,
}


def write(folder, name, seed=0, shape=(4, 5, 6), **more):
    values = np.random.default_rng(seed).integers(-100, 100, shape).astype(np.int16)
    np.savez(folder / name, data=values, **{"map": np.eye(*shape[:2]), **more})
    return values


def test_scenes_of_a_folder(tmp_path):
    values = {name: write(tmp_path, name, i) for i, name in enumerate(("b.npz", "a.npz"))}
    (tmp_path / ".hidden.npz").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    scenes = read_scenes(tmp_path, **OPTIONS)
    assert scenes.title == tmp_path.name
    assert scenes.names == ("a", "b")
    assert scenes.shapes == ((4, 5), (4, 5))
    assert (scenes.bands, scenes.dropped, scenes.wavelengths) == (6, 0, None)
    for i, name in enumerate(("a.npz", "b.npz")):
        np.testing.assert_array_equal(scenes.read(i).image, values[name])
        np.testing.assert_array_equal(scenes.read(i).labels, np.eye(4, 5))


@pytest.mark.parametrize("bad_bands", ["drop", "keep"])
@pytest.mark.parametrize("cache_gib", [0.0, 1.0])
def test_bands_are_chosen_in_every_scene(tmp_path, bad_bands, cache_gib):
    holes = np.ones((4, 5, 6))
    holes[..., 2] = np.nan  # a band without data in one of the scenes
    values = write(tmp_path, "a.npz", wavelengths=np.arange(400, 1000, 100))
    np.savez(tmp_path / "b.npz", data=values * holes, map=np.eye(4, 5))
    options = {**OPTIONS, "bands": [5, 2, 0], "bad_bands": bad_bands, "cache_gib": cache_gib}
    scenes = read_scenes(tmp_path, **options)
    kept = [5, 0] if bad_bands == "drop" else [5, 2, 0]
    assert (scenes.bands, scenes.dropped) == (len(kept), 3 - len(kept))
    assert scenes.wavelengths == tuple(400.0 + 100 * b for b in kept)
    np.testing.assert_array_equal(scenes.read(0).image, values[..., kept])
    expected = np.nan_to_num(values * holes)[..., kept]
    np.testing.assert_array_equal(scenes.read(1).image, expected)
    assert scenes.read(1).where is None


def test_masks_beside_the_cubes(tmp_path):
    mask = np.eye(4, 5)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.ones((4, 5, 6)))
    np.save(tmp_path / "a_gt.npy", mask)
    options = {**OPTIONS, "masks": "{name}_gt.npy"}
    with pytest.raises(FileNotFoundError, match=r"b_gt\.npy: no such file"):
        read_scenes(tmp_path, **options)
    scenes = read_scenes(tmp_path, **{**options, "without_mask": "normal"})
    assert scenes.names == ("a", "b")
    np.testing.assert_array_equal(scenes.read(0).labels, mask)
    assert not scenes.read(1).labels.any()


def test_scenes_that_do_not_fit(tmp_path):
    write(tmp_path, "a.npz", wavelengths=np.arange(400, 1000, 100))
    write(tmp_path, "b.npz", wavelengths=np.arange(400, 1000, 100) + 0.5)
    read_scenes(tmp_path, **OPTIONS)
    write(tmp_path, "b.npz", wavelengths=np.arange(400, 1000, 100) + 3)
    with pytest.raises(ValueError, match=r"b\.npz: band 0 is at 403 nm, but in .*a\.npz at 400 nm"):
        read_scenes(tmp_path, **OPTIONS)
    write(tmp_path, "b.npz", shape=(4, 5, 7))
    with pytest.raises(ValueError, match=r"b\.npz: the scene has 7 bands, but .*a\.npz has 6"):
        read_scenes(tmp_path, **OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"without_mask": "x"}, "without_mask must be one of error, normal, got 'x'"),
        ({"bad_bands": "x"}, "bad_bands must be one of drop, keep, got 'x'"),
        ({"cache_gib": -1.0}, "cache_gib must be at least 0"),
        ({"masks": "gt.png"}, "masks must hold {name} once, got 'gt.png'"),
        ({"bands": [6]}, r"bands must be different numbers from 0 to 5, got \[6\]"),
        ({"mask_key": "gt"}, "there is no mask 'gt'"),
        ({"key": "cube"}, "there is no array 'cube'"),
    ],
)
def test_errors(tmp_path, options, message):
    write(tmp_path, "a.npz")
    with pytest.raises(ValueError, match=message):
        read_scenes(tmp_path, **{**OPTIONS, **options})


def test_a_scene_without_a_mask(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 5, 6)))
    with pytest.raises(ValueError, match=r"a\.npy: there is no mask in the file; name it with"):
        read_scenes(tmp_path / "a.npy", **OPTIONS)
    scenes = read_scenes(tmp_path / "a.npy", **{**OPTIONS, "without_mask": "normal"})
    assert scenes.title == "a"
    assert not scenes.read(0).labels.any()


def test_files_of_a_path(tmp_path):
    write(tmp_path, "a.npz")
    assert find_files(tmp_path / "a.npz") == find_files(tmp_path) == [tmp_path / "a.npz"]
    assert find_files([str(tmp_path / "a.npz")]) == [tmp_path / "a.npz"]
    with pytest.raises(ValueError, match="path is an empty list"):
        find_files([])
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such file or folder"):
        find_files(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty: there is no scene in this folder"):
        find_files(tmp_path / "empty")


def test_names():
    assert names_of([Path("x/a.mat"), Path("x/b.mat")]) == ("a", "b")
    assert names_of([Path("x/a.mat"), Path("x/a.npy")]) == ("a.mat", "a.npy")
    assert names_of([Path("/x/a.mat"), Path("/y/a.mat")]) == ("/x/a.mat", "/y/a.mat")
    with pytest.raises(ValueError, match="path names a file twice"):
        names_of([Path("a.mat"), Path("a.mat")])


@pytest.mark.parametrize("bands", [[], [1, 1], [-1], [6]])
def test_bands_that_there_are_not(bands):
    with pytest.raises(ValueError, match="bands must be different numbers from 0 to 5"):
        chosen_bands(bands, 6)
