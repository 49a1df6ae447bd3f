import ml_collections
import pytest

from lossbench.configuration import load_config, override
from lossbench.training.options import TrainOptions

TEXT = """
def get_config():
    return {"data": {"size": (16, 16), "name": "shapes"}, "seeds": 3, "title": "a",
            "train": {"steps": 5, "clip_norm": 1}}
"""


@pytest.fixture
def write(tmp_path):
    def writer(text: str, name: str = "config_file.py") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return writer


def test_a_configuration_has_every_option_of_train(write):
    config = load_config(write(TEXT))
    plain = config.to_dict()
    assert plain["data"] == {"size": (16, 16), "name": "shapes"}
    expected = TrainOptions(steps=5, clip_norm=1.0)
    assert TrainOptions.from_config(plain["train"]) == expected
    assert set(plain["train"]) == set(TrainOptions.__dataclass_fields__)


def test_a_configuration_without_train_gets_one(write):
    config = load_config(write("def get_config():\n    return {'seeds': 1}"))
    assert TrainOptions.from_config(config.to_dict()["train"]) == TrainOptions()


def test_a_locked_config_dict_is_fine_and_keeps_its_references(write):
    config = load_config(
        write(
            "from ml_collections import ConfigDict\n"
            "def get_config():\n"
            "    config = ConfigDict({'seeds': 2, 'train': {'steps': 100}})\n"
            "    config.train.warmup_steps = config.train.get_ref('steps') // 10\n"
            "    return config.lock()\n"
        )
    )
    assert isinstance(config, ml_collections.ConfigDict)
    plain = override(config, ["--config.train.steps=50", "--config.train.ema_decay=0.5"])
    assert (plain["train"]["warmup_steps"], plain["train"]["ema_decay"]) == (5, 0.5)


def test_get_config_may_take_a_text(write):
    path = write("def get_config(text='none'):\n    return {'title': text}")
    assert load_config(path).title == "none"
    assert load_config(path + ":some:text").title == "some:text"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "there is no function get_config"),
        ("get_config = 3", "there is no function get_config"),
        ("def get_config(:", "config_file.py, line 1: invalid syntax"),
        ("\n\nimport no_such_module", "line 3: ModuleNotFoundError: No module named"),
        ("def get_config():\n    return missing", "line 2: NameError: name 'missing'"),
        ("def get_config(text):\n    return {}", "TypeError: .*missing 1 required"),
        ("def get_config():\n    return [1]", "get_config gave list, not a ConfigDict"),
        ("def get_config():\n    return None", "get_config gave NoneType"),
        ("def get_config():\n    return {'train': {'stepz': 1}}", "'stepz'; did you mean 'steps'"),
        ("def get_config():\n    return {'train': 3}", "train: expected a mapping"),
    ],
)
def test_a_file_that_gives_no_configuration_is_named_with_the_reason(write, text, message):
    with pytest.raises(ValueError, match=message):
        load_config(write(text))


def test_a_text_for_a_file_that_takes_none_is_refused(write):
    with pytest.raises(ValueError, match="get_config takes no argument, got 'x'"):
        load_config(write(TEXT) + ":x")


def test_a_missing_file_names_its_neighbors(write, tmp_path):
    write(TEXT, "near.py")
    with pytest.raises(FileNotFoundError, match=r"no configuration file '.*far.py'.*near.py"):
        load_config(str(tmp_path / "far.py"))
    with pytest.raises(FileNotFoundError, match="no configuration file"):
        load_config(str(tmp_path / "no" / "folder.py"))
    with pytest.raises(FileNotFoundError, match="no configuration file"):
        load_config(str(tmp_path))


def test_overrides_change_values_in_their_types(write):
    plain = override(
        load_config(write(TEXT)),
        [
            "--config.train.steps=7",
            "--config.train.clip_norm=0.5",  # the file has the integer 1
            "--config.data.size=(32, 48)",
            "--config.title=b = c",
            "--config.train.debug_checks=true",
            "--config.seeds=2",
        ],
    )
    assert (plain["train"]["steps"], plain["train"]["clip_norm"]) == (7, 0.5)
    assert plain["train"]["debug_checks"] is True
    assert plain["data"] == {"size": (32, 48), "name": "shapes"}
    assert (plain["title"], plain["seeds"]) == ("b = c", 2)
    assert override(load_config(write(TEXT)), [])["seeds"] == 3


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.train.stepz=3", "unknown key of config.train 'stepz'; did you mean 'steps'"),
        ("--config.trian.steps=3", "unknown key of config 'trian'; did you mean 'train'"),
        ("--config.seeds.x=3", "config.seeds is a value, so there is no config.seeds.x"),
        ("--config.train.steps=abc", "--config.train.steps=abc: invalid literal"),
        ("--config.train.steps=2.5", "--config.train.steps=2.5: invalid literal"),
        ("--config.train.debug_checks=maybe", "--config.train.debug_checks=maybe"),
        ("--config.train=3", "--config.train=3"),
        ("--config.data.size[5]=3", r"--config.data.size\[5\]=3: .*out of range"),
        ("--config.train.steps", "expected --config.train.steps=value"),
        ("--config.=3", "unknown option"),
        ("--confg=3", "unknown option '--confg=3'; overrides look like"),
        ("-x", "unknown option '-x'"),
        ("steps=3", "unexpected argument 'steps=3'"),
    ],
)
def test_an_override_that_means_nothing_is_refused_by_name(write, argument, message):
    with pytest.raises(ValueError, match=message):
        override(load_config(write(TEXT)), [argument])
