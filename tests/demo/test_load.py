"""Thirty visitors at once on the embedded default: each gets the answer to their own question about their own picture,
who comes beyond the line is told so, and the memory comes back.
"""

from __future__ import annotations

import ast
import html
import io
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy
import pytest
import torch
from demo_process import Server, started, until
from PIL import Image
from visitors import Tab, last_told

from skingpt4 import load_model
from skingpt4.chat.conversation import Chat
from skingpt4.demo.page import words
from skingpt4.demo.page.view import WAITING_PLACES
from skingpt4.engines.sampling import Sampling
from skingpt4.tiny.renderer import disease_description, render

pytestmark = [
    pytest.mark.very_slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

VISITORS = 30
AT_ONCE = WAITING_PLACES + 20  # more than the line has places for
LONGEST = 40
MIB = 1 << 20
BACK_MIB = 40  # what the memory may stay above its level: the allocator gives pages back in pieces


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one_thread = {"OMP_NUM_THREADS": "1"}
    with started(tmp_path_factory.mktemp("home"), "--device", "cpu", environment=one_thread) as server:
        yield server


@pytest.fixture(scope="module")
def chat() -> Iterator[Chat]:
    """The same model, with as many threads as the program has: other sums would be rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Chat(*load_model(options=["run.device=cpu"]))
    torch.set_num_threads(threads)


def picture(number: int) -> bytes:
    rng = numpy.random.default_rng(number)
    with io.BytesIO() as file:
        Image.fromarray(render(disease_description("psoriasis", rng), rng).image).save(file, "PNG")
        return file.getvalue()


def question(number: int) -> str:
    return f"I am visitor {number}. What could this be?"


def sampling(number: int) -> Sampling:
    """Greedy answers to thirty drawings would be alike; sampled with a seed they are not, and still the same ones."""
    return Sampling(LONGEST, temperature=1.5, seed=number)


def ask(tab: Tab, number: int) -> list[str]:
    """Question and answer as the page shows them; for a visitor who is turned away, what the page says instead."""
    wanted = sampling(number)
    values = wanted.temperature, wanted.top_p, LONGEST, wanted.repetition_penalty, wanted.num_beams, wanted.seed
    steps = tab.steps("ask", question(number), *values)
    messages = re.findall(r"'content': \[{'text': (['\"].*?['\"]), 'type'", str(steps[-1]))
    return [html.unescape(ast.literal_eval(said)) for said in messages] or [last_told(steps)]


def at_once(do: Callable[[Tab, int], Any], tabs: list[Tab]) -> list[Any]:
    with ThreadPoolExecutor(len(tabs)) as pool:
        return list(pool.map(do, tabs, range(len(tabs))))


def visits(program: Server, many: int, stack: ExitStack) -> list[Tab]:
    """So many open tabs, each in a browser of its own with its own picture looked at."""
    tabs = [Tab(program.url) for _ in range(many)]
    for tab in tabs:
        lines = stack.enter_context(tab.browser.stream("GET", f"/gradio_api/heartbeat/{tab.page}")).iter_lines()
        assert next(lines) == "data: ALIVE"
        stack.callback(lines.close)
    with ThreadPoolExecutor(2) as pool:  # never so many at once that one is turned away
        seen = pool.map(lambda tab, number: tab.told("look", tab.upload(picture(number))), tabs, range(many))
        assert list(seen) == [words.READY] * many
    return tabs


def test_thirty_visitors_get_their_own_answers_and_the_memory_comes_back(program: Server, chat: Chat) -> None:
    with ExitStack() as stack:
        (tab,) = visits(program, 1, stack)
        ask(tab, 0)
    levels = [settled(program)]
    for _ in range(2):
        with ExitStack() as stack:
            tabs = visits(program, VISITORS, stack)
            said = at_once(ask, tabs)
            open_bytes = program.memory_bytes
        levels.append(settled(program))
    expected = [
        [question(number), chat.start(picture(number)).ask(question(number), sampling(number))]
        for number in range(VISITORS)
    ]
    assert said == expected
    assert len({answer for _, answer in said}) > 0.9 * VISITORS
    print(f"{VISITORS} visitors: {open_bytes / MIB:.0f} MiB while open, {[level // MIB for level in levels]} MiB after")
    assert levels[1] - levels[0] < BACK_MIB * MIB
    assert levels[2] - levels[1] < BACK_MIB / 2 * MIB
    assert list(program.folder.iterdir()) == []


def settled(program: Server) -> int:
    """The memory once all tabs are closed and it shrinks no more."""
    taken = [program.memory_bytes]

    def stays() -> bool:
        taken.append(program.memory_bytes)
        return len(taken) > 20 and min(taken[-10:]) >= min(taken)

    assert until(stays, 30)
    return taken[-1]


def test_who_comes_beyond_the_line_is_told_and_may_come_again(program: Server) -> None:
    with ExitStack() as stack:
        tabs = visits(program, AT_ONCE, stack)
        said = at_once(ask, tabs)
        turned_away = [number for number, told in enumerate(said) if told == [f"⚠ {words.BUSY}"]]
        answered = [number for number, told in enumerate(said) if len(told) == 2 and told[0] == question(number)]
        assert sorted(turned_away + answered) == list(range(AT_ONCE))
        assert len(answered) > WAITING_PLACES and turned_away
        print(f"of {AT_ONCE} at once {len(answered)} were answered, {len(turned_away)} turned away")
        again = turned_away[0]
        assert ask(tabs[again], again)[0] == question(again)
