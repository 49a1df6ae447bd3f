import copy
import pickle

import numpy as np
import pytest
from scipy.stats import rankdata

import lossbench
from lossbench.anomaly.deep_svdd import DeepSvdd
from lossbench.detection import SVDD, NotFittedError, load, save

RNG = np.random.default_rng(0)
# 200 rows of 4 columns, on a plane but for the last 8; a column of its own scale.
TABLE = RNG.normal(size=(200, 2)) @ RNG.normal(size=(2, 4)) + RNG.normal(size=(200, 4)) * 0.1
TABLE[-8:] += RNG.normal(size=(8, 4)) * 3
TABLE[:, 1] = TABLE[:, 1] * 1e4 + 3e4
Y = (np.arange(200) >= 192).astype(int)
SMALL = {"features": (16, 8), "steps": 40, "batch_size": 32}


def auc(labels, scores):
    ranks = rankdata(scores)
    positive = labels == 1
    n, m = positive.sum(), (~positive).sum()
    return (ranks[positive].sum() - n * (n + 1) / 2) / (n * m)


@pytest.fixture(scope="module")
def fitted():
    return SVDD(contamination=0.04, **SMALL).fit(TABLE)


def test_it_is_loaded_when_it_is_asked_for():
    assert lossbench.SVDD is SVDD
    with pytest.raises(AttributeError, match="no attribute 'SVD'"):
        _ = lossbench.SVD


def test_scores_labels_and_threshold_belong_together(fitted):
    assert auc(Y, fitted.decision_scores_) > 0.9
    np.testing.assert_allclose(fitted.decision_function(TABLE), fitted.decision_scores_, rtol=1e-6)
    # The contamination is that of the labels: 8 of 200.
    assert fitted.labels_.sum() == 8
    np.testing.assert_array_equal(fitted.labels_, fitted.decision_scores_ >= fitted.threshold_)
    assert set(fitted.predict(TABLE)) == {0, 1}
    ranked = np.sort(fitted.decision_scores_)
    assert ranked[-9] < fitted.threshold_ <= ranked[-8]
    np.testing.assert_array_equal(fitted.score_samples(TABLE), -fitted.decision_function(TABLE))
    assert (fitted.n_features_in_, fitted.center_.shape) == (4, (8,))
    # nu is the contamination by default: the sphere is the threshold, to a rounding.
    assert fitted.radius_**2 == pytest.approx(fitted.threshold_, rel=1e-5)
    assert fitted.loss_curve_.shape == (40,)
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


def test_the_center_is_the_mean_embedding_before_training(fitted):
    """Of what training starts from: it stays where it was while the network moves."""
    longer = SVDD(contamination=0.04, **{**SMALL, "steps": 41}).fit(TABLE)
    np.testing.assert_array_equal(longer.center_, fitted.center_)
    assert (np.abs(fitted.center_) >= 0.1 * (1 - 1e-6)).all()


def test_it_is_repeated_by_its_random_state(fitted):
    again = SVDD(contamination=0.04, random_state=0, **SMALL).fit(TABLE)
    np.testing.assert_array_equal(again.decision_scores_, fitted.decision_scores_)
    other = SVDD(contamination=0.04, random_state=1, **SMALL).fit(TABLE)
    assert not np.array_equal(other.decision_scores_, fitted.decision_scores_)
    with pytest.raises(ValueError, match="random_state: expected an integer from 0"):
        SVDD(random_state=-1).fit(TABLE)


def test_columns_may_have_any_scale_or_be_constant(fitted):
    scaled = TABLE * [1e-3, 10, 1e6, 1] + [5, 0, -7e6, 0]
    found = SVDD(contamination=0.04, **SMALL).fit(scaled)
    np.testing.assert_allclose(found.decision_scores_, fitted.decision_scores_, rtol=0.05)
    with_constant = np.c_[TABLE, np.full(200, 7)]
    assert auc(Y, SVDD(**SMALL).fit(with_constant).decision_scores_) > 0.9


def test_rows_labeled_anomalous_are_neither_trained_on_nor_in_the_threshold():
    known = SVDD(contamination=0.1, **SMALL).fit(TABLE, Y)
    alone = SVDD(contamination=0.1, **SMALL).fit(TABLE[Y == 0])
    np.testing.assert_array_equal(known.decision_function(TABLE), alone.decision_function(TABLE))
    assert known.threshold_ == alone.threshold_
    assert known.decision_scores_.shape == (200,)
    assert known.labels_[Y == 0].sum() == 19  # floor(0.1 * 192)


def test_a_cube_of_uint16_and_where():
    cube = np.round(TABLE / TABLE.std(0) * 50 + 1000).astype(np.uint16).reshape(10, 20, 4)
    where = np.ones((10, 20), bool)
    where[0] = False
    spoiled = cube.astype(np.float64)
    spoiled[0] = np.nan
    found = SVDD(contamination=0.04, **SMALL).fit(spoiled, where=where)
    same = SVDD(contamination=0.04, **SMALL).fit(cube[1:])
    assert found.decision_scores_.shape == found.labels_.shape == (10, 20)
    assert np.isnan(found.decision_scores_[0]).all()
    assert not found.labels_[0].any()
    np.testing.assert_array_equal(found.decision_scores_[1:], same.decision_scores_)
    stacked = same.decision_function(np.stack([cube, cube]))
    np.testing.assert_allclose(stacked[0][1:], same.decision_scores_, rtol=1e-6)
    assert same.predict(spoiled, where=where).shape == (10, 20)


@pytest.mark.parametrize("rows", [2, 5])
def test_fewer_rows_than_a_batch(rows):
    found = SVDD(contamination=0.5, **SMALL).fit(TABLE[:rows])
    assert found.labels_.sum() == rows // 2


@pytest.mark.parametrize(
    ("options", "x", "message"),
    [
        ({}, TABLE[:1], "at least 2 rows or pixels to train on, got 1"),
        ({}, np.ones((9, 3)), "all that is trained on is the same"),
        ({"contamination": 0.7}, TABLE, "contamination: expected 0 to 0.5, got 0.7"),
        ({"objective": "svdd"}, TABLE, "objective: expected one of 'one_class', 'soft_boundary'"),
        ({"monitor": True}, TABLE, "monitor: expected one of"),
        ({"steps": 0}, TABLE, "steps: expected an integer of at least 1, got 0"),
        ({"batch_size": 2.5}, TABLE, "batch_size: expected an integer"),
        ({"nu": 0.0}, TABLE, "svdd.nu: expected a share above 0"),
        ({"center": "mean"}, TABLE, "svdd.center: expected one of 'fixed', 'ema'"),
        ({"preprocess": "zscore"}, TABLE, "'zscore'; did you mean 'z_score'"),
        ({"preprocess": "bandpass"}, TABLE, "a bandpass needs the wavelengths"),
        (
            {"preprocess": {"bandpass": {"low": 1}}, "wavelengths": (1, 2)},
            TABLE,
            "wavelengths: expected 4, one a band, got 2",
        ),
        ({"normalization": "batch"}, TABLE, "normalization: expected one of"),
    ],
)
def test_bad_options_and_data_are_named(options, x, message):
    with pytest.raises(ValueError, match=message):
        SVDD(**options).fit(x)


def test_other_features_are_refused(fitted):
    with pytest.raises(ValueError, match="X has 3 features, but SVDD was fitted to 4"):
        fitted.predict(TABLE[:, :3])
    with pytest.raises(NotFittedError, match="not fitted yet"):
        SVDD().predict(TABLE)
    with pytest.raises(NotFittedError):
        SVDD().decision_function(TABLE)


def test_columns_of_data_frames_must_be_the_same(fitted):
    class Frame:
        def __init__(self, columns):
            self.columns = columns

        def __array__(self, dtype=None, copy=None):
            return TABLE

    found = copy.copy(fitted)
    found.feature_names_in_ = np.array(["a", "b", "c", "d"], object)
    assert found.predict(Frame(["a", "b", "c", "d"])).shape == (200,)
    with pytest.raises(ValueError, match="the columns are b, a, c, d; in fit they were a, b, c, d"):
        found.predict(Frame(["b", "a", "c", "d"]))


@pytest.mark.parametrize("monitor", ["stop", "warn", "off"])
def test_a_collapse_stops_it_or_warns_or_goes_unseen(monitor, monkeypatch):
    looked = []

    def alarm(self, facts):
        looked.append(facts["spread"])
        return "the embeddings have collapsed"

    monkeypatch.setattr(DeepSvdd, "alarm", alarm)
    model = SVDD(monitor=monitor, **SMALL)
    if monitor == "stop":
        with pytest.raises(RuntimeError, match="step 4: the embeddings have collapsed"):
            model.fit(TABLE)
        with pytest.raises(NotFittedError):
            model.predict(TABLE)
    elif monitor == "warn":
        with pytest.warns(RuntimeWarning, match="step 4: the embeddings have collapsed"):
            model.fit(TABLE)
    else:
        model.fit(TABLE)
    assert len(looked) == {"stop": 1, "warn": 10, "off": 0}[monitor]


def test_a_loss_that_explodes_is_said():
    with pytest.raises(RuntimeError, match="lower learning_rate"):
        SVDD(**SMALL, learning_rate=1e20).fit(TABLE)


@pytest.mark.long
def test_the_other_options_run():
    for options in (
        {"objective": "soft_boundary", "nu": 0.1},
        {"pretrain_steps": 20},
        {"normalization": "batch_no_affine", "preprocess": ["min_max"]},
        {"preprocess": {"pca": {"n_components": 2, "whiten": True}}, "monitor": "off"},
        {"preprocess": {"bandpass": {"low": 500}}, "wavelengths": (400, 500, 600, 700)},
        {"contamination": 0, "random_state": np.random.RandomState(3)},
    ):
        model = SVDD(**{**SMALL, **options}).fit(TABLE)
        assert np.isfinite(model.decision_scores_).all(), options
        assert model.labels_.sum() == (0 if options.get("contamination") == 0 else 20), options


def test_options_are_read_set_and_shown():
    model = SVDD(0.2, steps=7)
    assert model.get_params()["contamination"] == 0.2
    assert SVDD(**model.get_params()).get_params() == model.get_params()
    assert repr(model.set_params(steps=9)) == "SVDD(contamination=0.2, steps=9)"
    with pytest.raises(ValueError, match="unknown option of SVDD 'step'; did you mean 'steps'"):
        model.set_params(step=1)


def test_it_is_kept_as_a_folder_and_pickled(fitted, tmp_path):
    restored = load(save(tmp_path / "svdd", fitted.detector_))
    np.testing.assert_array_equal(restored.scores(TABLE), fitted.decision_scores_)
    np.testing.assert_array_equal(restored.decide(TABLE), fitted.labels_ == 1)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.decision_function(TABLE), fitted.decision_scores_)


def test_scikit_learn_takes_it(fitted):
    sklearn = pytest.importorskip("sklearn")
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    clone = sklearn.base.clone(fitted)
    assert clone.get_params() == fitted.get_params()
    assert not hasattr(clone, "detector_")
    model = SVDD(preprocess=None, **SMALL)
    piped = make_pipeline(StandardScaler(), model).fit(TABLE)
    np.testing.assert_array_equal(piped.predict(TABLE), model.labels_)
    assert sklearn.base.is_outlier_detector(fitted)

    def score(estimator, x, y):
        return auc(y, estimator.decision_function(x))

    folds = [(np.arange(0, 200, 2), np.arange(1, 200, 2))]
    assert cross_val_score(model, TABLE, Y, cv=folds, scoring=score)[0] > 0.5
