"""One report of the embedded default on a drawn photograph, with a conversation that gives cause for alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from PIL.Image import Image

    from skingpt4.chat.conversation import Chat
    from skingpt4.report.content import Report
    from skingpt4.settings import Settings

QUESTION = "My mole bleeds and has changed its colour. Is it dangerous?"


@pytest.fixture(scope="session")
def embedded() -> Settings:
    """Do not change them."""
    from skingpt4.config import embedded_settings

    return embedded_settings()


@pytest.fixture(scope="session")
def chat(embedded: Settings) -> Chat:
    from skingpt4.chat.conversation import Chat
    from skingpt4.weights.build import build_model

    return Chat(*build_model(embedded))


@pytest.fixture(scope="session")
def photograph() -> Image:
    """A drawn ulcer."""
    import numpy
    from PIL import Image

    from skingpt4.tiny.renderer import disease_description, render

    numbers = numpy.random.default_rng(3)
    return Image.fromarray(render(disease_description("squamous cell carcinoma", numbers), numbers).image)


@pytest.fixture(scope="session")
def report(chat: Chat, embedded: Settings, photograph: Image) -> Report:
    from skingpt4.report.make import make_report

    conversation = chat.start(photograph)
    conversation.ask(QUESTION)
    return make_report(chat, photograph, embedded, conversation=conversation)
