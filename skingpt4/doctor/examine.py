"""The whole examination, in the order in which faults are best mended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from skingpt4.doctor.finding import FAULT, GOOD, Finding
from skingpt4.doctor.machine import examine_machine, examine_python
from skingpt4.errors import SkinGPTError
from skingpt4.settings import Settings

ENGINE_PACKAGES = {"llamacpp": ("llama_cpp", "gguf"), "vllm": ("vllm",)}  # each in the extra of that name


def examine(cfg_path: str | None, options: Sequence[str] = (), device_memory: str = "") -> Iterator[Finding]:
    """Everything that can be wrong before a model is loaded. cfg_path: a YAML file, a checkpoint's folder, or None for
    the small model of this package. device_memory: e.g. "24GB", judge for a GPU that need not be here.

    First what needs no other package than `packaging`: where torch is broken, that is said, and the rest cannot be.
    """
    yield from examine_python()
    try:
        yield from _examine_with_packages(cfg_path, options, device_memory)
    except Exception as error:  # an installation can be broken in any way
        first = _first_cause(error)
        yield Finding(
            "all else", FAULT, f"could not be looked at: {type(first).__name__}: {first}",
            "Mend the faults above. Where there is none, install into a new environment, or report this line.",
        )  # fmt: skip


def _first_cause(error: BaseException) -> BaseException:
    """`transformers` says of a package that cannot be imported only that something could not be."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _examine_with_packages(cfg_path: str | None, options: Sequence[str], device_memory: str) -> Iterator[Finding]:
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
        missing = [package for package in ENGINE_PACKAGES[engine] if find_spec(package) is None]
        if missing:
            found = f"{engine} needs {' and '.join(missing)}, not installed here"
            yield Finding("engine", FAULT, found, f'pip install "skingpt4[{engine}]"')
            return
    yield Finding("engine", GOOD, engine)
