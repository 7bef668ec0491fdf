"""How the page looks: plain fonts of the user's own system, a calm colour, room to read on a phone."""

from __future__ import annotations

import gradio as gr

SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")  # no font comes from elsewhere

CSS = """
.gradio-container > main { width: 100%; max-width: 1120px !important; margin: 0 auto !important; }
.gradio-container { background: var(--body-background-fill) !important; overflow: clip !important; }
#head h1 { margin: 0; font-size: 1.6rem; font-weight: 650; }
#head p { margin: .15rem 0 0; color: var(--body-text-color-subdued); }
#notice { position: sticky; top: 0; z-index: 20; padding: .7rem 1rem; border-radius: 10px;
  border: 1px solid #e0c583; border-left: 5px solid #c2851c; background: #fdf7e6; }
#notice p { margin: .1rem 0; color: #4d3a10; line-height: 1.4; }
.dark #notice { background: #322913; border-color: #6b5526; border-left-color: #d9a441; }
.dark #notice p { color: #f3e3bb; }
#status { min-height: 1.5rem; }
#status p { margin: 0; color: var(--body-text-color-subdued); }
#prompts button { justify-content: flex-start; text-align: left; font-weight: 400; white-space: normal;
  line-height: 1.35; min-height: 44px; padding: .5rem .9rem; font-size: .95rem; }
#prompts { gap: .5rem; }
#chat button[aria-label="Clear"], #chat button[title="Clear"] { display: none; }
#chat { font-size: 1.02rem; }
#chat .message { line-height: 1.55; }
@media (max-width: 700px) {
  .gradio-container { padding: .5rem !important; }
  #notice { font-size: .9rem; }
}
"""


def theme() -> gr.themes.Base:
    """A light and a dark look in teal and slate."""
    return gr.themes.Soft(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        font=SYSTEM_FONTS,
        font_mono=("ui-monospace", "monospace"),
        radius_size=gr.themes.sizes.radius_md,
        text_size=gr.themes.sizes.text_md,
    ).set(  # dark enough for white words to be read on it (WCAG AA)
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        body_background_fill="*neutral_50",
        body_text_color_subdued="#55627a",
        body_text_color_subdued_dark="#a9b4c6",
        block_info_text_color="#55627a",
        block_info_text_color_dark="#a9b4c6",
        block_border_width="1px",
        block_label_text_color="*primary_800",
        block_title_text_color="*primary_800",
    )
