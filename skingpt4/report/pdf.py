"""A report as PDF/A, without a browser: fonts inside, a title, an outline, and a description of each picture."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path

import matplotlib
from fpdf import FPDF
from fpdf.enums import MethodReturnValue, XPos, YPos
from fpdf.fonts import TTFFont

from skingpt4.report.content import UNSEEN, Report
from skingpt4.report.layout import Alarm, Block, Figures, Layout, Rows, Said, Words, lay_out
from skingpt4.vocabulary import NOT_A_DIAGNOSIS

FONT = "DejaVu"  # comes with matplotlib; has every Latin, Greek and Cyrillic letter
ABSENT = "□"  # stands for a character that the font lacks
INCOMPLETE = "Some characters cannot be shown properly in this PDF; the web page of this report shows them."
Colour = tuple[int, int, int]
INK, SOFT, LINK, ALARM, NOTICE = (23, 36, 44), (85, 101, 111), (15, 118, 110), (161, 22, 22), (122, 65, 6)
ALARM_PAPER, NOTICE_PAPER = (253, 238, 238), (253, 245, 228)
MARGIN_MM, GAP_MM, PICTURE_HEIGHT_MM = 18.0, 6.0, 100.0
BODY_PT, SMALL_PT = 10.5, 9.0


def to_pdf(report: Report) -> bytes:
    """The file, DIN A4. A character that the font lacks is shown as a small square; a line at the top says so then."""
    layout = lay_out(report)
    pdf = _drawn(report, layout, layout.notices)
    if pdf.incomplete:  # known only now that every text has been drawn
        pdf = _drawn(report, layout, (*layout.notices, INCOMPLETE))
    return bytes(pdf.output())


def _drawn(report: Report, layout: Layout, first: tuple[str, ...]) -> _Pdf:
    """first: the notices below the title."""
    pdf = _Pdf()
    pdf.set_title(layout.title)
    pdf.set_subject(layout.notices[0])
    pdf.set_lang(report.language)
    pdf.set_creator(f"skingpt4 {report.model.version}")
    pdf.set_creation_date(report.made_at)
    pdf.add_page()
    pdf.say(layout.title, 19, bold=True)
    pdf.say(layout.subtitle, SMALL_PT, SOFT)
    _notices(pdf, first)
    for part in layout.parts:
        pdf.heading(part.title, ALARM if part.anchor == "red-flags" else INK, _first_mm(pdf, part.blocks[0]))
        for block in part.blocks:
            _show(pdf, block)
    # Said again where there is room for it: the foot of every page has said it, so it needs no page of its own.
    if not pdf.will_page_break(GAP_MM + _notices(pdf, layout.notices, measure=True)):
        pdf.ln(GAP_MM)
        _notices(pdf, layout.notices)
    return pdf


class _Pdf(FPDF):
    """A page with our font, and paragraphs that know only what a report needs.

    incomplete: a text held characters that are not shown as they should be.
    """

    def __init__(self) -> None:
        super().__init__(enforce_compliance="PDF/A-2U")
        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        self.add_font(FONT, "", fonts / "DejaVuSans.ttf")
        self.add_font(FONT, "B", fonts / "DejaVuSans-Bold.ttf")
        self.set_margin(MARGIN_MM)
        self.c_margin = 0.0  # text begins where pictures do
        self.set_auto_page_break(True, MARGIN_MM + 4)
        self.incomplete = False
        self._known = set.intersection(*(set(font.cmap) for font in self.fonts.values() if isinstance(font, TTFFont)))

    def footer(self) -> None:
        self.set_y(-MARGIN_MM)
        self.say(f"{UNSEEN}  ·  page {self.page_no()} of {{nb}}", 8, SOFT)
        self.say(NOT_A_DIAGNOSIS, 8, SOFT)  # on every page: one may be shown without the others

    def keep_together(self, height_mm: float) -> None:
        """What follows begins a page where this much does not fit any more."""
        if self.will_page_break(height_mm):
            self.add_page()

    def heading(self, text: str, colour: Colour, following_mm: float) -> None:
        """Never alone at the foot of a page."""
        self.ln(GAP_MM)
        self.keep_together(10 + following_mm)
        self.start_section(self.known(text))
        self.say(text, 13, colour, bold=True)
        self.ln(1)

    def say(
        self,
        text: str,
        size: float = BODY_PT,
        colour: Colour = INK,
        bold: bool = False,
        paper: Colour | None = None,
        link: str | None = None,
        measure: bool = False,
    ) -> float:
        """One paragraph or several, over the whole width; returns the height in mm.

        paper: the colour behind it; measure: draw nothing.
        """
        self.set_font(FONT, "B" if bold else "", size)
        self.set_text_color(*colour)
        if paper:
            self.set_fill_color(*paper)
        height = self.multi_cell(
            0, size * 0.52, self.known(text), align="L", fill=paper is not None, link=link or "",
            padding=(1, 4) if paper else 0, new_x=XPos.LMARGIN, new_y=YPos.NEXT,
            dry_run=measure, output=MethodReturnValue.HEIGHT,
        )  # fmt: skip
        assert isinstance(height, int | float)
        return float(height)

    def known(self, text: str) -> str:
        """Text that the font can show. (The library would log the characters that it cannot.)"""
        flat = text.replace("\t", " ")
        shown = "".join(each if each == "\n" or ord(each) in self._known else ABSENT for each in flat)
        # Hebrew and Arabic letters are in the font, but they are drawn from left to right.
        self.incomplete |= shown != flat or any(unicodedata.bidirectional(each) in ("R", "AL") for each in flat)
        return shown


def _notices(pdf: _Pdf, notices: tuple[str, ...], measure: bool = False) -> float:
    """Returns the height in mm. measure: draw nothing."""
    gap = 2.0
    if not measure:
        pdf.ln(gap)
    return gap + sum(
        pdf.say(line, BODY_PT, NOTICE, bold=number == 0, paper=NOTICE_PAPER, measure=measure)
        for number, line in enumerate(notices)
    )


def _show(pdf: _Pdf, block: Block) -> None:
    if isinstance(block, Words):
        pdf.say(block.text, SMALL_PT if block.quiet else BODY_PT, SOFT if block.quiet else INK)
        pdf.ln(1.5)
    elif isinstance(block, Said):
        pdf.keep_together(14)
        pdf.say(block.question, SMALL_PT, SOFT)
        pdf.say(block.answer)
        pdf.ln(2)
    elif isinstance(block, Alarm):
        _alarm(pdf, block)
    elif isinstance(block, Figures):
        _figures(pdf, block)
    else:
        for row in block.rows:
            pdf.keep_together(12)
            pdf.say(row.name, SMALL_PT, bold=True)
            pdf.say(row.text, SMALL_PT)
            pdf.ln(1)
        _sources(pdf, block)


def _alarm(pdf: _Pdf, alarm: Alarm) -> None:
    pdf.keep_together(30)
    pdf.say(alarm.urgency, SMALL_PT, ALARM, bold=True, paper=ALARM_PAPER)
    pdf.say(alarm.title, BODY_PT, bold=True, paper=ALARM_PAPER)
    pdf.say(alarm.action, paper=ALARM_PAPER)
    for line in alarm.evidence:
        pdf.say(line, SMALL_PT, SOFT, paper=ALARM_PAPER)
    _sources(pdf, alarm, ALARM_PAPER)
    pdf.ln(2)


def _sources(pdf: _Pdf, block: Alarm | Rows, paper: Colour | None = None) -> None:
    for name, link in block.sources:
        pdf.say(f"Source: {name}", SMALL_PT, LINK if link else SOFT, paper=paper, link=link)


def _figures(pdf: _Pdf, block: Figures) -> None:
    """Side by side, each with its words below it; `_first_mm` has made room for them on one page."""
    width, heights = _sizes(pdf, block)
    top, bottom = pdf.get_y(), pdf.get_y()
    pdf.set_font(FONT, "", SMALL_PT)
    pdf.set_text_color(*SOFT)
    for column, (figure, height) in enumerate(zip(block.figures, heights, strict=True)):
        left = pdf.l_margin + column * (width + GAP_MM)
        shown = height * figure.picture.width / figure.picture.height
        pdf.image(io.BytesIO(figure.picture.data), left, top, shown, height, alt_text=figure.alt)
        pdf.set_xy(left, top + height + 1.5)
        pdf.multi_cell(width, SMALL_PT * 0.5, pdf.known(figure.caption), align="L", new_y=YPos.NEXT)
        bottom = max(bottom, pdf.get_y())
    pdf.set_xy(pdf.l_margin, bottom)


def _first_mm(pdf: _Pdf, block: Block) -> float:
    """How much of a part's first block must stand on the page of its heading."""
    return max(_sizes(pdf, block)[1]) + 20 if isinstance(block, Figures) else 12


def _sizes(pdf: _Pdf, block: Figures) -> tuple[float, list[float]]:
    """The width of a column and the height of each picture in it, in mm."""
    columns = max(2, len(block.figures))
    width = (pdf.epw - GAP_MM * (columns - 1)) / columns
    return width, [
        min(PICTURE_HEIGHT_MM, width * figure.picture.height / figure.picture.width) for figure in block.figures
    ]
