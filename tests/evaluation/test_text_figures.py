"""Text figures against hand-worked cases and the libraries over the whole corpus."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from torchmetrics.text import SacreBLEUScore
from transformers import BertConfig, BertModel, BertTokenizerFast

from skingpt4.errors import DataError
from skingpt4.evaluation.figures.text import bertscore_f1, bleu, is_refusal, rouge_l, text_figures

ANSWERS = [
    "This could be a skin disease image of eczema.",
    "Raised red plaques with silvery scale on the elbows, which itch.",
    "I cannot tell that from the image. Please ask a doctor.",
    "Use a mild steroid cream twice a day and keep the skin moist.",
]
REFERENCES = [
    "This could be a skin disease image of psoriasis.",
    "There are raised plaques with silvery scale on the elbows.",
    "This could be a skin disease image of acne.",
    "Use a steroid cream once a day, keep the skin moist and see a doctor.",
]


def test_bleu_by_hand() -> None:
    """Ten words each (with the full stop), one differs: 9, 7, 6, 5 shared runs of 10, 9, 8, 7; no brevity penalty."""
    expected = math.exp(sum(math.log(p) for p in (9 / 10, 7 / 9, 6 / 8, 5 / 7)) / 4)
    assert bleu(ANSWERS[:1], REFERENCES[:1], None).value == pytest.approx(expected)


def test_bleu_is_the_librarys_over_the_corpus() -> None:
    library = SacreBLEUScore()(ANSWERS, [[reference] for reference in REFERENCES])
    found = bleu(ANSWERS, REFERENCES, None)
    assert found.value == pytest.approx(float(library), abs=1e-6) and found.n == 4
    short = bleu([answer[: len(answer) // 2] for answer in ANSWERS], REFERENCES, None)  # brevity penalty
    library = SacreBLEUScore()([a[: len(a) // 2] for a in ANSWERS], [[reference] for reference in REFERENCES])
    assert short.value == pytest.approx(float(library), abs=1e-6)


def test_a_bleu_of_zero_or_none_says_why() -> None:
    zero = bleu(["a b c d e"], ["v w x y z"], None)
    assert zero.value == 0 and "shares four words" in zero.note
    short = bleu(["acne"], ["This is acne."], None)
    assert (short.value, short.n, short.note) == (None, 1, "no answer has four words")


def test_rouge_l_by_hand_and_as_the_library() -> None:
    """The longest common subsequence of "a b c" and "a c d" is "a c": 2/3 both ways."""
    assert rouge_l(["a b c"], ["a c d"])[0] == pytest.approx(2 / 3)
    expected = [
        RougeScorer(["rougeL"]).score(reference, answer)["rougeL"].fmeasure
        for answer, reference in zip(ANSWERS, REFERENCES, strict=True)
    ]
    assert rouge_l(ANSWERS, REFERENCES).tolist() == expected


def test_perfect_and_unlike_answers() -> None:
    perfect = text_figures(REFERENCES, REFERENCES)
    assert perfect["bleu"].value == perfect["rouge_l"].value == pytest.approx(1.0)
    unlike = text_figures(["zebra " * 5] * 4, REFERENCES)
    assert unlike["bleu"].value == unlike["rouge_l"].value == 0.0


def test_all_figures_have_n_and_an_interval_by_patient() -> None:
    found = text_figures(ANSWERS * 10, REFERENCES * 10, [str(row) for row in range(40)])
    for name in ("bleu", "rouge_l", "words", "refusals"):
        figure = found[name]
        assert figure.n == 40 and figure.value is not None and figure.low is not None and figure.high is not None
        assert figure.low < figure.value < figure.high
    assert found["words"].value == pytest.approx((9 + 11 + 11 + 13) / 4) and found["refusals"].value == 0.25
    copies = text_figures(ANSWERS * 10, REFERENCES * 10, [str(row % 4) for row in range(40)])["words"]
    assert copies.high - copies.low > 2 * (found["words"].high - found["words"].low)  # type: ignore[operator]


def test_cases_without_a_reference_count_for_length_alone() -> None:
    found = text_figures(ANSWERS, [REFERENCES[0], None, "", "  "])
    assert found["bleu"].n == found["rouge_l"].n == 1 and found["words"].n == found["refusals"].n == 4
    none = text_figures(ANSWERS, [None] * 4)
    for name in ("bleu", "rouge_l"):
        assert (none[name].value, none[name].n, none[name].note) == (None, 0, "no case has a reference answer")
    assert "no folder" in none["bertscore_f1"].note
    for figure in text_figures([], []).values():
        assert figure.value is None and figure.n == 0
    with pytest.raises(ValueError, match="2 answers, but 1 references"):
        text_figures(["a", "b"], ["a"])


@pytest.mark.parametrize(
    "answer",
    [
        "I cannot tell that from the image. Please ask a doctor.",
        "I can't see any image.",
        "I'm sorry, but I can’t help with that.",
        "I am unable to diagnose this.",
        "As an AI language model, I have no eyes.",
        "It is not possible to determine the cause from the image.",
        "The disease cannot be determined.",
        "I don't know.",
        "I'm not able to view images.",
        "  ",
    ],
)
def test_refusals(answer: str) -> None:
    assert is_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "This could be a skin disease image of eczema.",
        "If you cannot sleep because of the itch, see a doctor.",
        "Scratching cannot be recommended. I can see papules.",
        "Patients do not know why it itches; AI is of no use here.",
        "No, I am not sure. I am a research model, and only a doctor can make a diagnosis.",
        "Sorry to hear that. It looks like acne.",
    ],
)
def test_no_refusals(answer: str) -> None:
    assert not is_refusal(answer)


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random BERT with the words of this file."""
    folder = tmp_path_factory.mktemp("bert")
    words = sorted({word.strip(".,").lower() for text in ANSWERS + REFERENCES for word in text.split()})
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", *words]))
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words) + 7, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_bertscore_is_one_for_equal_texts_and_pairs_each_answer_with_its_own_reference(encoder_folder: Path) -> None:
    """torchmetrics' own batches mix up the cases; each must score as it does alone."""
    assert bertscore_f1(REFERENCES, REFERENCES, encoder_folder) == pytest.approx(np.ones(4), abs=1e-5)
    together = bertscore_f1(ANSWERS, REFERENCES, encoder_folder)
    alone = [bertscore_f1([a], [r], encoder_folder)[0] for a, r in zip(ANSWERS, REFERENCES, strict=True)]
    assert together.tolist() == pytest.approx(alone) and len(set(alone)) == 4
    assert bertscore_f1(["", "x " * 900], ["acne", "acne"], encoder_folder)[0] == 0.0  # the second is cut, not refused
    figure = text_figures(ANSWERS, REFERENCES, bertscore_model=encoder_folder)["bertscore_f1"]
    assert figure.value == pytest.approx(together.mean()) and figure.low is not None and figure.n == 4


def test_bertscore_by_hand(encoder_folder: Path) -> None:
    """Greedy cosine matches between the last layer's vectors of the words, both ways (Zhang et al. 2020)."""
    model = BertModel.from_pretrained(encoder_folder).eval()
    tokenizer = BertTokenizerFast.from_pretrained(encoder_folder)
    vectors = []
    for text in (ANSWERS[0], REFERENCES[3]):
        with torch.inference_mode():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 1:-1]
        vectors.append(hidden / hidden.norm(dim=-1, keepdim=True))
    likeness = vectors[0] @ vectors[1].T
    precision, recall = likeness.amax(dim=1).mean(), likeness.amax(dim=0).mean()
    expected = float(2 * precision * recall / (precision + recall))
    assert bertscore_f1([ANSWERS[0]], [REFERENCES[3]], encoder_folder)[0] == pytest.approx(expected, abs=1e-5)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no model for BERTScore: it has no config\.json"):
        bertscore_f1(["a"], ["b"], tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="holds no model for BERTScore"):
        text_figures(["a"], ["b"], bertscore_model=tmp_path)


def test_bertscore_cuts_texts_at_the_model_s_own_length(encoder_folder: Path, tmp_path: Path) -> None:
    """The tokenizer of `encoder_folder` was saved without one, as many are."""
    config = BertConfig.from_pretrained(encoder_folder)
    config.max_position_embeddings = 16
    shutil.copytree(encoder_folder, tmp_path / "short")
    BertModel(config).save_pretrained(tmp_path / "short")
    assert bertscore_f1(["psoriasis " * 40], ["acne " * 40], tmp_path / "short").shape == (1,)
