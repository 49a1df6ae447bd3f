"""Configuration files: Python with a `get_config`, and overrides from the command line."""

import dataclasses
import inspect
import re
import traceback
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_dict import placeholder

from lossbench._names import load_file, unknown
from lossbench.training.options import TrainOptions


def load_config(location: str) -> ConfigDict:
    """Runs `get_config` of a file.

    Args:
        location: a path, or `path:text` where `get_config` takes a text.

    Returns:
        The configuration, with every option of `train` and the other plain values filled in, so
        that each can be overridden.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has no `get_config` or that gives no configuration.
    """
    name, _, text = location.partition(":")
    path = Path(name)
    if not path.is_file():
        near = sorted(str(p) for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        there = f"; in its folder: {', '.join(near)}" if near else ""
        raise FileNotFoundError(f"no configuration file {name!r}{there}")
    try:
        get_config = getattr(load_file(path), "get_config", None)
        if not callable(get_config):
            raise ValueError("there is no function get_config(); a configuration file needs one")
        if text and not inspect.signature(get_config).parameters:
            raise ValueError(f"get_config takes no argument, got {text!r}")
        config = get_config(text) if text else get_config()
    except SyntaxError as error:
        raise ValueError(f"{name}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        raise ValueError(f"{name}{_line(error, path)}: {_said(error)}") from error
    if not isinstance(config, dict | ConfigDict):
        raise ValueError(f"{name}: get_config gave {type(config).__name__}, not a ConfigDict")
    if not isinstance(config, ConfigDict):
        config = _in_order(config)
    with config.unlocked():
        if config.get("train") is None:
            config.train = ConfigDict()
        _fill_in(config.train)
        config.seeds = config.get("seeds", 3)
        for key in ("title", "question", "baseline", "metric"):
            config[key] = config.get(key) or placeholder(str)
    return config


def _in_order(values: dict[str, Any]) -> ConfigDict:
    """A ConfigDict that keeps the order of keys on every level: the report has that of the file."""
    nested = {k: _in_order(v) if isinstance(v, dict) else v for k, v in values.items()}
    return ConfigDict(nested, sort_keys=False)


def _line(error: Exception, path: Path) -> str:
    """Where in the file an error came up, as ", line 3"; empty if nowhere in it."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.absolute()]
    return f", line {lines[-1]}" if lines else ""


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _fill_in(train: Any) -> None:
    """Gives `train` all its options in the types of their defaults: each can be overridden then."""
    if not isinstance(train, ConfigDict):
        raise ValueError(f"train: expected a mapping of options, got {train!r}")
    defaults = dataclasses.asdict(TrainOptions())
    for name in train:
        if name not in defaults:
            raise unknown("option of train", name, defaults)
    with train.ignore_type():
        for name, default in defaults.items():
            if name not in train:
                train[name] = default
                continue
            value: Any = train[name]
            if isinstance(default, float) and type(value) is int:
                train[name] = float(value)


def override(config: ConfigDict, arguments: list[str]) -> dict[str, Any]:
    """Applies `--config.key.key=value` arguments and gives plain values.

    Raises:
        ValueError: for a key that is not there (with the nearest ones), a value of another type,
            or an argument of another form.
    """
    for argument in arguments:
        matched = re.fullmatch(r"--config\.([^=]+)(=.*)?", argument, flags=re.DOTALL)
        if not matched:
            if argument.startswith("-"):
                raise ValueError(
                    f"unknown option {argument!r}; overrides look like --config.key=value"
                )
            raise ValueError(f"unexpected argument {argument!r}")
        if matched[2] is None:
            raise ValueError(f"{argument}: expected {argument}=value")
        _check_key(config, matched[1])
    values, line = flags.FlagValues(), ["lossbench", *arguments]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=line)
        values(line)
    except flags.Error as error:
        raise ValueError(str(error).removeprefix("flag ")) from error
    except (TypeError, ValueError, LookupError) as error:
        raise ValueError(f"{' '.join(arguments)}: {error}") from error
    return values.config.to_dict()


def _check_key(config: ConfigDict, key: str) -> None:
    place, where = config, "config"
    for part in key.split("."):
        name = part.partition("[")[0]
        if not isinstance(place, ConfigDict):
            raise ValueError(f"{where} is a value, so there is no {where}.{part}")
        if name not in place:
            raise ValueError(
                f"{unknown(f'key of {where}', name, place)}. What a file leaves at its default "
                "has to be written there before it can be overridden"
            )
        place, where = place[name], f"{where}.{name}"
