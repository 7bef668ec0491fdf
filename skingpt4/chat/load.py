"""From settings to something that talks: the one place where an engine is chosen."""

from __future__ import annotations

from skingpt4.chat.conversation import Chat
from skingpt4.settings import Settings
from skingpt4.weights.build import build_model


def load_chat(settings: Settings) -> Chat:
    """The model of these settings, ready to talk. Raises `SettingsError`, `WeightsError` or `DeviceError`."""
    return Chat(*build_model(settings))
