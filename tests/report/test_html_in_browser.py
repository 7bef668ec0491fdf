"""The HTML report in a real browser: what it loads, how it fits, and whether everyone can read it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from skingpt4.report.content import Exchange, Report
from skingpt4.report.html import to_html

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = '<script>document.title="taken"</script><img src="http://evil.example/x.png" onerror="document.title=1">'


@pytest.fixture
def page_file(report: Report, tmp_path: Path) -> Path:
    file = tmp_path / "report.html"
    hostile = replace(report, conversation=(*report.conversation, Exchange(HOSTILE, HOSTILE + "x" * 500)))
    file.write_text(to_html(hostile), encoding="utf-8")
    return file


@pytest.mark.parametrize("look", [{"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 740}}], ids=str)
def test_loads_nothing_fits_and_is_accessible(chromium: Browser, page_file: Path, look: dict[str, Any]):
    from axe_playwright_python.sync_playwright import Axe

    with chromium.new_context(**look, bypass_csp=True) as context:  # axe is a script, which the page would refuse
        page = context.new_page()
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_file.as_uri())
        assert [url for url in requests if not url.startswith("data:image/jpeg")] == [page_file.as_uri()]
        assert page.title() == "Report on a photograph of skin"
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        faults = Axe().run(page).response["violations"]
        assert [fault["id"] for fault in faults] == []


def test_the_policy_stops_what_escaping_would_miss(chromium: Browser, page_file: Path):
    tampered = page_file.read_text(encoding="utf-8").replace("</main>", HOSTILE + "</main>")
    page_file.write_text(tampered, encoding="utf-8")
    with chromium.new_context() as context:
        page = context.new_page()
        asked: list[str] = []
        page.on("requestfinished", lambda request: asked.append(request.url))
        page.route("http://**", lambda route: route.fulfill(body="reached"))
        page.goto(page_file.as_uri())
        assert page.title() == "Report on a photograph of skin"
        assert not [url for url in asked if "evil" in url]
