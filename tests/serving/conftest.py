from __future__ import annotations

from collections.abc import Iterator

import pytest
from clients import Running, running

from skingpt4.chat.conversation import Chat
from skingpt4.settings import Settings


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Of the small model of the package."""
    from skingpt4.weights.build import settings_of

    return settings_of(None, [])


@pytest.fixture(scope="session")
def chat(settings: Settings) -> Chat:
    from skingpt4.chat.load import load_chat

    return load_chat(settings)


@pytest.fixture(scope="module")
def server(chat: Chat, settings: Settings) -> Iterator[Running]:
    with running(chat, settings, at_once=4, waiting=8) as opened:
        yield opened
