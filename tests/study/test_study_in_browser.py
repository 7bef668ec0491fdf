"""A rater with a real browser and a file: fills the form in, comes back, saves; then the whole way to the report."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from studies import csv_file, study, xlsx_file

from skingpt4.study.collect import read_ratings
from skingpt4.study.folder import Folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LOOKS: list[dict[str, Any]] = [{"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 740}}]


def opened(page: Page, file: Path) -> tuple[list[str], list[str]]:
    """Requests other than of this file, and faults of scripts: both lists grow."""
    requests: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    page.goto(file.as_uri())
    return requests, faults


def judge(page: Page, keys: str) -> None:
    """Answer the items of a text with the keyboard, one key each."""
    page.locator("#items input").first.focus()
    for key in keys:
        page.keyboard.press(key)


@pytest.mark.slow
def test_from_the_form_to_the_report(chromium: Browser, folder: Folder, tmp_path: Path):
    key = folder.read()
    form = folder.forms / "rater-D1.html"
    with chromium.new_context(accept_downloads=True) as context:
        page = context.new_page()
        requests, faults = opened(page, form)
        judge(page, "5431245")
        assert page.evaluate("document.activeElement.id") == "next"
        page.keyboard.press("Enter")
        page.get_by_label("Comment").fill("Blurred </script><b>photograph</b>")
        page.get_by_role("group", name="1. The diagnosis").get_by_label("4 Agree").check()
        assert page.locator("#done").inner_text() == "1 of 8 texts judged"

        page.reload()  # the browser kept text, place and answers
        assert page.locator("#place").inner_text() == "Text 2 of 8"
        assert page.get_by_label("Comment").input_value() == "Blurred </script><b>photograph</b>"
        assert page.locator("#items input:checked").count() == 1
        for number in range(2, 9):
            judge(page, "4444444" if number < 8 else "1111111")
            if number < 8:
                page.get_by_role("button", name="Next").click()
        assert page.locator("#finished").is_visible() and page.locator("#next").is_disabled()
        with page.expect_download() as download:
            page.get_by_role("button", name="Save my ratings").click()
        saved = tmp_path / download.value.suggested_filename
        download.value.save_as(saved)
        assert saved.name == f"ratings-{key.id}-D1.json"
        assert [url for url in requests if not url.startswith(("data:", "blob:", form.as_uri()))] == []
        assert faults == []

    given = json.loads(saved.read_text(encoding="utf-8"))["ratings"]
    order = key.raters[0].order
    assert list(given[order[0]].values()) == [5, 4, 3, 1, 2, 4, 5] and set(given) == set(order)

    files = [saved, csv_file(tmp_path / "D2.csv", folder, "D2"), xlsx_file(tmp_path / "D3.xlsx", folder, "D3")]
    assert study("collect", folder.root, *files) == 0
    kept = {rating.code: rating for rating in read_ratings(folder) if rating.rater == "D1"}
    assert kept[order[1]].comment == "Blurred </script><b>photograph</b>"
    assert set(kept[order[7]].values.values()) == {1}
    assert study("report", folder.root) == 0
    with (folder.report / "items.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file) if row["raters"] == "dermatologist"]
    for item in range(7):  # both arms together: D1 as above, the others 4 throughout
        counts = [sum(int(row[level]) for row in rows[item::7]) for level in list(rows[0])[3:8]]
        expected = [1, 0, 0, 22, 0]
        expected[[5, 4, 3, 1, 2, 4, 5][item] - 1] += 1
        assert counts == expected
    written = {file.name for file in folder.report.iterdir()}
    for stem in ("items_dermatologist_model", "items_dermatologist_written", "items_lay_model", "times"):
        assert {f"{stem}.png", f"{stem}.svg"} <= written
    for stem in ("items", "classes", "agreement", "kappas", "times", "tests"):
        assert {f"{stem}.csv", f"{stem}.tex"} <= written

    page_text = (folder.report / "report.html").read_text(encoding="utf-8")
    assert "No ratings were collected of L1." in page_text and "24 / 32" in page_text
    for look in LOOKS:
        check_page(chromium, folder.report / "report.html", look)


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_form_fits_and_is_accessible(chromium: Browser, made: Path, look: dict[str, Any]):
    check_page(chromium, made / "forms" / "rater-L1.html", look)


def check_page(chromium: Browser, file: Path, look: dict[str, Any]) -> None:
    """No network, no faults, no sideways scrolling, and nothing that axe finds."""
    from axe_playwright_python.sync_playwright import Axe

    with chromium.new_context(**look, bypass_csp=True) as context:  # axe is a script, which the page may refuse
        page = context.new_page()
        requests, faults = opened(page, file)
        assert [url for url in requests if not url.startswith(("data:", file.as_uri()))] == [] and faults == []
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert {fault["id"] for fault in Axe().run(page).response["violations"]} == set()


def test_a_saved_file_comes_back_and_a_foreign_one_changes_nothing(chromium: Browser, made: Path, tmp_path: Path):
    key = Folder(made).read()
    code = key.raters[0].order[0]
    about = {"format": "skingpt4-ratings-1", "study": key.id, "rater": "D1"}
    good = {**about, "ratings": {code: {"correct": 2, "useful": 9, "invented": 1}, "ZZZZZ": {"correct": 1}}}
    (tmp_path / "good.json").write_text(json.dumps(good), encoding="utf-8")
    (tmp_path / "foreign.json").write_text(json.dumps({**good, "rater": "D2"}), encoding="utf-8")
    with chromium.new_context() as context:
        page = context.new_page()
        _, faults = opened(page, made / "forms" / "rater-D1.html")
        page.locator("#load").set_input_files(tmp_path / "foreign.json")
        page.get_by_text("not a file of ratings of this form; nothing was changed").wait_for()
        assert page.locator("#items input:checked").count() == 0
        page.locator("#load").set_input_files(tmp_path / "good.json")
        page.get_by_text("Loaded good.json").wait_for()
        assert [box.input_value() for box in page.locator("#items input:checked").all()] == ["2"]
        page.get_by_role("group", name="2. The description").get_by_label("5 Strongly agree").check()
        page.once("dialog", lambda dialog: dialog.dismiss())
        page.locator("#load").set_input_files(tmp_path / "good.json")  # would take the new answer away: asks first
        assert page.locator("#items input:checked").count() == 2
        assert faults == []
