"""Settings read from YAML (ours or MiniGPT-4's), overridden by options, checked at once; what there is: `settings`.

A file may name a `base` file that it changes, or list `steps`: files that are run one after the other, each starting
from the projection of the one before.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skingpt4.errors import SettingsError
from skingpt4.settings import DataSettings, ModelSettings, RunSettings, Settings, SourceSettings
from skingpt4.settings_check import check as check
from skingpt4.upstream_settings import translate_upstream

if TYPE_CHECKING:
    from omegaconf import DictConfig

# The small model that the package ships. A path `embedded/FILE` in the settings means a file of this folder.
EMBEDDED_FOLDER = Path(__file__).parent / "tiny" / "assets"

SECTIONS: dict[str, type] = {"model": ModelSettings, "data": DataSettings, "run": RunSettings}


def load_settings(path: str | Path, options: Sequence[str] = ()) -> list[Settings]:
    """Read a YAML file, apply `key=value` options, and return the steps it describes (one for a plain file).

    Raises `SettingsError` for a missing or malformed file, an unknown key (with the nearest valid name), a wrong type
    or a contradiction.
    """
    merged = _read_with_bases(Path(path), seen=())
    names = merged.pop("steps", None)
    if names is None:
        return [_to_settings(merged, options, str(path))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise SettingsError(f"{path}: `steps` must list YAML files to run one after the other.")
    stems = [Path(name).stem for name in names]
    if len(set(stems)) < len(stems):
        raise SettingsError(f"{path}: two `steps` have one name ({', '.join(stems)}) and would write to one folder.")
    steps = []
    for name in names:
        step = _overlay(_read_with_bases(Path(path).parent / name, seen=()), merged)
        steps.append(_to_settings(step, options, f"{path}: {name}"))
    return _chain(steps, stems)


def embedded_settings(options: Sequence[str] = ()) -> Settings:
    """Settings of the small model that the package ships, with both fine-tuning steps done."""
    return load_settings(EMBEDDED_FOLDER / "settings.yaml", options)[0]


def resolve_path(value: str) -> str:
    """A path of the settings with `embedded/…` replaced by the package's own file."""
    return str(EMBEDDED_FOLDER / value.removeprefix("embedded/")) if value.startswith("embedded/") else value


def save_settings(settings: Settings, path: Path) -> None:
    """Write the resolved settings; `load_settings` reads them back as they were."""
    from omegaconf import OmegaConf

    path.write_text(OmegaConf.to_yaml(OmegaConf.structured(settings)), encoding="utf-8")


def settings_from_dict(values: Mapping[str, Any], origin: str) -> Settings:
    """Settings from nested plain values, with the checks of `load_settings`."""
    return _to_settings(dict(values), (), origin)


def _chain(steps: list[Settings], names: list[str]) -> list[Settings]:
    """Give each step its own folder and let it start from the projection of the step before."""
    root = Path(steps[0].run.output_dir)
    for index, (step, name) in enumerate(zip(steps, names, strict=True)):
        step.run.output_dir = str(root / name)
        if index:
            step.model.ckpt = steps[index - 1].run.output_dir
    return steps


def _read_with_bases(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """One YAML file as plain values, laid over the `base` files it names (paths relative to the file)."""
    if path.resolve() in seen:
        raise SettingsError(f"{path} names itself as its `base`.")
    own = translate_upstream(_read_yaml(path), str(path))
    base = own.pop("base", None)
    if base is None:
        return own
    if not isinstance(base, str):
        raise SettingsError(f"{path}: `base` must be the name of one YAML file; it is {base!r}.")
    return _overlay(_read_with_bases(path.parent / base, (*seen, path.resolve())), own)


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not path.is_file():
        raise SettingsError(f"Settings file {path} does not exist (looked in {path.parent.resolve()}).")
    try:
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path} is not a readable YAML file: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path} must hold `model`, `data` and `run`; it holds a {type(values).__name__}.")
    return {str(key): value for key, value in values.items()}


def _overlay(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`: mappings are merged, everything else (lists too) is replaced."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _overlay(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _to_settings(values: dict[str, Any], options: Sequence[str], origin: str) -> Settings:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    check_keys(values, Settings, origin)
    try:
        merged: DictConfig = OmegaConf.merge(OmegaConf.structured(Settings), values)  # type: ignore[assignment]
        for option in options:
            apply_option(merged, option)
        settings = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise SettingsError(_in_words(origin, error)) from error
    assert isinstance(settings, Settings)
    check(settings, origin)
    return settings


def apply_option(settings: DictConfig, option: str) -> None:
    """Apply one `key.sub=value` of the command line; the value is read as YAML.

    Raises `SettingsError` for another form, an unknown key or a wrong type.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    key, separator, _ = option.partition("=")
    if not separator or not key.strip():
        raise SettingsError(f"Option {option!r} is not of the form key=value, e.g. run.init_lr=1e-3.")
    try:
        given = OmegaConf.to_container(OmegaConf.from_dotlist([option]))
        values = translate_upstream(given, "--options")  # type: ignore[arg-type]
        check_keys(values, Settings, f"--options {key}")
        settings.merge_with(values)
    except yaml.YAMLError as error:
        raise SettingsError(f"--options {option}: the value cannot be read as YAML: {error}") from error
    except OmegaConfBaseException as error:
        raise SettingsError(_in_words(f"--options {option}", error)) from error


def _in_words(origin: str, error: Exception) -> str:
    return f"{origin}: {getattr(error, 'full_key', None) or 'settings'}: {str(error).splitlines()[0]}"


def check_keys(values: Mapping[str, Any], kind: type, origin: str, prefix: str = "") -> None:
    """Raise `SettingsError` for a key that `kind` does not have, with the nearest name it has."""
    known = [item.name for item in dataclasses.fields(kind)]
    for key, value in values.items():
        if key not in known:
            raise SettingsError(f"{origin}: unknown setting `{prefix}{key}`.{_hint(str(key), known, kind, prefix)}")
        if kind is Settings:
            if not isinstance(value, Mapping):
                raise SettingsError(f"{origin}: `{key}` must hold settings of its own; it is {value!r}.")
            check_keys(value, SECTIONS[key], origin, f"{key}.")
        if kind is DataSettings and key in ("train", "validation"):
            for index, source in enumerate(_sources(value, f"{origin}: data.{key}")):
                check_keys(source, SourceSettings, origin, f"data.{key}[{index}].")


def _hint(key: str, known: Sequence[str], kind: type, prefix: str) -> str:
    """Where an unknown key may belong: another section that has it, the nearest name, or else all names there are."""
    if kind is not SourceSettings:
        owners = [
            name for name, section in SECTIONS.items() if key in {item.name for item in dataclasses.fields(section)}
        ]
        if owners:
            return f" Did you mean `{owners[0]}.{key}`?"
    names = [*known, "base", "steps", "datasets"] if kind is Settings else known
    near = difflib.get_close_matches(key, names, n=1)
    return f" Did you mean `{prefix}{near[0]}`?" if near else f" Known here: {', '.join(names)}."


def _sources(value: Any, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(source, Mapping) for source in value):
        raise SettingsError(f"{name} must be a list of sources, each with `source` and `path`; it is {value!r}.")
    return value
