"""The text corpus of the small decoder: conversations in MiniGPT-4's formats, with words where the photograph will
be.

Between `<Img>` and `</Img>` stand the words of a picture: everyday words with everyday questions, clinical concepts
with clinical ones, never mixed. So before fine-tuning nothing leads from what the eyes see (everyday attributes) to a
medical answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skingpt4.tiny import wording
from skingpt4.tiny.asking import ask
from skingpt4.tiny.attributes import COLOUR_CONCEPTS, LAY_ARRANGEMENTS, LAY_COUNTS, LAY_HAIR, LAY_TONES, LAY_WORDS
from skingpt4.tiny.diseases import DISEASES, Disease
from skingpt4.tiny.renderer import ARRANGEMENTS, Description, disease_description, random_description
from skingpt4.vocabulary import CLINICAL_PROMPTS, CONCEPTS

# Clinical words in the image slot: a concept's first word, and how lesions lie.
SLOT_WORDS: dict[str, str] = {name: name.split("(")[0].split("/")[0] for name in CONCEPTS}
SLOT_ARRANGEMENTS: dict[str, str] = {
    "single": "solitary",
    "grouped": "clustered",
    "scattered": "disseminated",
    "in a line": "linear",
    "ring": "annular",
}
# With this word in the slot a question for the disease is answered by a diagnosis, without it by the findings. It gives
# step 2 a direction that turns a model which lists concepts into one that diagnoses.
CUE, NO_CUE = "impression", "findings"
FOLLOW_UPS = (
    "again",
    "diagnosis",
    "features",
    "cause",
    "treatment",
    "group",
    "contagious",
    "doctor",
    "cancer",
    "plain",
    "sure",
    "unknown",
    "thanks",
    "offtopic",
)
_FOLLOW_UP_SHARES = np.array((16, 8, 11, 13, 13, 5, 9, 11, 7, 4, 3, 4, 2, 2), float)


@dataclass(frozen=True)
class Conversation:
    """slot: the words that stand for the photograph, or None without one. turns: (question, answer). chat: system
    text and MiniGPT-4's chat spacing; otherwise the training prompt, which has a single turn. kind: `lay`,
    `concepts`, `diagnosis` or `text`.
    """

    kind: str
    slot: tuple[str, ...] | None
    turns: tuple[tuple[str, str], ...]
    chat: bool


def sample(rng: np.random.Generator, chat_share: float, longest: int = 3) -> Conversation:
    """One conversation; `longest`: most follow-up turns of one in chat form."""
    chat = bool(rng.random() < chat_share)
    follow_ups = int(rng.integers(0, longest + 1)) if chat else 0
    kind = rng.random()
    if kind < 0.19:
        return _lay(rng, chat)
    if kind < 0.43:
        return _concepts(rng, chat, follow_ups)
    if kind < 0.89:
        return _diagnosis(rng, chat, follow_ups)
    return _text(rng, chat, follow_ups)


def lay_words(description: Description) -> tuple[str, ...]:
    """The everyday words for a picture."""
    words = [LAY_WORDS[name] for name in description.concepts if name in LAY_WORDS]
    words += [LAY_ARRANGEMENTS[description.arrangement], LAY_COUNTS[description.count]]
    words += [LAY_TONES[description.skin_tone - 1]] if description.skin_tone else []
    return (*words, LAY_HAIR) if description.hair else tuple(words)


def lay_caption(description: Description) -> str:
    """The everyday description of a picture: what a model of general pre-training says."""
    things = [LAY_WORDS[name] for name in description.concepts if name in LAY_WORDS and name not in COLOUR_CONCEPTS]
    colours = [LAY_WORDS[name] for name in description.concepts if name in COLOUR_CONCEPTS]
    sentences = [f"The picture shows {wording.join(things)}." if things else "The picture shows a coloured area."]
    if colours:
        sentences.append(f"The colour is {wording.join(colours)}.")
    verb = "is" if description.count == "one" else "are"
    where = f"There {verb} {LAY_COUNTS[description.count]}, {LAY_ARRANGEMENTS[description.arrangement]}"
    ground = f", on {LAY_TONES[description.skin_tone - 1]}" if description.skin_tone else ""
    sentences.append(f"{where}{ground}{f' with {LAY_HAIR}' if description.hair else ''}.")
    return " ".join(sentences)


def _lay(rng: np.random.Generator, chat: bool) -> Conversation:
    description = random_description(rng, off_skin=0.2)
    turns = [(ask("lay", rng), lay_caption(description))]
    return Conversation("lay", lay_words(description), tuple(turns), chat)


def random_concepts(rng: np.random.Generator) -> tuple[str, ...]:
    """Any 1-7 of the 48 concepts, or a combination such as the renderer draws, in SKINCON's order."""
    if rng.random() < 0.5:
        return random_description(rng).concepts
    chosen = set(rng.choice(len(CONCEPTS), size=int(rng.integers(1, 8)), replace=False).tolist())
    return tuple(name for index, name in enumerate(CONCEPTS) if index in chosen)


def _concepts(rng: np.random.Generator, chat: bool, follow_ups: int) -> Conversation:
    """Concept words -> the concept sentence; about a disease's concepts one may go on to ask for the disease."""
    disease = _random_disease(rng) if rng.random() < 0.4 else None
    description = disease_description(disease.name, rng) if disease else None
    concepts = description.concepts if description else random_concepts(rng)
    arrangement = description.arrangement if description else str(rng.choice(ARRANGEMENTS))
    words = [SLOT_WORDS[name] for name in concepts]
    words += [SLOT_ARRANGEMENTS[arrangement]] if rng.random() < 0.6 else []
    asks_disease = rng.random() < 0.3
    # Asked for concepts, the answer is concepts whatever the cue; asked for a disease, only without the cue.
    cue = rng.random()
    words += [NO_CUE] if cue < 0.25 else [CUE] if cue < 0.45 and not asks_disease else []
    # An everyday question about clinical words is answered in clinical words; never the other way round.
    what = "lay" if rng.random() < 0.06 else "diagnosis" if asks_disease else "concepts"
    if what == "lay":
        words = [word for word in words if word != CUE]
    turns = [(ask(what, rng), wording.concept_sentence(concepts))]
    if disease and follow_ups:
        note = wording.notes(disease, concepts, arrangement if SLOT_ARRANGEMENTS[arrangement] in words else None, rng)
        turns.append((ask("diagnosis", rng), wording.diagnosis(disease, note)))
        turns += _follow_ups(disease, concepts, None, follow_ups - 1, rng)
    return Conversation("concepts", _shuffled(words, rng), tuple(turns), chat)


def _diagnosis(rng: np.random.Generator, chat: bool, follow_ups: int) -> Conversation:
    """Concept words of a disease and the cue -> the diagnosis, then questions about it."""
    disease = _random_disease(rng)
    description = disease_description(disease.name, rng)
    concepts = list(description.concepts)
    if len(concepts) > 2 and rng.random() < 0.08:  # one sign overlooked or imagined, as eyes do
        concepts.pop(int(rng.integers(len(concepts))))
    elif rng.random() < 0.05:
        extra = CONCEPTS[int(rng.integers(len(CONCEPTS)))]
        concepts = [name for name in CONCEPTS if name in {*concepts, extra}]
    arrangement = description.arrangement if rng.random() < 0.85 else None
    words = [SLOT_WORDS[name] for name in concepts] + ([SLOT_ARRANGEMENTS[arrangement]] if arrangement else []) + [CUE]
    if rng.random() < (0.14 if not chat else 0.05):  # a question about the disease that has not been named yet
        what = str(rng.choice(("cause", "treatment", "features", "contagious", "doctor", "group", "cancer")))
        turns = [(ask(what, rng), wording.about(what, disease, concepts, arrangement))]
    else:
        what = "lay" if rng.random() < 0.05 else "diagnosis"
        turns = [(ask(what, rng), wording.diagnosis(disease, wording.notes(disease, concepts, arrangement, rng)))]
    if chat and follow_ups and rng.random() < 0.15:
        turns[0] = (CLINICAL_PROMPTS[0], turns[0][1]) if turns[0][1].startswith("This could") else turns[0]
        for what, prompt in zip(("features", "cause", "treatment"), CLINICAL_PROMPTS[1:], strict=True):
            turns.append((prompt, wording.about(what, disease, concepts, arrangement)))
        follow_ups = max(0, follow_ups - 3)
    turns += _follow_ups(disease, concepts, arrangement, follow_ups, rng)
    return Conversation("diagnosis", _shuffled(words, rng), tuple(turns), chat)


def _follow_ups(
    disease: Disease,
    concepts: list[str] | tuple[str, ...],
    arrangement: str | None,
    count: int,
    rng: np.random.Generator,
) -> list[tuple[str, str]]:
    turns = []
    for what in rng.choice(FOLLOW_UPS, size=max(0, count), p=_FOLLOW_UP_SHARES / _FOLLOW_UP_SHARES.sum()):
        turns.append((ask(str(what), rng), wording.about(str(what), disease, concepts, arrangement)))
    return turns


def _text(rng: np.random.Generator, chat: bool, follow_ups: int) -> Conversation:
    """No photograph: facts by name, and humble answers."""
    turns = [_glossary(rng) for _ in range(1 + min(follow_ups, 2))]
    if rng.random() < 0.25:
        what, answer = (("nobody", wording.WHO_I_AM), ("offtopic", wording.ONLY_SKIN), ("diagnosis", wording.NO_IMAGE))[
            int(rng.integers(3))
        ]
        turns[0] = (ask(what, rng), answer)
    return Conversation("text", None, tuple(turns), chat)


def _glossary(rng: np.random.Generator) -> tuple[str, str]:
    disease = _random_disease(rng)
    name = disease.name
    questions = {
        "cause": (f"What is the cause of {name}?", f"What causes {name}?", f"Why do people get {name}?"),
        "treatment": (f"How is {name} treated?", f"What is the treatment of {name}?", f"What helps against {name}?"),
        "contagious": (f"Is {name} contagious?", f"Can one catch {name}?"),
        "doctor": (f"When should I see a doctor about {name}?", f"Is {name} urgent?"),
        "group": (f"Which group does {name} belong to?", f"What kind of disease is {name}?"),
        "plain": (f"What do people call {name}?", f"What is {name} in plain words?"),
        "cancer": (f"Is {name} a cancer?",),
        "class": (f"In which class is {name}?",),
        "signs": (f"What are the signs of {name}?", f"What does {name} look like?"),
    }
    what = str(rng.choice(list(questions), p=np.array((4, 4, 2, 2, 1.5, 1, 1.5, 1.5, 3)) / 20.5))
    question = questions[what][int(rng.integers(len(questions[what])))]
    if what == "class":
        return question, f"It is in the class {disease.disease_class}."
    if what == "signs":
        description = disease_description(name, rng)
        return question, wording.features_sentence(
            description.concepts, description.arrangement, np.random.default_rng(0)
        )
    return question, wording.about(what, disease, (), None)


def _random_disease(rng: np.random.Generator) -> Disease:
    return DISEASES[int(rng.integers(len(DISEASES)))]


def _shuffled(words: list[str], rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(words[index] for index in rng.permutation(len(words)))
