import copy
import re

import pytest
from ml_collections import ConfigDict

from lossbench.bench.plan import make_plan

CONFIG = {
    "title": "A title",
    "data": {"name": "shapes", "size": (16, 16), "classes": 2, "train": 6},
    "model": {"name": "unet", "features": (2, 4)},
    "losses": {
        "plain": {"terms": {"cross_entropy": {}}},
        "mixed": {"terms": {"dice": {"weight": 0.5}, "focal": {"gamma": 2.0}}},
    },
    "seeds": 2,
    "train": {"steps": 10, "batch_size": 2},
}


def changed(path: str, value, config=CONFIG) -> dict:
    """A copy with one value changed; `path` is like "train.steps"."""
    config = copy.deepcopy(config)
    *places, last = path.split(".")
    place = config
    for key in places:
        place = place.setdefault(key, {})
    place[last] = value
    return config


def ids(config, fingerprint="0") -> list[str]:
    plan = make_plan(config)
    return [plan.run(loss, seed, fingerprint).id for seed in plan.seeds for loss in plan.losses]


def test_defaults_are_filled_in():
    plan = make_plan({k: CONFIG[k] for k in ("data", "model", "losses")})
    assert plan.seeds == (0, 1, 2)
    assert plan.metrics == {"dice": {}, "iou": {}}
    assert plan.metric == "dice"
    assert plan.baseline == "plain"
    assert plan.folds is None
    assert plan.config["train"]["steps"] == plan.train.steps


def test_a_list_of_losses_is_short_for_one_term_each():
    plan = make_plan(changed("losses", ["focal", "dice"]))
    assert plan.losses == {"focal": {"terms": {"focal": {}}}, "dice": {"terms": {"dice": {}}}}
    assert plan.baseline == "focal"


def test_metrics_may_have_options():
    given = {"dice": {}, "nsd": {"tolerance": 2}, "hd95": {"empty": "worst"}, "assd": None}
    plan = make_plan(changed("metrics", given))
    assert plan.metrics == {**given, "assd": {}}
    assert plan.metric == "dice"
    assert make_plan(changed("metrics", given) | {"metric": "hd95"}).metric == "hd95"
    assert not set(ids(changed("metrics", given))) & set(
        ids(changed("metrics.nsd.tolerance", 3, changed("metrics", given)))
    )


COMPOUND = {"type": "compound", "components": [{"type": "dice", "weight": 0.5}, {"type": "focal"}]}
TERMS = {"terms": {"dice": {"weight": 0.5}, "focal": {}}}


def test_both_forms_of_an_objective_are_one_run():
    plan = make_plan(changed("losses", {"mixed": {"loss": COMPOUND}}))
    assert plan.losses == {"mixed": TERMS}
    assert ids(changed("losses", {"mixed": {"loss": COMPOUND}})) == ids(
        changed("losses", {"mixed": TERMS})
    )


def test_a_config_dict_is_a_configuration():
    assert ids(ConfigDict(changed("losses", {"mixed": {"loss": COMPOUND}}))) == ids(
        changed("losses", {"mixed": TERMS})
    )


def test_the_source_of_a_component_of_ones_own_counts(tmp_path):
    file = tmp_path / "mine.py"
    component = {"type": f"{file}:own"}
    config = changed("losses", {"a": {"loss": {"type": "compound", "components": [component]}}})
    found = []
    for value in (1, 2):
        file.write_text(f"def own(logits):\n    return {value} * logits.mean((1, 2, 3))\n")
        found += ids(config)
    assert list(make_plan(config).losses["a"]["terms"]) == ["own"]
    assert len(set(found)) == 4


def test_every_run_has_an_id_of_its_own_and_keeps_it():
    found = ids(CONFIG)
    assert len(set(found)) == 4
    assert ids(copy.deepcopy(CONFIG)) == found
    for name in found:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", name)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("title", "Another title"),
        ("question", "Which?"),
        ("baseline", "mixed"),
        ("data.cache_gib", 1.0),
        ("data.path", "/elsewhere"),
        ("seeds", [0, 1]),
    ],
)
def test_an_id_does_not_change_with_what_changes_no_result(path, value, monkeypatch):
    from lossbench import data

    monkeypatch.setattr(data, "check_options", lambda *_: None)
    assert ids(changed(path, value)) == ids(CONFIG)


def test_an_id_does_not_depend_on_order_or_on_kinds_of_lists():
    def turned(value):
        if isinstance(value, dict):
            return {k: turned(v) for k, v in reversed(value.items())}
        return list(value) if isinstance(value, tuple) else value

    assert set(ids(turned(CONFIG))) == set(ids(CONFIG))
    more = changed("losses.third", {"terms": {"dice": {}}})
    assert set(ids(more)) > set(ids(CONFIG))
    assert set(ids(changed("seeds", 3))) > set(ids(CONFIG))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.size", (16, 32)),
        ("data.classes", 3),
        ("data.seed", 1),
        ("data.label_noise", 0.1),
        ("augment", {"flip": True}),
        ("model.features", (2, 8)),
        ("model.residual", True),
        ("metrics", ["dice"]),
        ("metric", "iou"),
        ("train.steps", 11),
        ("train.batch_size", 3),
        ("train.learning_rate", 0.01),
        ("train.ema_decay", 0.9),
        ("train.eval_every", 5),
        ("train.optimizer", "sgd"),
        ("losses", changed("plain.terms.cross_entropy.weight", 2.0, CONFIG["losses"])),
    ],
)
def test_an_id_changes_with_what_changes_the_result(path, value):
    before, after = ids(CONFIG), ids(changed(path, value))
    if path == "losses":  # the other loss is as it was
        assert [a == b for a, b in zip(before, after, strict=True)] == [False, True] * 2
    else:
        assert not set(before) & set(after)


def test_an_id_changes_with_the_data_themselves():
    assert not set(ids(CONFIG, "1")) & set(ids(CONFIG, "2"))


def test_an_id_changes_with_the_fold():
    whole = changed("data.folds", 3)
    assert not set(ids(whole)) & set(ids(CONFIG))
    plan = make_plan(changed("seeds", [5, 3], whole))
    assert [plan.fold(seed) for seed in (5, 3)] == [0, 1]
    other = make_plan(changed("seeds", [3, 5], whole))
    assert plan.run("plain", 5, "").id != other.run("plain", 5, "").id


def test_names_that_read_alike_in_a_path_stay_apart():
    same = {"terms": {"dice": {}}}
    names = ("a+b", "a b", "a/b", "a-b", "A-b", "..", "é", "", "x" * 300, "x" * 301)
    found = ids(changed("losses", dict.fromkeys(names, same)))
    assert len({name.lower() for name in found}) == 2 * len(names)
    for name in found:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", name)
        assert len(name) < 100


BAD = [
    ("train", {"stepz": 1}, r"unknown option of train 'stepz'; did you mean 'steps'"),
    ("train", {"steps": "many"}, r"train.steps: expected int, got 'many'"),
    ("train", 3, r"train: expected a mapping"),
    ("titel", "x", r"unknown key of the configuration 'titel'; did you mean 'title'"),
    ("data", None, r"needs 'data'"),
    ("model", {}, r"needs 'model'"),
    ("losses", {}, r"needs 'losses'"),
    ("losses", ["dise"], r"unknown loss 'dise'; did you mean 'dice'"),
    ("losses", "dice", r"losses: expected a list of names, got 'dice'"),
    ("losses", ["dice", "dice"], r"losses: .* has a name twice"),
    ("losses", {"a": "dice"}, r"losses.a: expected \{'terms'"),
    ("losses", {"a": {"terms": {}}}, r"losses.a: an objective needs 'terms'"),
    ("losses", {"a": {"term": {"dice": {}}}}, r"losses.a: unknown key of an objective 'term'"),
    (
        "losses",
        {"a": {"loss": {"type": "compound", "components": [{"type": "dise"}]}}},
        r"losses.a: components\[0\]: unknown loss 'dise'; did you mean 'dice'",
    ),
    (
        "losses",
        {"a": {"terms": {"dice": {"smoth": 1.0}}}},
        r"losses.a: .*'smoth'; did you mean 'smooth'",
    ),
    ("losses", {"a": {"terms": {"dice": {"weight": "x"}}}}, r"losses.a: .*weight must be a number"),
    ("losses", {"a": {"terms": {"dice": {"weight": len}}}}, r"losses.a.*plain values, got <built"),
    ("augment", {"flip": {1, 2}}, r"augment.flip: a configuration holds plain values"),
    ("augment", True, r"augment: expected a mapping"),
    ("metrics", ["dise"], r"unknown metric 'dise'; did you mean 'dice'"),
    ("metrics", "dice", r"metrics: expected a list of names, or a mapping of .* got 'dice'"),
    ("metrics", ["dice", "dice"], r"metrics: .* has a name twice"),
    ("metrics", {"hd59": {}}, r"unknown metric 'hd59'; did you mean 'hd95'"),
    ("metrics", {"hd95": "worst"}, r"metrics.hd95: expected a mapping of options, got 'worst'"),
    ("metrics", {"hd95": {"emty": 1}}, r"option of the metric hd95 'emty'; did you mean 'empty'"),
    ("metrics", {"hd95": {"spacing": 1}}, r"unknown option of the metric hd95 'spacing'"),
    ("metrics", {"hd95": {"empty": "best"}}, r"metrics.hd95: empty: expected one of 'worst'"),
    ("metrics", {"dice": {"empty": "worst"}}, r"option of the metric dice 'empty'.* none"),
    ("metrics", ["nsd"], r"metrics: 'nsd' needs the option 'tolerance'"),
    ("metrics", {"nsd": {"tolerance": -1}}, r"metrics.nsd: tolerance: expected a length"),
    ("metrics", {"nsd": {"tolerance": True}}, r"metrics.nsd: tolerance: .* got True"),
    ("metrics", {"nsd": {"tolerance": "1"}}, r"(?s)metrics.nsd: .*tolerance"),
    ("metric", "hd95", r"^metric 'hd95' is not measured: add it to metrics$"),
    ("metric", "ioi", r"unknown metric to compare by 'ioi'; did you mean 'iou'"),
    ("baseline", "plane", r"unknown baseline 'plane'; did you mean 'plain'"),
    ("model.name", "unett", r"unknown model 'unett'; did you mean 'unet'"),
    ("model", {"features": (2,)}, r"unknown model ''"),
    ("model", "unet", r"model: expected a mapping"),
    ("data.name", "shape", r"unknown data set 'shape'; did you mean 'shapes'"),
    ("data", {"size": (16, 16)}, r"data: 'name' is missing"),
    ("data", "shapes", r"data: expected a mapping"),
    ("data.clases", 3, r"option of the data set shapes 'clases'; did you mean 'classes'"),
    ("data", {"name": "decathlon"}, r"data set 'decathlon' needs the option 'path'"),
    ("data.fold", 1, r"data.fold: the seed decides the fold"),
    ("data.folds", "3", r"data.folds: expected a number of folds"),
    ("seeds", 0, r"seeds: expected how many"),
    ("seeds", -1, r"seeds: expected how many"),
    ("seeds", [], r"seeds: expected how many"),
    ("seeds", [1.5], r"seeds: expected how many"),
    ("seeds", "2", r"seeds: expected how many"),
    ("seeds", True, r"seeds: expected how many"),
    ("seeds", None, r"seeds: expected how many"),
    ("seeds", 2.0, r"seeds: expected how many"),
    ("seeds", [0, -1], r"seeds: expected how many"),
    ("seeds", [2**31], r"seeds: expected how many .* to 2\*\*31 - 1"),
    ("seeds", [1, 2, 1], r"seeds: \[1, 2, 1\] names a seed twice"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD)
def test_what_cannot_run_is_refused_by_name(path, value, message):
    with pytest.raises(ValueError, match=message):
        make_plan(changed(path, value))


def test_more_seeds_than_folds_are_refused():
    folds = changed("data.folds", 2)
    assert make_plan(changed("seeds", 2, folds)).folds == 2
    with pytest.raises(ValueError, match=r"seeds: 3 seeds, but the data allow 2"):
        make_plan(changed("seeds", 3, folds))


def test_an_option_of_the_data_of_a_wrong_type_is_an_error_of_the_data():
    with pytest.raises(ValueError, match=r"data: an option has the wrong type"):
        make_plan(changed("data.size", 16)).dataset(0)
    with pytest.raises(ValueError, match=r"data: size must have 2 or 3 axes"):
        make_plan(changed("data.size", (4, 4))).dataset(0)


def test_a_seed_is_tested_on_its_fold():
    plan = make_plan(changed("data.folds", 2))
    first, second = (plan.dataset(seed) for seed in plan.seeds)
    assert not set(first.test.names) & set(second.test.names)
    one = make_plan(CONFIG)
    assert one.dataset(0).test.names == one.dataset(1).test.names


SPHERE = {
    **CONFIG,
    "data": {"name": "scenes"},
    "model": {"name": "svdd_encoder"},
    "preprocess": {"z_score": {}},
    "losses": {
        "one": {"terms": {"svdd_one_class": {}}},
        "narrow": {"terms": {"svdd_soft_boundary": {"nu": 0.02}}},
        "sad": {"terms": {"deep_sad": {}}},
    },
    "svdd": {"nu": 0.2},
    "metrics": ("roc_auc", "iou"),
}


def test_a_loss_that_needs_a_center_has_a_sphere_and_its_own_nu():
    plan = make_plan(SPHERE)
    assert {name: sphere.nu for name, sphere in plan.svdd.items()} == {
        "one": 0.2,
        "narrow": 0.02,
        "sad": 0.2,
    }
    assert make_plan(CONFIG).svdd == {"plain": None, "mixed": None}
    without = {k: v for k, v in SPHERE.items() if k != "svdd"}
    assert make_plan(without).svdd["one"].nu == 0.1
    different = [ids(changed(path, value, SPHERE)) for path, value in CHANGES]
    for one in different:
        assert not set(one) & set(ids(SPHERE))


CHANGES = [
    ("svdd.center_eps", 0.2),
    ("preprocess.unit_norm", {}),
    ("select", "loss"),
    ("train.trainable", ["dense_0/*"]),
]


def test_no_label_selects_unless_told():
    assert make_plan(CONFIG).select == "dice"
    assert make_plan(SPHERE).select == "last"
    assert make_plan({**SPHERE, "select": "roc_auc"}).select == "roc_auc"
    with pytest.raises(ValueError, match="unknown select 'lost'; did you mean 'loss'"):
        make_plan({**SPHERE, "select": "lost"})


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("train.early_stopping_patience", 2, "nothing to be patient with if the last"),
        ("train.plateau_patience", 2, "the loss of 'sad' reads labels"),
        ("svdd.nuu", 0.1, "unknown option of svdd 'nuu'; did you mean 'nu'"),
        ("losses.one", {"terms": {"svdd_soft_boundary": {"nu": "a"}}}, "losses.one: .*nu"),
        ("train.trainable", {"dense_0/*": 10}, "there are only 10 steps"),
    ],
)
def test_what_a_sphere_cannot_be_trained_by_is_refused(path, value, words):
    with pytest.raises(ValueError, match=words):
        make_plan(changed(path, value, SPHERE))


def test_a_validation_that_may_choose_may_also_stop():
    told = {**SPHERE, "select": "loss"}
    assert make_plan(changed("train.early_stopping_patience", 2, told)).select == "loss"
    assert make_plan(changed("train.plateau_patience", 2, told)).train.plateau_patience == 2
