"""A running page for the tests of what stands around it. Modules with one of their own define the same names anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from visitors import Tab

from skingpt4.chat.conversation import Chat
from skingpt4.demo.server.launch import OpenPage, open_page
from skingpt4.settings import Settings

# What stands in somebody's environment must not open the page to others.
ENVIRONMENT = {
    "GRADIO_SHARE": "True",
    "GRADIO_SERVER_NAME": "0.0.0.0",
    "GRADIO_ALLOWED_PATHS": "/etc",
    "GRADIO_MCP_SERVER": "True",
    "GRADIO_NUM_WORKERS": "2",
    "GRADIO_RUN_HISTORY": "True",
    "GRADIO_SSR_MODE": "True",
    "GRADIO_LOCAL_DEV_MODE": "1",
    "GRADIO_ROOT_PATH": "/elsewhere",
}


@pytest.fixture(scope="module")
def settings(tiny_checkpoints: Path) -> Settings:
    from tiny_models import settings_for

    return settings_for(tiny_checkpoints)


@pytest.fixture(scope="module")
def chat(settings: Settings) -> Chat:
    from skingpt4.weights.build import build_model

    return Chat(*build_model(settings))


@pytest.fixture(scope="module")
def tunnels() -> list[int]:
    """Ports for which a public tunnel was asked."""
    return []


@pytest.fixture(scope="module")
def page(chat: Chat, settings: Settings, tunnels: list[int]) -> Iterator[OpenPage]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        from gradio import networking

        patch.setattr(networking, "setup_tunnel", lambda _, port, *more: tunnels.append(port))
        with open_page(chat, settings) as opened:
            yield opened


@pytest.fixture
def stranger(page: OpenPage) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=page.local_url, trust_env=False, timeout=30) as opened:
        yield opened


@pytest.fixture(scope="module")
def tab(page: OpenPage) -> Tab:
    return Tab(page.local_url)
