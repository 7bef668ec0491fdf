"""llama.cpp says what our default engine says, with the image tokens in the middle of the prompt."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp")
pytest.importorskip("gguf")

import torch
from gguf_files import written
from PIL import Image
from recital import ids_of, teach

from skingpt4.chat.conversation import Chat
from skingpt4.chat.load import load_chat
from skingpt4.engines import llamacpp_engine
from skingpt4.engines.llamacpp_context import GgufDecoder
from skingpt4.engines.llamacpp_engine import LlamaCppEngine
from skingpt4.engines.llamacpp_library import library
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.seam import Segment, never
from skingpt4.engines.transformers_engine import TransformersEngine
from skingpt4.errors import SettingsError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.settings import Settings
from skingpt4.vocabulary import CLINICAL_PROMPTS
from skingpt4.weights.build import load_model, settings_of
from skingpt4.weights.gguf import write_gguf

Both = tuple[LlamaCppEngine, TransformersEngine]
CANDIDATES = [[7, 8, 9, 10], [7], [7, 8, 20], [30, 31, 32, 33, 34, 35, 36], [7, 8], [7, 8, 20], [41], [7, 8, 9, 11]]
PICTURES = [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.new("RGB", (40, 30), "red")]


def image(seed: int, width: int = 32) -> torch.Tensor:
    return torch.randn(8, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def both(tiny_model: tuple[SkinGPT4, Processor], tiny_settings: Settings, tmp_path: Path) -> Both:
    """The same random decoder in float32, without an ending token."""
    file = write_gguf(Path(tiny_settings.model.llama_model), tmp_path / "decoder.gguf", "f32")
    return LlamaCppEngine(file, []), TransformersEngine(tiny_model[0].decoder, [])


def test_logits_are_the_same_as_the_conversation_goes_on_and_back(both: Both) -> None:
    """Only what is new is read; a prompt that turns off another way forgets."""
    state, other, one, two = both[0].start(), both[1].start(), image(1), image(2)
    prompts: list[list[Segment]] = [
        [[5, 6, 7], one, [8, 9]],
        [[5, 6, 7], one, [8, 9, 10, 11], two, [12]],
        [[5, 6, 7], one, [8, 30]],
        [[5, 6, 7], two, [8, 30]],
        [[5, 6, 7], two, [8, 30]],
        [[20]],
    ]
    for prompt in prompts:
        torch.testing.assert_close(state.read(prompt), other.read(prompt), atol=1e-4, rtol=0)
        assert state.newly_read == other.newly_read


def test_sampling_is_the_same_with_the_same_seed(both: Both) -> None:
    prompt: list[Segment] = [[5, 6], image(1), [7]]
    for wanted in (
        Sampling(20), Sampling(20, temperature=0.8, seed=3), Sampling(20, temperature=1.2, top_p=0.7, seed=4),
        Sampling(20, repetition_penalty=1.5), Sampling(20, temperature=1.0, repetition_penalty=3.0, seed=2**40),
    ):  # fmt: skip
        ours, theirs = (list(engine.start().generate(prompt, wanted)) for engine in both)
        assert ours == theirs and len(ours) == 20
    other_seed, again = (list(both[0].start().generate(prompt, Sampling(20, temperature=1.2, seed=s))) for s in (4, 5))
    assert other_seed != again


def test_memory_grows_and_keeps_what_it_has(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llamacpp_engine, "FIRST_TOKENS", 256)  # llama.cpp's smallest step
    prompt: list[Segment] = [list(range(3, 203)), image(1), list(range(3, 33))]
    state = both[0].start()
    made = list(state.generate(prompt, Sampling(60)))
    assert made == list(both[1].start().generate(prompt, Sampling(60)))
    longer = [*prompt, made, list(range(100, 380))]
    torch.testing.assert_close(state.read(longer), both[1].start().read(longer), atol=2e-4, rtol=0)
    assert state.newly_read == 281  # the last token of the answer was never read


def test_an_ending_token_and_the_caller_end_an_answer(both: Both) -> None:
    made = list(both[0].start().generate([[5, 6]], Sampling(12)))
    end = next(token for place, token in enumerate(made) if place and token not in made[:place])
    both[0].end_ids = frozenset([end])
    assert list(both[0].start().generate([[5, 6]], Sampling(12))) == made[: made.index(end)]
    both[0].end_ids = frozenset()
    assert list(both[0].start().generate([[5, 6]], Sampling(12), lambda ids: len(ids) == 3)) == made[:3]


def test_conversations_in_turns_and_in_threads_do_not_disturb_each_other(both: Both) -> None:
    prompts: list[list[Segment]] = [[[5, 6], image(seed), [7]] for seed in range(3)]
    alone = [list(both[1].start().generate(prompt, Sampling(12))) for prompt in prompts]
    streams = [both[0].start().generate(prompt, Sampling(12)) for prompt in prompts]
    assert [list(tokens) for tokens in zip(*zip(*streams, strict=True), strict=True)] == alone
    made: dict[int, list[int]] = {}

    def answer(row: int) -> None:
        made[row] = list(both[0].start().generate(prompts[row], Sampling(12)))

    threads = [threading.Thread(target=answer, args=(row,)) for row in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [made[row] for row in range(3)] == alone


def test_a_broken_off_answer_leaves_a_memory_that_can_go_on(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    state, prompt = both[0].start(), [[5, 6, 7], image(1), [8]]
    stream = state.generate(prompt, Sampling(12))
    next(stream)

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(state._read, "append", broken)  # after the token was read, before that was written down
        next(stream)
    torch.testing.assert_close(state.read([*prompt, [9]]), both[1].start().read([*prompt, [9]]), atol=1e-4, rtol=0)


def test_many_at_once_are_as_one_by_one(both: Both) -> None:
    prompts: list[list[Segment]] = [[list(range(3, 5 + 3 * row)), image(row), [7, row + 9]] for row in range(19)]
    alone = [list(both[0].start().generate(prompt, Sampling(10))) for prompt in prompts]
    assert both[0].generate_many(prompts, 10, never) == alone == both[1].generate_many(prompts, 10, never)
    common = next(token for row in alone for token in row[1:6])
    for engine in both:
        engine.end_ids = frozenset([common])
    stop = 12
    found = both[0].generate_many(prompts, 10, lambda ids: sum(ids) % stop == 0)
    assert found == both[1].generate_many(prompts, 10, lambda ids: sum(ids) % stop == 0)
    assert len({len(row) for row in found}) > 1


def test_long_prompts_take_turns_in_a_bounded_memory(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[int] = []

    class Noted(llamacpp_engine.Context):
        def __init__(self, decoder: GgufDecoder, tokens: int, sequences: int = 1, outputs: int = 1):
            rooms.append(tokens)
            super().__init__(decoder, tokens, sequences, outputs)

    monkeypatch.setattr(llamacpp_engine, "Context", Noted)
    prompts: list[list[Segment]] = [[[3 + row] * 600] for row in range(5)]
    assert both[0].generate_many(prompts, 4, never) == both[1].generate_many(prompts, 4, never)
    assert rooms == [3 * 604, 3 * 604]  # of the 2,048 that the decoder reads


def test_scores_are_the_same(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt: list[Segment] = [[5, 6], image(1), [7, 8]]
    wanted = both[1].score(prompt, CANDIDATES)
    torch.testing.assert_close(both[0].score(prompt, CANDIDATES), wanted, atol=1e-4, rtol=0)
    monkeypatch.setattr(llamacpp_engine, "TREE_TOKENS", 6)  # several trees, one candidate longer than that
    torch.testing.assert_close(both[0].score(prompt, CANDIDATES), wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(both[0].score(prompt, [[7]]), both[1].score(prompt, [[7]]), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="no token"):
        both[0].score(prompt, [[7], []])


def test_more_candidates_than_llama_cpp_has_sequences(both: Both) -> None:
    candidates = [[7, 8, token] for token in range(3, 303)]
    found, wanted = (engine.score([[5, 6]], candidates) for engine in both)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_a_beam_search_is_refused(both: Both) -> None:
    with pytest.raises(SettingsError, match=r"num_beams is 4, and llama\.cpp has no beam search"):
        list(both[0].start().generate([[5, 6]], Sampling(num_beams=4)))


def test_the_decoders_size_and_threads(both: Both, tmp_path: Path) -> None:
    decoder = both[0].decoder
    assert (decoder.width, decoder.vocabulary_size, both[0].context_tokens) == (32, 400, 2048)
    assert decoder.threads == torch.get_num_threads()
    assert LlamaCppEngine(tmp_path / "decoder.gguf", [], threads=3).decoder.threads == 3


def test_memory_goes_with_the_conversation(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[int] = []
    free = library().llama_free
    monkeypatch.setattr(library(), "llama_free", lambda pointer: freed.append(pointer) or free(pointer))
    state = both[0].start()
    assert state._context is None  # nothing before the first question
    state.read([[5, 6]])
    del state
    gc.collect()
    assert len(freed) == 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package's own small decoder, which was trained, so that answers are words."""
    folder = tmp_path_factory.mktemp("gguf")
    directory = Path(load_model.__code__.co_filename).parents[1] / "tiny" / "assets" / "llm"
    for kind in ("f32", "bf16", "q8_0"):
        write_gguf(directory, folder / f"{kind}.gguf", kind)
    yield folder


@pytest.mark.parametrize("kind", ["f32", "bf16", "q8_0"])
def test_a_conversation_through_the_settings_is_the_same(trained: Path, kind: str) -> None:
    plain = Chat(*load_model(None, ["model.precision=fp32"]))
    chat = load_chat(settings_of(None, ["model.engine=llamacpp", f"model.gguf={trained / kind}.gguf"]))
    assert chat.model.decoder is None
    ours, theirs = chat.start(PICTURES[0]), plain.start(PICTURES[0])
    for question in CLINICAL_PROMPTS[:3]:
        assert ours.ask(question, Sampling(40)) == theirs.ask(question, Sampling(40)) != ""
    assert ours.timing is not None and theirs.timing is not None
    assert ours.timing.read_tokens == theirs.timing.read_tokens < ours.timing.prompt_tokens
    assert chat.answer_many(PICTURES, CLINICAL_PROMPTS[0], 40) == plain.answer_many(PICTURES, CLINICAL_PROMPTS[0], 40)
    features = chat.encode_many(PICTURES)
    answers = ["Eczema.", "A mole.", "Psoriasis."]
    found, wanted = (each.score_candidates(features, "What is it?", answers) for each in (chat, plain))
    assert found.log_likelihood == pytest.approx(wanted.log_likelihood, abs=1e-3 if kind == "f32" else 2.0)


def test_stop_ends_an_answer_that_would_go_on(
    tiny_model: tuple[SkinGPT4, Processor], tmp_path: Path, tiny_settings: Settings
) -> None:
    model, processor = tiny_model
    teach(model, processor, ids_of(processor, "▁a", "e", "i", "e"))  # and on and on
    file = written(model.decoder, tmp_path, Path(tiny_settings.model.llama_model) / "tokenizer.model", "f16")
    conversation = Chat(model, processor, LlamaCppEngine(file, processor.tokenizer.eos_ids)).start(PICTURES[0])
    stream = conversation.stream("What could this be?")
    said = next(stream) + next(stream)
    conversation.stop()
    said += "".join(stream)
    assert conversation.stopped and said.startswith("ae") and len(said) < 20
