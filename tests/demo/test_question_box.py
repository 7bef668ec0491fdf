"""What stands in the box for questions is the visitor's: no step of another event writes into it."""

from __future__ import annotations

from typing import Any

import pytest
from visitors import Tab, jpeg

from skingpt4.demo.page import words
from skingpt4.demo.server.launch import OpenPage

NUMBERS = (0.0, 1.0, 4, 1.0, 1, 0)


@pytest.fixture
def tab(page: OpenPage) -> Tab:
    return Tab(page.local_url)


def box_after(page: OpenPage, tab: Tab, function: str, *values: Any) -> dict[str, Any]:
    """What an event tells the box in the end."""
    config = page.blocks.config
    box = next(each["id"] for each in config["components"] if each["props"].get("elem_id") == "question")
    outputs = next(each["outputs"] for each in config["dependencies"] if each["id"] == tab.functions[function])
    told: dict[str, Any] = tab.call(function, *values)[outputs.index(box)]
    return told


def test_what_is_typed_while_the_last_steps_of_a_photograph_come_stays(page: OpenPage, tab: Tab) -> None:
    told = box_after(page, tab, "look", tab.upload(jpeg()))
    assert told["interactive"] and "value" not in told
    assert "value" not in box_after(page, tab, "heatmap")
    assert box_after(page, tab, "ask", "What is it?", *NUMBERS)["value"] == ""


def test_nothing_stays_in_the_box_of_a_page_that_was_forgotten(page: OpenPage, tab: Tab) -> None:
    box_after(page, tab, "look", tab.upload(jpeg()))
    page.sessions.forget_visitor(page.sessions._owners[tab.page])
    assert box_after(page, tab, "heatmap")["value"] == ""
    assert tab.told("ask", "And now?", *NUMBERS) == words.GONE


def test_each_event_ends_with_one_step_and_its_end(page: OpenPage, tab: Tab) -> None:
    """A step that shows nothing new would only write once more over what somebody types at that moment."""
    file = tab.upload(jpeg())
    assert len(tab.steps("look", file)) == 3  # opening it, it is there, the event's end
