import numpy as np
import pytest

from lossbench.data.transforms import augmentation, random_flip, random_intensity, random_noise


def make_example():
    rng = np.random.default_rng(0)
    where = np.zeros((6, 5), bool)
    where[1:5, :4] = True
    labels = rng.integers(1, 9, (6, 5)).astype(np.int32) * where
    image = np.stack([labels, 2 * labels + where], -1).astype(np.float32)
    return {"image": image, "labels": labels, "where": where, "case": np.asarray(3, np.int32)}


def check_form(before, after):
    assert after.keys() == before.keys()
    for key in before:
        assert after[key].shape == before[key].shape
        assert after[key].dtype == before[key].dtype
    np.testing.assert_array_equal(after["case"], before["case"])


def test_flip_moves_image_labels_and_where_together():
    flip, seen = random_flip((0, 1)), set()
    for seed in range(40):
        before, after = (
            make_example(),
            random_flip((0, 1))(make_example(), np.random.default_rng(seed)),
        )
        check_form(before, after)
        np.testing.assert_array_equal(after["image"][..., 0], after["labels"])
        np.testing.assert_array_equal(after["labels"] > 0, after["where"])
        seen.add(after["labels"].tobytes())
    assert len(seen) == 4
    a, b = (flip(make_example(), np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(a["image"], b["image"])


def test_flip_keeps_to_its_axes():
    for seed in range(10):
        after = random_flip((1,))(make_example(), np.random.default_rng(seed))
        np.testing.assert_array_equal(after["where"].any(1), make_example()["where"].any(1))


@pytest.mark.parametrize(
    "transform",
    [random_intensity(brightness=0.5, contrast=0.3, gamma=0.4), random_noise(0.5)],
)
def test_intensity_leaves_labels_padding_and_the_input_alone(transform):
    before, untouched = make_example(), make_example()
    after = transform(before, np.random.default_rng(0))
    check_form(before, after)
    for key in ("labels", "where"):
        np.testing.assert_array_equal(after[key], untouched[key])
    np.testing.assert_array_equal(before["image"], untouched["image"])
    assert not after["image"][~before["where"]].any()
    inside = (after["image"] - before["image"])[before["where"]]
    assert (np.abs(inside) > 1e-6).mean() > 0.9


def test_brightness_adds_one_number_a_channel():
    before = make_example()
    shifts = []
    for seed in range(200):
        after = random_intensity(brightness=0.5)(before, np.random.default_rng(seed))
        difference = (after["image"] - before["image"])[before["where"]]
        np.testing.assert_allclose(difference, difference[:1] + 0 * difference, atol=1e-5)
        shifts.append(difference[0])
    assert np.abs(shifts).max() <= 0.5 + 1e-5
    assert np.std(shifts) == pytest.approx(1 / np.sqrt(12), rel=0.1)


def test_contrast_scales_about_the_mean():
    before = make_example()
    x = before["image"][before["where"]][:, 0]
    for seed in range(20):
        after = random_intensity(contrast=0.5)(before, np.random.default_rng(seed))
        y = after["image"][before["where"]][:, 0]
        assert y.mean() == pytest.approx(x.mean(), abs=1e-4)
        assert np.exp(-0.5) - 1e-4 <= y.std() / x.std() <= np.exp(0.5) + 1e-4
        assert np.corrcoef(x, y)[0, 1] == pytest.approx(1, abs=1e-5)


def test_gamma_keeps_range_and_order():
    before = make_example()
    x = before["image"][before["where"]][:, 0]
    after = random_intensity(gamma=0.7)(before, np.random.default_rng(0))
    y = after["image"][before["where"]][:, 0]
    assert (y.min(), y.max()) == pytest.approx((x.min(), x.max()), abs=1e-5)
    assert (np.diff(y[np.argsort(x)]) >= -1e-5).all()
    flat = before | {"image": np.ones_like(before["image"])}
    np.testing.assert_array_equal(
        random_intensity(gamma=0.7)(flat, np.random.default_rng(0))["image"], flat["image"]
    )


def test_noise_has_at_most_the_stated_deviation():
    where = np.ones((200, 200), bool)
    flat = {
        "image": np.zeros((200, 200, 1), np.float32),
        "labels": where.astype(np.int32),
        "where": where,
    }
    deviations = [
        random_noise(0.5)(flat, np.random.default_rng(i))["image"].std() for i in range(50)
    ]
    assert max(deviations) < 0.51
    assert np.mean(deviations) == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize("options", [None, {}, {"flip": False, "noise": 0}])
def test_no_options_change_nothing(options):
    before = make_example()
    after = augmentation(options, 2)(before, np.random.default_rng(0))
    assert after is before


def test_options_are_put_together():
    all_axes, noisy = (
        augmentation({"flip": True}, 2),
        augmentation({"flip": (0, 1), "noise": 0.1}, 2),
    )
    for seed in range(5):
        a = all_axes(make_example(), np.random.default_rng(seed))
        b = noisy(make_example(), np.random.default_rng(seed))
        np.testing.assert_array_equal(a["labels"], b["labels"])
        assert not np.array_equal(a["image"], b["image"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flop": True}, "unknown augmentation 'flop'; did you mean 'flip'\\?.*brightness"),
        ({"flip": (2,)}, "list of axes from 0 to 1"),
        ({"flip": 1}, "flip must be True, False or a list"),
        ({"noise": -0.1}, "noise must be a number of at least 0, got -0.1"),
        ({"gamma": "much"}, "gamma must be a number"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        augmentation(options, 2)
