"""The one renderer of prompts and the tokenizers below it: text, ids, loss mask, image slots and stop strings."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skingpt4.errors import SettingsError, WeightsError
from skingpt4.processor import Processor
from skingpt4.prompts import (
    IMAGE_SLOT,
    TEMPLATES,
    ImageSlot,
    Turn,
    encode_answer,
    encode_turns,
    named_template,
    plain,
    read_questions,
    render,
    render_text,
    training_sequence,
    training_template,
)
from skingpt4.settings import ModelSettings
from skingpt4.tokenizer import SentencePieceTokenizer, Tokenizer, TransformersTokenizer, load_tokenizer

LLAMA_FOLDER = Path(__file__).parents[2] / "shared" / "reference" / "tiny" / "llm"
TRAINED = training_template("###Human: {} ###Assistant: ", "###")
QUESTION = "What's wrong with my skin?"
LONG = "A red scaly plaque on the elbow, itching since May. Treat it."

SENTENCES = [
    "###Human: What is wrong with my skin? ###Assistant: This could be psoriasis. ###",
    "a red scaly plaque on the elbow",
    "could you describe the skin disease in this image for me?",
    "Give the following image: <Img>ImageContent</Img>.",
]


@pytest.fixture(scope="module")
def llama() -> Tokenizer:
    if not LLAMA_FOLDER.is_dir():
        pytest.skip("the reference data (../shared/reference/tiny) is not beside this checkout")
    return load_tokenizer(LLAMA_FOLDER)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A SentencePiece model of LLaMA's kind, trained here: BPE with byte fallback, prefix space, spaces kept."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20), model_writer=model, model_type="bpe", vocab_size=400,
        byte_fallback=True, hard_vocab_limit=False, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    return load_tokenizer(folder)


# --- tokenizer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("###", [835]),  # the same sign as one token after a space ...
        ("Psoriasis.###", [10144, 272, 3173, 275, 29889, 2277, 29937]),  # ... and as two after a word
        ("a  b", [263, 29871, 289]),  # two spaces: current transformers encodes them otherwise
        ("\n", [29871, 13]),
        ("<s>", [529, 29879, 29958]),  # plain text, no special token
        ("<ImageHere>", [529, 2940, 10605, 29958]),
        ("é漢", [904, 31652]),
        ("", []),
    ],
)
def test_llama_ids(text: str, ids: list[int], llama: Tokenizer) -> None:
    assert (llama.bos_id, llama.eos_ids, llama.size) == (1, (2,), 32000)
    assert llama.encode(text) == ids
    assert llama.decode(ids) == text


def test_decoding_leaves_special_and_image_ids_out(llama: Tokenizer) -> None:
    assert llama.decode([1, 10144, 272, 3173, 275, IMAGE_SLOT, 2]) == "Psoriasis"
    assert llama.decode([0xE2 + 3]) == "\ufffd"  # the first byte of three: ids 3-258 are the bytes


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0▁")))
def test_text_survives_the_tokenizer(small: Tokenizer, text: str) -> None:
    ids = small.encode(text)
    assert small.decode(ids) == text
    assert all(token > 2 for token in ids)  # neither unknown nor special


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no tokenizer: expected tokenizer\.model .* or tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").write_text("<!DOCTYPE html>", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"tokenizer\.model is no SentencePiece model"):
        load_tokenizer(tmp_path)


def test_a_decoder_without_sentencepiece(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers import decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    fast = FastTokenizer(models.BPE())
    fast.pre_tokenizer, fast.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    fast.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=300, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    )
    PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="<|end|>").save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert isinstance(tokenizer, TransformersTokenizer)
    assert (tokenizer.bos_id, tokenizer.eos_ids) == (None, (0,))
    for text in (*SENTENCES, "é漢 \n two  spaces"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert 0 not in tokenizer.encode("<|end|>")  # typed by a user, it ends nothing
    assert tokenizer.decode([*tokenizer.encode("plaque"), 0]) == "plaque"
    segments = encode_turns(TRAINED, [Turn("Why?")], tokenizer)
    assert segments == [tokenizer.encode("###Human: Why? ###Assistant: ")]


# --- templates -------------------------------------------------------------------------------------------------------

TURNS = [Turn("What is it?", images=1, reply="Acne."), Turn("Why?")]
SYSTEM = (
    "Give the following image: <Img>ImageContent</Img>. "
    "You will be able to see the image once I provide it to you. Please answer my questions."
)
RENDERED = {
    "minigpt4": SYSTEM + "###Human: <Img><ImageHere></Img> What is it?###Assistant: Acne.###Human: Why?###Assistant:",
    "minigpt4_train": "###Human: <Img><ImageHere></Img> What is it? ###Assistant: Acne.###Human: Why? ###Assistant: ",
    "vicuna_v1": "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions. USER: <Img><ImageHere></Img> What is it? "
    "ASSISTANT: Acne.</s> USER: Why? ASSISTANT:",
    "llama2": SYSTEM + "<s>[INST] <Img><ImageHere></Img> What is it? [/INST] Acne.<s>[INST] Why? [/INST] ",
}


def test_every_template_as_text() -> None:
    assert {name: render_text(template, TURNS) for name, template in TEMPLATES.items()} == RENDERED


def test_stop_strings() -> None:
    stops = {name: template.stops for name, template in TEMPLATES.items()}
    assert stops == {
        "minigpt4": ("###",),
        "minigpt4_train": ("###",),
        "vicuna_v1": ("</s>", "USER:"),
        "llama2": ("</s>", "[INST]"),
    }
    assert training_template("### Instruction: {} ### Response: ", "##").stops == ("##",)


def test_an_unknown_template_is_named_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match="chat_template is 'vicuna'; it must be one of minigpt4, minigpt4_train"):
        named_template("vicuna")


def test_segments_are_encoded_on_their_own(llama: Tokenizer) -> None:
    """Each gets SentencePiece's prefix space (529 is `▁<`); `<s>` stands before the first one only."""
    assert encode_turns(TEMPLATES["minigpt4_train"], TURNS, llama) == [
        [1, 835, 29950, 7889, 29901, 529, 25518, 29958],
        ImageSlot(0),
        [
            *[1533, 25518, 29958, 1724, 338, 372, 29973, 835, 7900, 22137, 29901, 7255, 484, 29889],
            *[2277, 29937, 29950, 7889, 29901, 3750, 29973, 835, 7900, 22137, 29901, 29871],
        ],
    ]


def test_marks_of_a_template_are_special_tokens(llama: Tokenizer) -> None:
    _, _, vicuna = encode_turns(TEMPLATES["vicuna_v1"], TURNS, llama)
    _, _, llama2 = encode_turns(TEMPLATES["llama2"], TURNS, llama)
    assert isinstance(vicuna, list)
    assert isinstance(llama2, list)
    assert vicuna.count(2) == 1  # </s> after the finished answer
    assert vicuna[vicuna.index(2) - 3 : vicuna.index(2) + 4] == [7255, 484, 29889, 2, 29871, 3148, 1001]
    assert llama2.count(1) == 1  # <s> before the second turn


def test_two_photographs_in_one_turn() -> None:
    assert render(TRAINED, [Turn("Same?", images=2)]) == [
        "###Human: <Img>",
        ImageSlot(0),
        "</Img><Img>",
        ImageSlot(1),
        "</Img> Same? ###Assistant: ",
    ]


def test_what_a_user_types_opens_nothing(llama: Tokenizer) -> None:
    for typed in ("<ImageHere>", "<Img><ImageHere></Img>", "{}", "<s>", "</s>", "<<s>s>", "</<s>s>", "<</s>/s>"):
        turns = [Turn(typed, images=1, reply=typed), Turn(typed)]
        for template in TEMPLATES.values():
            expected = encode_turns(template, [Turn("a", images=1, reply="b"), Turn("c")], llama)
            assert [part for part in render(template, turns) if isinstance(part, ImageSlot)] == [ImageSlot(0)]
            own = encode_turns(template, turns, llama)
            ids = [token for part in own if isinstance(part, list) for token in part]
            plain_ids = [token for part in expected if isinstance(part, list) for token in part]
            for special in (1, 2):
                assert ids.count(special) == plain_ids.count(special), (typed, template)


@given(st.lists(st.sampled_from(["<", "s", ">", "/", "<s>", "</s>", "x"]), max_size=12).map("".join))
def test_plain_text_holds_no_mark(text: str) -> None:
    cleaned = plain(text)
    assert "<s>" not in cleaned
    assert "</s>" not in cleaned
    if "<s>" not in text and "</s>" not in text:
        assert cleaned == text


# --- training --------------------------------------------------------------------------------------------------------


def test_a_training_pair(llama: Tokenizer) -> None:
    sequence = training_sequence(TRAINED, QUESTION, "Psoriasis.", llama, queries=2, max_answer_tokens=160)
    prompt = [1, 835, 29950, 7889, 29901, 529, 25518, 29958, IMAGE_SLOT, IMAGE_SLOT]
    prompt += [1533, 25518, 29958, 1724, 29915, 29879, 2743, 411, 590, 19309, 29973, 835, 7900, 22137, 29901, 29871]
    answer = [10144, 272, 3173, 275, 29889, 2277, 29937]
    assert sequence.ids == prompt + answer
    assert sequence.in_loss == [False] * len(prompt) + [True] * len(answer)


def test_the_processor_renders_the_same(llama: Tokenizer) -> None:
    processor = Processor.from_settings(ModelSettings(num_query_token=2), llama)
    expected = training_sequence(TRAINED, QUESTION, "Psoriasis.", llama, queries=2, max_answer_tokens=160)
    assert processor.training_sequence(QUESTION, "Psoriasis.") == expected


def test_the_prompt_of_training_is_the_prompt_of_chat(small: Tokenizer) -> None:
    """They drifted apart in the original; here both come from `render`."""
    sequence = training_sequence(TRAINED, QUESTION, "", small, queries=3, max_answer_tokens=160)
    prompt: list[int] = []
    for part in encode_turns(TEMPLATES["minigpt4_train"], [Turn(QUESTION, images=1)], small):
        prompt += [IMAGE_SLOT] * 3 if isinstance(part, ImageSlot) else part
    assert [token for token, counts in zip(sequence.ids, sequence.in_loss, strict=True) if not counts] == prompt


def test_marks_in_notes_do_not_end_an_answer(llama: Tokenizer) -> None:
    with_marks = training_sequence(TRAINED, "Why?</s>", "Red<s> spots.</s>", llama, 2, 160)
    assert with_marks == training_sequence(TRAINED, "Why?", "Red spots.", llama, 2, 160)
    assert 2 not in with_marks.ids


def test_the_end_symbol_survives_truncation(llama: Tokenizer) -> None:
    """The original appended it before cutting, so long notes never learnt to stop."""
    assert encode_answer(LONG, "###", llama, 9) == [319, 2654, 8716, 29891, 2174, 802, 373, 2277, 29937]
    assert encode_answer(LONG, "###", llama, 10) == [319, 2654, 8716, 29891, 2174, 802, 373, 278, 2277, 29937]
    assert encode_answer(LONG, "</s>", llama, 9) == [319, 2654, 8716, 29891, 2174, 802, 373, 278, 2]
    whole = llama.encode(LONG + "###")
    assert encode_answer(LONG, "###", llama, len(whole)) == whole


@settings(deadline=None, max_examples=200)
@given(
    answer=st.text(alphabet="ab é漢.#", max_size=60),
    limit=st.integers(9, 30),
    end=st.sampled_from(["###", "</s>", "##"]),
)
def test_every_answer_ends_with_its_end_symbol(small: Tokenizer, answer: str, limit: int, end: str) -> None:
    ids = encode_answer(answer, end, small, limit)
    assert len(ids) <= limit
    assert ids[-1] == 2 if end == "</s>" else small.decode(ids).endswith(end)


# --- questions -------------------------------------------------------------------------------------------------------


def test_questions_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "alignment.txt"
    file.write_text("<Img><ImageHere></Img> Describe this.\n\n  What is it?  \r\n", encoding="utf-8")
    assert read_questions(file) == ["Describe this.", "What is it?"]
    file.write_text("<Img><ImageHere></Img>\n\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"alignment\.txt holds no question; write one per line"):
        read_questions(file)
    with pytest.raises(SettingsError, match=r"prompt_path .*absent\.txt does not exist \(looked in"):
        read_questions(tmp_path / "absent.txt")


def test_a_sentencepiece_file_is_preferred(small: Tokenizer) -> None:
    assert isinstance(small, SentencePieceTokenizer)
    assert (small.bos_id, small.eos_ids) == (1, (2,))
