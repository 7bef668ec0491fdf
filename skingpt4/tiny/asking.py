"""Asks a question of the corpus in one of many wordings."""

from __future__ import annotations

import numpy as np

from skingpt4.tiny.questions import HELD_OUT, WORDINGS

# Questions for the disease put together from parts, beside the whole ones of `WORDINGS`: thousands of wordings.
_ASKERS = (
    "Can you tell me {}?", "Could you tell me {}?", "Please tell me {}.", "Please say {}.", "Tell me {}.",
    "I would like to know {}.", "I want to know {}.", "I wonder {}.", "Do you know {}?", "Can you see {}?",
    "Any idea {}?", "Do you have any idea {}?", "Help me find out {}.", "Can you say {}?", "Would you tell me {}?",
)  # fmt: skip
_INDIRECT = (
    "which {thing} this is", "which {thing} this could be", "what {thing} I have", "which {thing} I might have",
    "which {thing} {picture} shows", "which {thing} is in {picture}", "which {thing} you see in {picture}",
    "what kind of {thing} that is", "what is on {skin}", "what this is on {skin}", "what is the matter with {skin}",
    "what happened to {skin}", "what the {thing} in {picture} is called", "the name of the {thing} in {picture}",
)  # fmt: skip
_DIRECT = (
    "Which {thing} is this?", "Which {thing} might that be?", "What {thing} could I have?",
    "Which {thing} does {picture} show?", "Which {thing} is in {picture}?", "Which {thing} do you see in {picture}?",
    "What kind of {thing} is that?", "What is the {thing} in {picture}?", "What is it on {skin}?",
    "What could that be on {skin}?", "What is the matter with {skin}?", "Can you name the {thing} on {skin}?",
    "Could you name the {thing}?", "Please name the {thing} on {skin}.", "Do you recognize the {thing} in {picture}?",
    "Please identify the {thing} in {picture}.", "What is your diagnosis for {picture}?",
)  # fmt: skip
_BLANKS: dict[str, tuple[str, ...]] = {
    "thing": ("disease", "skin disease", "illness", "condition", "skin condition", "skin problem", "disorder", "rash"),
    "picture": ("this image", "this picture", "this photo", "the image", "the picture", "the photo", "my photo"),
    "skin": ("my skin", "the skin", "my arm", "my leg", "my back", "my face"),
}
_ASSEMBLED_SHARE = 0.4
_UNSEEN = {wording.lower() for wording in HELD_OUT["diagnosis"]}


_OPENERS = (
    "Hello. ",
    "Hi. ",
    "Doctor, ",
    "Please help me. ",
    "I am worried. ",
    "Good morning. ",
    "I have had this for two weeks. ",
    "This is a photo of my arm. ",
    "My skin is itchy. ",
    "I found this on my leg. ",
    "It started last month. ",
    "Excuse me, ",
)
_CLOSERS = (" Thank you.", " Please help me.", " I am worried.", " Please tell me.", " Thanks.")


def _assemble(rng: np.random.Generator) -> str:
    """A question for the disease, put together."""

    def pick(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))]

    blanks = {name: pick(options) for name, options in _BLANKS.items()}
    question = pick(_DIRECT).format(**blanks)
    if rng.random() < 0.5:
        question = pick(_ASKERS).format(pick(_INDIRECT).format(**blanks))
    return question if question.lower() not in _UNSEEN else _assemble(rng)


def ask(what: str, rng: np.random.Generator, dressed: float = 0.3) -> str:
    """One wording of a question; with probability `dressed` a greeting, a closing word or a lazy spelling is added."""
    options = WORDINGS[what]
    # The paper's own wordings come first in their lists and are what training and the clinical evaluation use.
    own = {"diagnosis": 2, "concepts": 1, "features": 1, "cause": 1, "treatment": 1}.get(what, 0)
    if own and rng.random() < 0.35:
        return options[int(rng.integers(own))]
    question = options[int(rng.integers(len(options)))]
    if what == "diagnosis" and rng.random() < _ASSEMBLED_SHARE:
        question = _assemble(rng)
    if rng.random() >= dressed:
        return question
    change = rng.random()
    if change < 0.45:
        opener = _OPENERS[int(rng.integers(len(_OPENERS)))]
        return opener + (
            question[0].lower() + question[1:] if opener.endswith(", ") and not question.startswith("I ") else question
        )
    if change < 0.7:
        return question + _CLOSERS[int(rng.integers(len(_CLOSERS)))]
    if change < 0.9:
        return question.lower()
    return question.rstrip("?.")
