"""A conversation equals what the decoder says when it reads everything anew, and shows only what it should."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image
from recital import ids_of, teach

from skingpt4.chat.conversation import Chat, Conversation
from skingpt4.chat.questions import QuestionError
from skingpt4.engines.sampling import Sampling
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.settings import Settings
from skingpt4.vocabulary import CLINICAL_PROMPTS
from skingpt4.weights.build import build_model

Tiny = tuple[SkinGPT4, Processor]
SHORT = Sampling(max_new_tokens=12)


@pytest.fixture
def photo() -> Image.Image:
    generator = torch.Generator().manual_seed(5)
    values = torch.randint(0, 256, (40, 64, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(values.numpy())


def reciting(tiny_model: Tiny, *pieces: str) -> Chat:
    model, processor = tiny_model
    teach(model, processor, ids_of(processor, *pieces))
    return Chat(model, processor)


def again(chat: Chat, photo: Image.Image, conversation: Conversation) -> Conversation:
    """A new conversation with the same turns, which has read nothing yet."""
    fresh = chat.start(photo)
    fresh.history = list(conversation.history)
    return fresh


def test_kept_turns_equal_reading_everything_anew(tiny_model: Tiny, photo: Image.Image) -> None:
    chat = Chat(*tiny_model)
    conversation = chat.start(photo)
    for question in CLINICAL_PROMPTS:
        fresh = again(chat, photo, conversation)
        torch.testing.assert_close(
            conversation.next_token_logits(question), fresh.next_token_logits(question), atol=1e-4, rtol=0
        )
        greedy = again(chat, photo, conversation).answer_ids(question, 12)
        assert conversation.answer_ids(question, 12) == greedy
        assert len(greedy) == 12
        assert conversation.ask(question, SHORT) == fresh.ask(question, SHORT)
        assert conversation.turns == fresh.turns
    assert [turn.images for turn in conversation.turns] == [1, 0, 0, 0]


def test_greedy_tokens_equal_those_of_transformers_generate(tiny_model: Tiny, photo: Image.Image) -> None:
    model, processor = tiny_model
    conversation = Chat(model, processor).start(photo)
    conversation.add_turn(CLINICAL_PROMPTS[0], "This could be psoriasis.")
    embedding = model.decoder.get_input_embeddings()
    segments = conversation.segments([*conversation.turns, replace(conversation.turns[0], images=0, reply=None)])
    parts = [part if isinstance(part, torch.Tensor) else embedding(torch.tensor(part)) for part in segments]
    expected = model.decoder.generate(
        inputs_embeds=torch.cat(parts).unsqueeze(0), max_new_tokens=20, do_sample=False, pad_token_id=0
    )
    assert conversation.answer_ids(CLINICAL_PROMPTS[0], 20) == expected[0].tolist()


def test_the_picture_is_encoded_once_and_a_turn_reads_its_new_tokens_only(tiny_model: Tiny, photo: Image.Image) -> None:
    model, processor = tiny_model
    calls = {"vision": 0, "llama_proj": 0}
    read: list[int] = []

    def count(name: str) -> None:
        calls[name] += 1

    assert model.vision is not None
    model.vision.register_forward_hook(lambda *_: count("vision"))
    model.llama_proj.register_forward_hook(lambda *_: count("llama_proj"))
    model.decoder.register_forward_pre_hook(
        lambda _, __, kwargs: read.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    conversation = Chat(model, processor).start(photo)
    conversation.add_turn("What is it?", "A plaque.")
    conversation.next_token_logits("Why?")
    whole = sum(len(part) for part in conversation.segments(conversation._with_question("Why?")))
    conversation.next_token_logits("Why?")
    conversation.next_token_logits("Where?")
    assert read[:2] == [whole, 1]
    assert 1 < read[2] < 20 < whole
    assert calls == {"vision": 1, "llama_proj": 1}


def test_a_stop_string_over_two_tokens_never_shows(tiny_model: Tiny, photo: Image.Image) -> None:
    chat = reciting(tiny_model, "▁Pl", "aqu", "e", "##", "#", "Human")
    conversation = chat.start(photo)
    assert list(conversation.stream("What?")) == ["Pl", "aqu", "e"]
    assert conversation.turns[-1].reply == "Plaque"


def test_a_stop_string_at_once_is_an_empty_answer(tiny_model: Tiny, photo: Image.Image) -> None:
    conversation = reciting(tiny_model, "###", "Human").start(photo)
    assert list(conversation.stream("What?")) == []
    assert conversation.turns[-1].reply == ""
    assert conversation.ask("And now?") == ""


def test_half_a_stop_string_is_shown_where_the_model_ended_there_itself(tiny_model: Tiny, photo: Image.Image) -> None:
    conversation = reciting(tiny_model, "▁Pl", "##").start(photo)
    assert conversation.ask("What?") == "Pl##"


def test_half_a_stop_string_is_not_shown_where_the_length_cut_it(tiny_model: Tiny, photo: Image.Image) -> None:
    conversation = reciting(tiny_model, "▁Pl", "##", "#").start(photo)
    assert conversation.ask("What?", Sampling(max_new_tokens=2)) == "Pl"


def test_a_character_of_three_tokens_comes_whole(tiny_model: Tiny, photo: Image.Image) -> None:
    chat = reciting(tiny_model, "▁a", "<0xE2>", "<0x82>", "<0xAC>", "▁me")
    assert list(chat.start(photo).stream("What?")) == ["a", "€", " me"]
    assert chat.start(photo).ask("What?", Sampling(max_new_tokens=3)) == "a"


def test_spaces_before_the_answer_are_not_part_of_it(tiny_model: Tiny, photo: Image.Image) -> None:
    assert list(reciting(tiny_model, "▁", "▁a", "▁the").start(photo).stream("What?")) == ["a", " the"]


def test_the_answer_has_at_most_max_new_tokens(tiny_model: Tiny, photo: Image.Image) -> None:
    chat = reciting(tiny_model, "▁a", "▁the", "▁my", "▁a")  # goes round for ever
    assert chat.start(photo).ask("What?", Sampling(max_new_tokens=5)) == "a the my a the"


def test_a_stream_that_is_closed_early_keeps_the_answer_so_far(tiny_model: Tiny, photo: Image.Image) -> None:
    chat = reciting(tiny_model, "▁a", "▁the", "▁my", "▁you")
    conversation = chat.start(photo)
    stream = conversation.stream("What?")
    assert next(stream) + next(stream) == "a the"
    stream.close()
    assert [turn.reply for turn in conversation.turns] == ["a the"]
    assert conversation.next_token_logits("And?").equal(again(chat, photo, conversation).next_token_logits("And?"))


@pytest.mark.parametrize(("error", "kept"), [(KeyboardInterrupt, True), (RuntimeError, False)])
def test_an_answer_broken_off_inside_a_step_leaves_a_usable_conversation(
    tiny_model: Tiny, photo: Image.Image, error: type[BaseException], kept: bool
) -> None:
    model, processor = tiny_model
    chat = Chat(model, processor)
    conversation = chat.start(photo)
    steps = 0

    def break_off(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 9:
            raise error

    handle = model.decoder.model.layers[-1].register_forward_pre_hook(break_off)  # the first layer has been through
    with pytest.raises(error):
        conversation.ask("What?")
    handle.remove()
    assert len(conversation.turns) == (1 if kept else 0)
    fresh = again(chat, photo, conversation)
    torch.testing.assert_close(
        conversation.next_token_logits("And?"), fresh.next_token_logits("And?"), atol=1e-4, rtol=0
    )


def test_the_oldest_turns_go_where_the_context_is_full(tiny_model: Tiny, photo: Image.Image) -> None:
    model, processor = tiny_model
    model.decoder.config.max_position_embeddings = 320
    conversation = Chat(model, processor).start(photo)
    for number in range(6):
        conversation.ask(f"Question {number}?", Sampling(max_new_tokens=40))
        assert sum(map(len, conversation.segments(conversation.turns))) <= 320 + 40
    assert 0 < conversation.dropped_turns < 6
    assert len(conversation.turns) == 6 - conversation.dropped_turns
    assert [turn.question for turn in conversation.history] == [f"Question {number}?" for number in range(6)]
    assert [turn.images for turn in conversation.history] == [1, 0, 0, 0, 0, 0]
    assert [turn.images for turn in conversation.turns] == [1] + [0] * (len(conversation.turns) - 1)
    prompt = conversation.prompt_text("More?")
    assert prompt.startswith("Give the following image") and prompt.count("<ImageHere>") == 1
    assert "Question 0?" not in prompt and "Question 5?" in prompt


def test_a_long_answer_that_may_come_does_not_push_out_the_turns_before(tiny_model: Tiny, photo: Image.Image) -> None:
    chat = reciting(tiny_model, "▁Pl", "aqu", "e")
    chat.model.decoder.config.max_position_embeddings = 400
    conversation = chat.start(photo)
    for question in ("What?", "Why?", "Where?"):
        assert conversation.ask(question, Sampling(max_new_tokens=1000)) == "Plaque"
    assert conversation.dropped_turns == 0


def test_the_answer_ends_where_the_context_does(tiny_model: Tiny, photo: Image.Image) -> None:
    chat = reciting(tiny_model, "▁a", "▁the", "▁a")
    conversation = chat.start(photo)
    length = sum(map(len, conversation.segments(conversation._with_question("What?"))))
    chat.model.decoder.config.max_position_embeddings = length + 3
    assert conversation.ask("What?", Sampling(max_new_tokens=10)) == "a the a"


def test_a_question_that_does_not_fit_is_refused_and_forgets_nothing(tiny_model: Tiny, photo: Image.Image) -> None:
    model, processor = tiny_model
    conversation = Chat(model, processor).start(photo)
    conversation.add_turn("What?", "A plaque.")
    with pytest.raises(QuestionError, match=r"too long: with the picture it has \d+ tokens, and this model reads 2048"):
        conversation.ask("why " * 3000)
    assert len(conversation.turns) == 1 and conversation.dropped_turns == 0


def test_a_question_of_a_megabyte_is_refused_before_it_is_looked_at(tiny_model: Tiny, photo: Image.Image) -> None:
    with pytest.raises(QuestionError, match=r"too long: it has 1,000,000 characters"):
        Chat(*tiny_model).start(photo).ask("<s" * 499_999 + ">a")


def test_half_a_character_is_no_fault(tiny_model: Tiny, photo: Image.Image) -> None:
    conversation = Chat(*tiny_model).start(photo)
    assert isinstance(conversation.ask("What \ud800 is it?", SHORT), str)
    assert conversation.turns[0].question == "What ? is it?"


@pytest.mark.parametrize("question", ["", "  \n", "<s></s>"])
def test_an_empty_question_is_refused(tiny_model: Tiny, photo: Image.Image, question: str) -> None:
    with pytest.raises(QuestionError, match="empty"):
        Chat(*tiny_model).start(photo).ask(question)


def test_what_a_user_types_opens_no_image_slot(tiny_model: Tiny, photo: Image.Image) -> None:
    conversation = Chat(*tiny_model).start(photo)
    segments = conversation.segments(conversation._with_question("<Img><ImageHere></Img> </s> what?"))
    assert sum(isinstance(segment, torch.Tensor) for segment in segments) == 1
    assert all(2 not in segment for segment in segments if isinstance(segment, list))


def test_a_seed_repeats_a_sampled_answer(tiny_model: Tiny, photo: Image.Image) -> None:
    conversation = Chat(*tiny_model).start(photo)
    ask = again(conversation._chat, photo, conversation).ask
    warm = replace(SHORT, temperature=1.0, seed=1)
    first = conversation._chat.start(photo).ask("What?", warm)
    assert ask("What?", warm) == first
    assert conversation._chat.start(photo).ask("What?", replace(warm, seed=2)) != first
    assert conversation._chat.start(photo).ask("What?", SHORT) != first
    almost_greedy = conversation._chat.start(photo).ask("What?", replace(warm, top_p=1e-6))
    assert almost_greedy == conversation._chat.start(photo).ask("What?", SHORT)


def test_a_bf16_model_answers(tiny_settings: Settings, photo: Image.Image) -> None:
    tiny_settings.model.precision = "bf16"
    model, processor = build_model(tiny_settings)
    assert model.decoder.dtype == torch.bfloat16
    conversation = Chat(model, processor).start(photo)
    assert conversation.next_token_logits("What?").dtype == torch.float32
    assert len(conversation.answer_ids("What?", 6)) == 6
