"""What the page says, in one place: plain words for someone who has never seen it."""

from __future__ import annotations

from skingpt4.vocabulary import CLINICAL_PROMPTS

TITLE = "SkinGPT-4"
SUBTITLE = "Ask about a photograph of skin. Everything is computed on this computer."

WELCOME_TITLE = "Please read this first"
# What is accepted before anything else is shown; the notices of the model stand above it.
BEFORE_YOU_START = (
    "It can be wrong, and it can sound sure while it is wrong. Do not start, stop or delay a treatment because of it.",
    "If you are very unwell, or something on your skin changes fast, bleeds or hurts badly, see a doctor now.",
    "Your photograph and your questions stay on the computer that runs this page. They are deleted when you start "
    "again, when you close the page, and after 30 minutes without use.",
)
ACCEPT = "I understand, continue"

# Gradio's own words in the upload area; browsers in other languages show Gradio's translations.
UPLOAD_AREA = {
    "upload_text.drop_file": "Drop a photograph of skin here",
    "upload_text.click_to_upload": "press to choose or take one",
}
PHOTOGRAPH = "Photograph"
PHOTOGRAPH_ALT = "The photograph that this conversation is about"
EXAMPLES = "No photograph at hand? These were drawn by a program; they show no real skin:"
CONVERSATION = "Conversation"

START = "Describe this photograph"
START_PROMPT = CLINICAL_PROMPTS[0]
# The paper's further questions, each behind a few plain words.
SUGGESTIONS: dict[str, str] = dict(
    zip(
        ("What else can be seen?", "What could be the cause?", "What could be done about it?"),
        CLINICAL_PROMPTS[1:],
        strict=True,
    )
)
QUESTION = "Your question"
ASK = "Ask"
STOP = "Stop"
RESTART = "Start again"
REPORT = "Make a report"
HOW = "How it works"
STEPS = (
    "Add a photograph: a sharp one, in daylight, of the place and a hand's breadth around it.",
    "Press “{start}” and read the answer.",
    "Ask on, or save a report that you can show to your doctor.",
)

WAITING_FOR_PHOTOGRAPH = "Add a photograph to begin."
OPENING = "Opening the photograph …"
LOOKING = "Looking at the photograph …"
READY = "The photograph is ready."
ANSWERED = "Ask on, make a report, or start again."
THINKING = "Thinking …"
ANSWERING = "Answering …"
STOPPED = "Stopped."
TYPE_FIRST = "Type a question first."
TOO_LONG = "⚠ The question is too long. Ask it in at most 4,000 characters."
BETTER_PICTURE = "A better picture would help"
DRAWN = "This is a drawing by a program, not a photograph of skin."
REPORTING = "Writing the report …"
REPORT_READY = "The report is ready."
REPORT_STOPPED = "The report was stopped."
BUSY = "Too many people are using this page right now. Please try again in a few minutes."
FAULT = "Something went wrong on our side. Please try again; if it happens again, start again."
GONE = "Your photograph was deleted after a long time without use. Please add it again."

SEE_FLAGS = "⚠ A sign that needs a doctor was named. It stands at the top of this page."
FLAGS_TITLE = "Signs that need a doctor"
YOU_WROTE, MODEL_SAID = "You wrote", "The model said"
SOURCE = "Source: {}"
REPORT_TITLE = "Your report"
REPORT_ADVICE = "Save it now: it is deleted with everything else when you start again or close this page."

EXPERTS = "For experts"
SHOW_HEATMAP = "Show what the model looked at"
HEATMAP_ALT = "The photograph with the places that the model attended to"
SEE_HEATMAP = "The heat-map stands under “For experts”."
NO_HEATMAP = "This model cannot tell what it looked at."


def drawn(name: str) -> str:
    """What an example shows, for those who do not see it."""
    return f"A synthetic drawing of {name}"


def use_drawing(name: str) -> str:
    """On the button below an example."""
    return f"Drawn: {name}"


def out_of_range(label: str, kind: str, low: float, high: float) -> str:
    """A number of the expert drawer that cannot be. kind: "a" or "a whole"."""
    return f"“{label}” (under “{EXPERTS}”) must be {kind} number from {low} to {high}."


def waiting(ahead: int) -> str:
    """The place in the queue. ahead: how many people come before."""
    before = "One person is" if ahead == 1 else f"{ahead} people are"
    return f"{before} before you. You need not do anything …"


def section_of(section: int, sections: int) -> str:
    """How far a report is."""
    return f"{REPORTING} section {section} of {sections}"


def speed(read_tokens: int, new_tokens: int, first_token_seconds: float, tokens_per_second: float) -> str:
    """What the last answer cost."""
    return (
        f"Last answer: {read_tokens} tokens read, {new_tokens} written; the first after "
        f"{first_token_seconds:.2f} s, then {tokens_per_second:.0f} tokens per second."
    )
