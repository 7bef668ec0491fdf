"""SkinGPT-4: a photograph of skin goes in, a conversation about it comes out.

>>> from skingpt4 import Chat, load_model
>>> conversation = Chat(*load_model()).start("photo.jpg")
>>> print(conversation.ask("Could you describe the skin disease in this image for me?"))

Importing this package loads nothing heavy: each public name brings its module when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skingpt4.chat.conversation import Chat, Conversation
    from skingpt4.engines.sampling import Sampling
    from skingpt4.model.skingpt4 import SkinGPT4
    from skingpt4.processor import Processor
    from skingpt4.report.make import make_report
    from skingpt4.weights.build import load_model

__version__ = "0.1.0"

__all__ = ["Chat", "Conversation", "Processor", "Sampling", "SkinGPT4", "__version__", "load_model", "make_report"]

_HOMES = {
    "Chat": "skingpt4.chat.conversation",
    "Conversation": "skingpt4.chat.conversation",
    "Processor": "skingpt4.processor",
    "Sampling": "skingpt4.engines.sampling",
    "SkinGPT4": "skingpt4.model.skingpt4",
    "load_model": "skingpt4.weights.build",
    "make_report": "skingpt4.report.make",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'skingpt4' has no attribute {name!r}; its public names are {', '.join(__all__)}.")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
