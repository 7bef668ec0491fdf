"""A report in every format: everything is there, and nothing that a user or a model wrote is obeyed."""

from __future__ import annotations

import io
import json
import logging
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from markdown_it import MarkdownIt
from pypdf import PdfReader

from skingpt4.errors import SettingsError
from skingpt4.report.content import Exchange, Report
from skingpt4.report.files import FORMATS, report_bytes
from skingpt4.report.html import to_html
from skingpt4.report.markdown import to_markdown
from skingpt4.report.pdf import ABSENT, INCOMPLETE, to_pdf
from skingpt4.report.red_flags import Evidence, Source

EVIL = (
    '<script>fetch("http://evil.example/")</script> "><img src=http://evil.example/a.png onerror=alert(1)>'
    " ![x](http://evil.example/b.png) [click](javascript:alert(1)) <style>body{background:url(http://evil.example/c)}"
    "</style>\n# Cured\n- done\n1. one\n> quote\n=====\n```\ncode\n```\n    <b>indented</b>\n| a | b |\n|---|---|\n"
    "[ref]: http://evil.example/d\nhttp://evil.example/e www.evil.example a@evil.example {{ 7*7 }} &lt;i&gt; $x$"
    "\x00\x1b[31m"
)


@pytest.fixture
def evil(report: Report) -> Report:
    """A report all of whose texts from outside try to be more than text."""
    flag = replace(
        report.red_flags[0],
        sign=EVIL,
        evidence=(Evidence("user", EVIL),),
        sources=(Source("a source", 'javascript:alert("x")'), Source("another", 'https://x.example/"onclick="a')),
    )
    sections = tuple(replace(section, answer=EVIL) for section in report.sections)
    return replace(
        report, red_flags=(flag,), sections=sections, conversation=(Exchange(EVIL, EVIL, 2),), remarks=(EVIL,)
    )


FOOTER = re.compile(r"No doctor[^\n]+page \d of \d\nThis is a research model[^\n]+$")


def must_say(report: Report) -> list[str]:
    """Words that no rendering may leave out, in their order."""
    flag, section = report.red_flags[0], report.sections[3]
    words = [report.notices[0], flag.sign, flag.advice, flag.evidence[0].words, flag.sources[0].title]
    words += [each.answer for each in report.sections[:3]] + [section.question, section.answer, "medicine"]
    words += [report.conversation[0].question, report.concepts[0].words, report.model.projection[:16], report.id]
    return [*words, *report.notices]


def flat(text: str) -> str:
    return " ".join(text.split())


def in_order(words: list[str], text: str) -> None:
    place = 0
    for each in words:
        found = flat(text).find(flat(each), place)
        assert found >= 0, f"{each!r} is missing or comes too early"
        place = found


def test_html_says_everything_red_flags_first(report: Report):
    from html import unescape

    page = to_html(report)
    in_order(must_say(report), unescape(re.sub(r"<[^>]+>", " ", page.split("</style>")[1])))
    in_order(["red-flags-title", "photograph-title", "description-title", "conversation-title", "words-title"], page)
    assert page.count("data:image/jpeg;base64,") == 2 and 'alt="The photograph"' in page
    for anchor in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{anchor}"' in page


def test_html_obeys_no_text_and_loads_nothing(evil: Report):
    page = to_html(evil)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy and policy[1].startswith("default-src 'none'") and "script-src" not in policy[1]
    assert page.count("<style>") == 1 and "{{ 7*7 }}" in page
    tags = re.findall(r"<([a-z0-9]+)", page)
    assert not {"script", "b", "i", "iframe", "link", "form", "object"} & set(tags) and tags.count("img") == 2
    assert not re.findall(r'(?:src|href)="(?!data:image/jpeg;base64,|#concept-|https://)[^"]*"', page)
    assert "onclick" not in "".join(re.findall(r"<[^>]+>", page))


def test_a_report_without_extras_has_no_empty_parts(report: Report):
    bare = replace(report, red_flags=(), heatmap=None, conversation=(), concepts=())
    page = to_html(bare)
    assert not {"red-flags-title", "conversation-title", "words-title"} & set(re.findall(r'id="([^"]+)"', page))
    for name in FORMATS:
        assert report_bytes(bare, name)


def test_markdown_says_everything(report: Report):
    rendered = MarkdownIt("commonmark").render(to_markdown(report))
    in_order(must_say(report), re.sub(r"<[^>]+>", " ", rendered).replace("&quot;", '"').replace("&amp;", "&"))
    assert rendered.count('<img src="data:image/jpeg;base64,') == 2


def test_markdown_obeys_no_text(evil: Report, report: Report):
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    reader.validateLink = lambda _: True
    kinds, links = [], []
    for token in reader.parse(to_markdown(evil)):
        for each in [token, *(token.children or [])]:
            kinds.append(each.type)
            links += [each.attrs[key] for key in ("href", "src") if key in each.attrs]
    obeyed = {"html_inline", "html_block", "table_open", "fence", "code_block", "code_inline", "ordered_list_open"}
    assert not obeyed & {*kinds}
    assert kinds.count("image") == 2 and kinds.count("heading_open") == 11
    assert all(link.startswith(("data:image/jpeg", "https://dermnetnz.org/")) for link in links), links
    assert not re.search(r"(?<!<)(?:https?://|www\.)evil|a@evil", to_markdown(evil))  # nor by viewers that find links


def test_pdf_says_everything_and_is_findable(report: Report):
    file = PdfReader(io.BytesIO(to_pdf(report)))
    in_order(
        must_say(report),
        "\n".join(FOOTER.sub("", page.extract_text()) for page in file.pages),
    )
    root = file.root_object
    assert root["/Lang"] == "en" and "/StructTreeRoot" in root
    metadata = root["/Metadata"].get_data().decode()
    assert "Report on a photograph of skin" in metadata and "pdfaid" in metadata
    titles = [each.title for each in file.outline]
    assert titles[:3] == ["Signs that need a doctor", "The photograph", "Description"]
    assert sum(len(page.images) for page in file.pages) == 2
    assert "page 1 of" in file.pages[0].extract_text()


def test_pdf_shows_other_scripts_and_survives_any_text(evil: Report, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    text = "Ωμέγα Кожа ñß Łódź 皮膚 😀 \u05d0 \U0010ffff " + "x" * 4000 + " word" * 4000
    pages = PdfReader(io.BytesIO(to_pdf(replace(evil, conversation=(Exchange(text, text),))))).pages
    shown = "\n".join(page.extract_text() for page in pages)
    assert len(pages) > 10 and f"Ωμέγα Кожа ñß Łódź {ABSENT}{ABSENT}" in shown and "<script>" in shown
    assert "皮" not in caplog.text and "Кожа" not in caplog.text


@pytest.mark.parametrize("text", ["皮膚", "ひふ", "त्वचा", "ผิวหนัง", "🧴", "\u05e2\u05d5\u05e8", "\u062c\u0644\u062f"])
def test_pdf_says_once_near_the_top_that_a_script_is_not_shown(report: Report, text: str):
    foreign = replace(report, conversation=(Exchange(text, text), Exchange(text, "yes")))
    pages = [flat(page.extract_text()) for page in PdfReader(io.BytesIO(to_pdf(foreign))).pages]
    assert "".join(pages).count(INCOMPLETE) == 1
    assert pages[0].find(INCOMPLETE) < pages[0].find("Signs that need a doctor")
    assert text in to_html(foreign) and text in to_markdown(foreign)  # as the line promises


def test_pdf_that_shows_everything_says_no_such_thing(report: Report):
    shown = replace(report, conversation=(Exchange("Ωμέγα Кожа ñß Łódź Việt “…” 5 µm²", "Yes."),))
    pages = PdfReader(io.BytesIO(to_pdf(shown))).pages
    assert INCOMPLETE not in flat(" ".join(page.extract_text() for page in pages))


def test_pdf_has_no_page_of_nothing_but_the_notices(report: Report):
    """Whatever the length of the text before them, and every page says the most important ones."""
    ends = set()
    for lines in range(0, 56, 4):
        longer = replace(report, conversation=(), remarks=("\n".join(["A remark."] * lines),) if lines else ())
        pages = [page.extract_text() for page in PdfReader(io.BytesIO(to_pdf(longer))).pages]
        for page in pages:
            assert all(notice in flat(page) for notice in report.notices[:2])
        body = flat(FOOTER.sub("", pages[-1]))
        closed = body.endswith(report.notices[-1])
        ends.add(closed)
        assert body.removesuffix(flat(" ".join(report.notices))).strip()
    assert ends == {True, False}


def test_pdf_of_pictures_of_any_shape(report: Report):
    for width, height in ((1600, 3), (3, 1600), (1, 1)):
        from PIL import Image

        buffer = io.BytesIO()
        Image.new("RGB", (width, height), "tan").save(buffer, "JPEG")
        thin = replace(report.picture, data=buffer.getvalue(), width=width, height=height)
        assert len(PdfReader(io.BytesIO(to_pdf(replace(report, picture=thin)))).pages) >= 2


def test_fhir_round_trip(report: Report):
    data = report_bytes(report, "fhir")
    record = DiagnosticReport.model_validate_json(data)
    assert json.loads(record.model_dump_json()) == json.loads(data)
    assert record.status == "preliminary" and record.subject is None and record.issued == report.made_at
    assert record.conclusion.startswith(report.notices[0]) and report.red_flags[0].sign in record.conclusion
    assert record.identifier[0].value == f"urn:uuid:{report.id}"
    pdf = record.presentedForm[0].data
    assert record.presentedForm[0].contentType == "application/pdf" and pdf.startswith(b"%PDF")
    answers = {
        each.code.text: each.valueString for each in record.contained if each.get_resource_type() == "Observation"
    }
    assert answers == {section.question: section.answer for section in report.sections}
    assert all(code.coding is None for code in record.conclusionCode)


def test_fhir_references_what_it_contains(report: Report):
    text = report_bytes(report, "fhir").decode()
    contained = {each["id"] for each in json.loads(text)["contained"]}
    assert contained == set(re.findall(r'"reference": ?"#([^"]+)"', text))
    assert {"model", "photograph", "heatmap"} <= contained


def test_fhir_obeys_no_text(evil: Report):
    record = json.loads(report_bytes(evil, "fhir"))
    narrative = ElementTree.fromstring(record["text"]["div"])
    tags = {each.tag.split("}")[1] for each in narrative.iter()}
    assert tags == {"div", "h2", "h3", "p", "b"}
    assert "<script>" in "".join(narrative.itertext())


def test_every_format_has_what_a_download_needs(report: Report):
    assert list(FORMATS) == ["html", "pdf", "md", "json", "fhir"]
    assert len({kind.suffix for kind in FORMATS.values()}) == len(FORMATS)
    for name, kind in FORMATS.items():
        assert "/" in kind.media_type and kind.label and report_bytes(report, name)
    with pytest.raises(SettingsError, match="'docx' is no format of reports; there are html, pdf, md, json, fhir"):
        report_bytes(report, "docx")
