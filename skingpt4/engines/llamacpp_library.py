"""llama.cpp itself, as `llama-cpp-python` wraps its C interface; an optional package, imported when it is used."""

from __future__ import annotations

from collections import deque
from functools import cache
from types import ModuleType
from typing import Any

from skingpt4.errors import SettingsError

ERROR = 4  # ggml's level
_errors: deque[str] = deque(maxlen=3)
_callbacks: list[Any] = []  # the library keeps a bare pointer, so the function must be kept alive here


@cache
def library() -> ModuleType:
    """The package's low-level functions, its messages kept instead of printed.

    Raises `SettingsError` where it is not installed or cannot be loaded.
    """
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError) as error:
        raise SettingsError(
            f"llama.cpp cannot be used: {error}. Install it with `pip install 'skingpt4[llamacpp]'` "
            "(it is built from source in about five minutes and needs a C++ compiler)."
        ) from error
    _callbacks.append(llama_cpp.llama_log_callback(_keep_error))
    llama_cpp.llama_log_set(_callbacks[0], None)
    llama_cpp.llama_backend_init()
    return llama_cpp


def last_errors() -> str:
    """What llama.cpp has complained about since this was asked last, in its own words."""
    said = "; ".join(_errors) or "it gives no reason"
    _errors.clear()
    return said


def _keep_error(level: int, text: bytes, _: Any) -> None:
    if level == ERROR:
        _errors.append(text.decode("utf-8", errors="replace").strip())
