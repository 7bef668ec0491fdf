"""How the page looks: plain fonts of the user's own system, a calm colour, room to read on a phone."""

from __future__ import annotations

import gradio as gr

SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")  # no font comes from elsewhere

CSS = """
.gradio-container > main { width: 100%; max-width: 1120px !important; margin: 0 auto !important; }
.gradio-container { background: var(--body-background-fill) !important; overflow: clip !important; }
.gradio-container :focus-visible { outline: 3px solid var(--primary-500) !important; outline-offset: 2px; }
#head h1 { margin: 0; font-size: 1.6rem; font-weight: 650; }
p.quiet, span.quiet, .line { color: var(--body-text-color-subdued); }
#head p { margin: .15rem 0 0; }

#welcome { max-width: 680px; margin: 1rem auto; padding: 1.2rem 1.4rem; gap: 1rem; border-radius: 12px;
  background: var(--block-background-fill); border: 1px solid var(--border-color-primary); }
#welcome h2 { margin-top: 0; } #welcome li { margin: .4rem 0; }

#banner { position: sticky; top: 0; z-index: 60; }
.banner { padding: .6rem 1rem; border-radius: 10px; border: 1px solid #e0c583; border-left: 5px solid #c2851c;
  background: #fdf7e6; }
.banner p { margin: .1rem 0; color: #4d3a10 !important; line-height: 1.4; } .banner b { color: inherit !important; }
.dark .banner { background: #322913; border-color: #6b5526; border-left-color: #d9a441; }
.dark .banner p { color: #f3e3bb !important; }

.flags { padding: .8rem 1.1rem; border-radius: 10px; border: 2px solid #b3261e; background: #fdecea; }
.flags h2 { margin: 0 0 .3rem; font-size: 1.15rem; } .flags ul { margin: 0; padding-left: 1.1rem; }
.flags :is(h2, li, b) { color: #5c120d !important; }
.flags li { margin: .45rem 0; } .flags .quiet { display: block; font-size: .9rem; color: #7a2a24; }
.dark .flags { background: #3a1512; border-color: #e5786f; }
.dark .flags :is(h2, li, b) { color: #ffdad6 !important; } /* Gradio minds only the first of a list of selectors */
.dark .flags .quiet { color: #f0b5ae; }

.advice { padding: .7rem 1rem; border-radius: 10px; border: 1px solid var(--border-color-primary);
  border-left: 5px solid var(--primary-600); background: var(--block-background-fill); }
.advice h2 { margin: 0 0 .2rem; font-size: 1.05rem; } .advice p { margin: .25rem 0; line-height: 1.45; }

img.photo { display: block; width: 100%; max-height: 340px; object-fit: contain; margin: 0 !important;
  border-radius: 10px; background: var(--background-fill-secondary); }
#examples img.photo { max-height: 110px; object-fit: cover; }
#examples { gap: .6rem; } #examples button { white-space: normal; min-height: 44px; padding: .3rem; }
figure { margin: 0; } figcaption { font-size: .92rem; color: var(--body-text-color-subdued); }
.line { min-height: 1.5rem; }
#start, #report, #restart, #accept { min-height: 48px; }
.steps { padding: .9rem 1.2rem; border-radius: 10px; border: 1px solid var(--border-color-primary);
  background: var(--block-background-fill); }
.steps h2 { margin: 0 0 .4rem; font-size: 1.1rem; } .steps li { margin: .4rem 0; }

.report { padding: .8rem 1.1rem; border-radius: 10px; border: 1px solid var(--border-color-primary);
  background: var(--block-background-fill); }
.report h2 { margin: 0; font-size: 1.1rem; } .report p { margin: .2rem 0 .5rem; }
.report ul { display: flex; flex-wrap: wrap; gap: .5rem; list-style: none; margin: 0; padding: 0; }
.report li { margin: 0; padding: 0; }
a.download { display: inline-block; padding: .55rem .9rem; border-radius: 8px; font-weight: 600;
  color: var(--button-secondary-text-color) !important; background: var(--button-secondary-background-fill);
  border: 1px solid var(--border-color-primary); text-decoration: none !important; }
a.download:hover { text-decoration: underline !important; }

#suggestions { gap: .5rem; }
#suggestions button { justify-content: flex-start; text-align: left; font-weight: 400; min-height: 44px;
  padding: .5rem .9rem; font-size: .95rem; }
#chat { font-size: 1.02rem; }
#chat .message { line-height: 1.55; }
#chat button[aria-label="Clear"], #chat button[title="Clear"] { display: none; }
#stop { color: #b3261e; border: 2px solid currentColor; } .dark #stop { color: #ffb4ab; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .92rem; }
dl.facts dt { font-weight: 600; } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 700px) {
  .gradio-container { padding: .5rem !important; }
  #banner { position: static; }
  #head p { display: none; }
  img.photo { max-height: 170px; }
  /* While an answer grows, it and the button that stops it stand on the first screen. */
  #main:has(#chat) #photograph img.photo { max-height: 64px; }
  #main:has(#chat) #photo_advice { display: none; }
  #chat { height: 33svh !important; min-height: 180px; }
  #asking { position: sticky; bottom: 0; z-index: 50; padding: .4rem 0; background: var(--body-background-fill); }
  .banner { font-size: .88rem; padding: .4rem .7rem; }
  #welcome { padding: .9rem; margin: .3rem auto; }
  dl.facts { grid-template-columns: 1fr; }
}
@media (prefers-reduced-motion: reduce) { * { animation-duration: .01ms !important; transition: none !important; } }
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
        button_primary_background_fill_hover_dark="*primary_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        block_label_background_fill_dark="*primary_800",
        block_title_background_fill_dark="*primary_800",
        body_background_fill="*neutral_50",
        body_text_color_subdued="#55627a",
        body_text_color_subdued_dark="#a9b4c6",
        block_info_text_color="#55627a",
        block_info_text_color_dark="#a9b4c6",
        block_border_width="1px",
        block_label_text_color="*primary_800",
        block_title_text_color="*primary_800",
    )
