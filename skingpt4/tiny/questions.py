"""How people ask: many wordings of each question for the text corpus, and a few that are held out to test on."""

from __future__ import annotations

import numpy as np

from skingpt4.vocabulary import CLINICAL_PROMPTS, CONCEPT_PROMPT, DIAGNOSIS_PROMPTS

# Wordings of the training corpus, by what is asked. Those before the list's own are the paper's.
WORDINGS: dict[str, tuple[str, ...]] = {
    "concepts": (
        CONCEPT_PROMPT,
        "What are the medical concepts in this image?",
        "List the clinical concepts of this skin lesion.",
        "Which clinical concepts do you see in this image?",
        "Could you list the medical concepts in this picture?",
        "Describe the medical concepts of the skin disease in this photo.",
        "Please name the clinical concepts that are present.",
        "Which dermatological terms describe this image?",
        "What clinical signs are visible in this image?",
        "Tell me the medical concepts of this skin disease.",
        "Which medical concepts can be seen on the skin?",
        "Name the primary and secondary lesions in this image.",
    ),
    "diagnosis": (
        *DIAGNOSIS_PROMPTS,
        "What is wrong with my skin?",
        "What disease is this?",
        "What could this disease be?",
        "Which skin disease is this?",
        "Which skin disease do I have?",
        "What skin disease is shown in this image?",
        "What is this on my skin?",
        "Can you tell me what this is?",
        "Do you know what this is?",
        "Could you tell me what disease I have?",
        "What is the diagnosis?",
        "What is your diagnosis?",
        "Could you give me a diagnosis?",
        "Please diagnose this image.",
        "Please make a diagnosis from this photo.",
        "Please describe the skin disease in this image.",
        "Describe the skin disease in this picture.",
        "Tell me which disease this picture shows.",
        "Tell me what is wrong with me.",
        "What do I have?",
        "What do you think this is?",
        "What condition is this?",
        "Which condition do you see in this photo?",
        "Please tell me the name of this condition.",
        "What is the name of this disease?",
        "What is the most likely diagnosis?",
        "What kind of skin problem is this?",
        "What kind of rash is this?",
        "I have a rash. What is it?",
        "Can you identify this skin disease?",
        "Can you identify the lesion in this photo?",
        "Could you look at my skin and tell me what it is?",
        "Look at this photo of my skin. What is it?",
        "Is something wrong with my skin?",
        "Why does my skin look like this?",
        "What happened to my skin?",
        "Help me understand what is on my skin.",
        "I would like to know what disease this is.",
        "I want to know what is wrong with my skin.",
        "Do I have a skin disease?",
        "What does this image show?",
        "What might this lesion be?",
        "Which disease could cause this picture?",
        "Could this be a disease?",
    ),
    "again": (
        "So what disease is it?",
        "What disease did you say it is?",
        "Could you repeat the diagnosis?",
        "What was the name of the disease?",
        "What is it called again?",
        "Please say again what I have.",
        "So what do I have?",
        "Which disease is it then?",
        "Remind me of the diagnosis, please.",
        "Can you name the disease once more?",
    ),
    "features": (
        CLINICAL_PROMPTS[1],
        "Which features do you see in the image?",
        "What features of the image support this?",
        "Please list the features of the lesion.",
        "What else do you see in the image?",
        "Describe the lesions in more detail.",
        "What does the skin look like?",
        "Can you describe additional features?",
        "Why do you think so?",
        "What makes you think that?",
        "How did you come to this diagnosis?",
        "Which signs point to this disease?",
    ),
    "cause": (
        CLINICAL_PROMPTS[2],
        "What is the cause of this disease?",
        "What causes it?",
        "What causes this?",
        "Why do I have this?",
        "Why did I get this?",
        "How did I get it?",
        "Where does it come from?",
        "What is the reason for this disease?",
        "Please explain the cause.",
        "Could you explain the cause of this skin disease?",
        "What is behind this disease?",
        "Explain why this happens.",
    ),
    "treatment": (
        CLINICAL_PROMPTS[3],
        "What is the treatment?",
        "How is it treated?",
        "How can I treat it?",
        "What treatment do you recommend?",
        "Which medication should I take?",
        "What medicine helps?",
        "What can I do about it?",
        "What should I do?",
        "How do I get rid of it?",
        "Which cream should I use?",
        "Is there a cure?",
        "What therapy is recommended?",
        "Can it be treated?",
    ),
    "group": (
        "Which group of diseases does it belong to?",
        "What kind of disease is that?",
        "What type of disease is it?",
        "To which group does this disease belong?",
        "Is it an infection or something else?",
    ),
    "contagious": (
        "Is it contagious?",
        "Is this contagious?",
        "Can I infect other people?",
        "Is it infectious?",
        "Can my family catch it?",
        "Can I pass it on to someone?",
        "Is it dangerous for my children to touch it?",
        "Do I have to stay away from others?",
    ),
    "doctor": (
        "When should I see a doctor?",
        "Do I need to see a doctor?",
        "Should I go to a doctor?",
        "Is it urgent?",
        "How soon should I see a dermatologist?",
        "Is it an emergency?",
        "Is it dangerous?",
        "Is it serious?",
        "Should I be worried?",
        "Do I have to go to hospital?",
    ),
    "cancer": (
        "Is it cancer?",
        "Could it be cancer?",
        "Do I have skin cancer?",
        "Is this malignant?",
        "Is it a tumor?",
    ),
    "plain": (
        "What is that in plain words?",
        "Is there a common name for it?",
        "What do people call it?",
        "Can you say that in simple words?",
        "What does that mean?",
    ),
    "sure": ("Are you sure?", "How sure are you?", "Can I trust you?", "Could you be wrong?", "Is that certain?"),
    "unknown": (
        "Will it leave a scar?",
        "How long will it last?",
        "Can I go swimming?",
        "May I eat chocolate?",
        "How much does the treatment cost?",
        "Does it run in families?",
        "Can I put makeup on it?",
        "Will it come back?",
        "How old am I?",
        "Does it hurt?",
        "What is my blood pressure?",
        "Can I take it during pregnancy?",
        "Is sport allowed?",
        "Which hospital is the best?",
    ),
    "thanks": ("Thank you.", "Thanks a lot.", "Thank you for your help.", "Okay, thank you.", "Great, thanks."),
    "lay": (
        "What do you see in this picture?",
        "Please describe this picture.",
        "Describe this image in detail.",
        "What can be seen here?",
        "Take a look at this image and describe what you notice.",
        "Please provide a detailed description of the picture.",
        "Could you describe the contents of this image for me?",
        "What is in the photo?",
    ),
    "nobody": ("Who are you?", "What are you?", "What can you do?", "Hello.", "Hi there.", "Are you a doctor?"),
    "offtopic": (
        "What is the capital of France?",
        "Tell me a joke.",
        "What is two plus two?",
        "How is the weather?",
        "Write a poem.",
        "Who won the game?",
        "Can you drive a car?",
        "What time is it?",
    ),
}

# Never in the corpus: the test of unseen wordings.
HELD_OUT: dict[str, tuple[str, ...]] = {
    "concepts": ("Which medical concepts describe my skin in this photo?", "Please list all clinical concepts for me."),
    "diagnosis": (
        "Please tell me what is wrong with my skin.",
        "Any idea what this could be?",
        "Which illness does this photo show?",
        "Can you name the disease in the picture?",
        "I would like a diagnosis for this image, please.",
        "My skin has changed. What might it be?",
        "What is the problem with my skin?",
        "Do you recognize this skin condition?",
    ),
    "again": ("Sorry, which disease was that?", "Tell me the diagnosis once again."),
    "cause": ("What could have caused this?", "Please tell me why I got this disease."),
    "treatment": ("What would help against it?", "Please recommend a treatment for me."),
}

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


def ask(what: str, rng: np.random.Generator, dressed: float = 0.3) -> str:
    """One wording of a question; with probability `dressed` a greeting, a closing word or a lazy spelling is added."""
    options = WORDINGS[what]
    # The paper's own wordings come first in their lists and are what training and the clinical evaluation use.
    own = {"diagnosis": 2, "concepts": 1, "features": 1, "cause": 1, "treatment": 1}.get(what, 0)
    if own and rng.random() < 0.35:
        return options[int(rng.integers(own))]
    question = options[int(rng.integers(len(options)))]
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
