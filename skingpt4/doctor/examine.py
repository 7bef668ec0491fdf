"""The whole examination, in the order in which faults are best mended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from skingpt4.doctor.finding import FAULT, GOOD, Finding
from skingpt4.doctor.machine import examine_machine
from skingpt4.errors import SkinGPTError
from skingpt4.settings import Settings

ENGINE_PACKAGES = {"llamacpp": ("llama_cpp", 'pip install "skingpt4[llamacpp]"'), "vllm": ("vllm", "pip install vllm")}


def examine(cfg_path: str | None, options: Sequence[str] = (), device_memory: str = "") -> Iterator[Finding]:
    """Everything that can be wrong before a model is loaded. cfg_path: a YAML file, a checkpoint's folder, or None for
    the small model of this package. device_memory: e.g. "24GB", judge for a GPU that need not be here.
    """
    try:
        settings = settings_to_examine(cfg_path, options)
    except SkinGPTError as error:
        yield Finding("settings", FAULT, str(error))
        yield from examine_machine(Settings())
        return
    yield Finding("settings", GOOD, cfg_path or "the small model of this package")
    yield from examine_machine(settings)
    yield from _engine(settings)
    from skingpt4.doctor.memory import examine_memory
    from skingpt4.doctor.weights import examine_weights

    yield from examine_weights(settings.model)
    yield from examine_memory(settings, device_memory)


def settings_to_examine(cfg_path: str | None, options: Sequence[str]) -> Settings:
    """Of several steps the first: a later one starts from what the first one has yet to make."""
    if cfg_path is not None and cfg_path.endswith((".yaml", ".yml")):
        from skingpt4.config import load_settings

        return load_settings(cfg_path, options)[0]
    from skingpt4.weights.build import settings_of

    return settings_of(cfg_path, options)


def _engine(settings: Settings) -> Iterator[Finding]:
    engine = settings.model.engine
    if engine in ENGINE_PACKAGES and not settings.model.engine_url:
        package, mend = ENGINE_PACKAGES[engine]
        if find_spec(package) is None:
            yield Finding("engine", FAULT, f"{engine} needs the package {package}, which is not installed", mend)
            return
    yield Finding("engine", GOOD, engine)
