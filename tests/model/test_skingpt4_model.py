"""The model's own arithmetic: where the loss is, what padding does, where gradients go."""

from __future__ import annotations

import pytest
import torch
import transformers
from tiny_models import TINY
from torch import Tensor, nn

from skingpt4.model.packing import TrainingBatch
from skingpt4.model.qformer import QFormer
from skingpt4.model.skingpt4 import SkinGPT4, splice
from skingpt4.model.vision import VisionEncoder, build_eva_vit
from skingpt4.processor import Processor
from skingpt4.prompts import IMAGE_SLOT, TrainingSequence
from skingpt4.settings import Settings
from skingpt4.weights.build import build_model

Loaded = tuple[SkinGPT4, Processor]

PAIRS = [
    ("What could this be?", "Psoriasis."),
    ("Could you describe the skin disease in this image for me?", "This could be a skin disease image of psoriasis."),
    ("What's wrong with my skin?", "Raised plaques with silvery scale on the elbows, and erythema around them."),
]


def sequences(processor: Processor) -> list[TrainingSequence]:
    return [processor.training_sequence(question, answer) for question, answer in PAIRS]


def features_of(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, TINY.queries, TINY.qformer_width, generator=torch.Generator().manual_seed(seed))


def full_logits_loss(model: SkinGPT4, features: Tensor, sequence: TrainingSequence) -> tuple[Tensor, int]:
    """Summed loss as MiniGPT-4 has it (all logits, labels of -100 off the answer), and the answer's length."""
    ids = torch.tensor([sequence.ids])
    text = model.decoder.get_input_embeddings()(ids.clamp(min=0))
    inputs = text.masked_scatter((ids == IMAGE_SLOT).unsqueeze(-1), model.project(features).to(text.dtype))
    labels = torch.where(torch.tensor([sequence.in_loss]), ids, -100)
    output = model.decoder(inputs_embeds=inputs, labels=labels)
    count = int((labels != -100).sum())
    return output.loss * count, count


def test_loss_equals_the_reference_of_full_logits(tiny_model: Loaded) -> None:
    model, processor = tiny_model
    features = features_of(3)
    parts = [full_logits_loss(model, features[i : i + 1], s) for i, s in enumerate(sequences(processor))]
    expected = sum(loss for loss, _ in parts) / sum(count for _, count in parts)
    found = model(features, TrainingBatch.collate(sequences(processor)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert found.dtype == torch.float32
    expected_gradient = torch.autograd.grad(expected, model.llama_proj.weight)[0]
    found_gradient = torch.autograd.grad(found, model.llama_proj.weight)[0]
    assert expected_gradient.abs().max() > 1e-3
    torch.testing.assert_close(found_gradient, expected_gradient, atol=1e-5, rtol=0)


def test_the_loss_is_on_the_answer_and_its_end_and_nothing_else(tiny_model: Loaded) -> None:
    _, processor = tiny_model
    for sequence, (_, answer) in zip(sequences(processor), PAIRS, strict=True):
        marked = [token for token, counted in zip(sequence.ids, sequence.in_loss, strict=True) if counted]
        assert processor.tokenizer.decode(marked) == answer + "###"
        assert sequence.ids.count(IMAGE_SLOT) == TINY.queries


def test_gradients_reach_the_projection_only(tiny_model: Loaded) -> None:
    model, processor = tiny_model
    model.train()
    features = model.encode_images(torch.randn(3, 3, TINY.image_px, TINY.image_px))
    assert not features.requires_grad
    model(features, TrainingBatch.collate(sequences(processor))).backward()
    reached = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert sorted(reached) == ["llama_proj.bias", "llama_proj.weight"]
    assert all(gradient.abs().max() > 0 for gradient in reached.values())


def test_each_photograph_goes_to_its_own_row(tiny_model: Loaded) -> None:
    model, processor = tiny_model
    same = [sequences(processor)[1]] * 2
    features = features_of(2)
    both = model(features, TrainingBatch.collate(same)).item()
    each = [model(features[i : i + 1], TrainingBatch.collate(same[:1])).item() for i in (0, 1)]
    assert both == pytest.approx(sum(each) / 2, abs=1e-5)
    assert abs(each[0] - each[1]) > 1e-4


def test_splice_puts_image_tokens_in_order() -> None:
    embedding = nn.Embedding.from_pretrained(torch.arange(10.0).unsqueeze(1).repeat(1, 2))
    rows = [[3, IMAGE_SLOT, IMAGE_SLOT, 4], [5, IMAGE_SLOT, 6, IMAGE_SLOT]]
    batch = TrainingBatch.collate([TrainingSequence(ids, [False, False, False, True]) for ids in rows])
    image_tokens = torch.tensor([[[0.1, 0.2], [0.3, 0.4]], [[0.5, 0.6], [0.7, 0.8]]])
    expected = [[3, 3], [0.1, 0.2], [0.3, 0.4], [4, 4], [5, 5], [0.5, 0.6], [6, 6], [0.7, 0.8]]
    torch.testing.assert_close(splice(embedding, batch, image_tokens), torch.tensor(expected))


def test_frozen_parts_stay_in_eval(tiny_model: Loaded) -> None:
    model, _ = tiny_model
    assert not any(part.training for part in model.modules())
    model.train()
    in_training = {name for name, part in model.named_modules() if part.training}
    assert in_training == {"", "llama_proj"}
    model.train_only("llama_proj", "qformer")
    assert model.qformer.training
    assert not model.vision.training
    model.train(False)
    assert not any(part.training for part in model.modules())
    model.train_only()
    assert model.trainable_names() == []


def test_training_mode_changes_nothing_in_frozen_parts(tiny_model: Loaded) -> None:
    """The Q-Former's dropout is off while only the projection is trained."""
    model, _ = tiny_model
    pixels = torch.randn(1, 3, TINY.image_px, TINY.image_px)
    expected = model.eval().encode_images(pixels)
    assert torch.equal(model.train().encode_images(pixels), expected)


def test_a_model_without_its_encoder_names_what_it_lacks(tiny_settings: Settings) -> None:
    model, _ = build_model(tiny_settings, with_encoder=False)
    with pytest.raises(ValueError, match="without its encoder"):
        model.encode_images(torch.zeros(1, 3, TINY.image_px, TINY.image_px))


DECODERS = {
    "GPT2Config": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "OPTConfig": {"ffn_dim": 64, "word_embed_proj_dim": 16},
    "GPTNeoXConfig": {},
    "MistralConfig": {"num_key_value_heads": 2},
    "Qwen2Config": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "Gemma2Config": {"num_key_value_heads": 2, "head_dim": 8},
    "CohereConfig": {"num_key_value_heads": 2, "logit_scale": 0.25},
    "GraniteConfig": {"num_key_value_heads": 2, "logits_scaling": 3.0},
}


@pytest.mark.parametrize("name", DECODERS)
def test_the_loss_of_other_decoders(name: str) -> None:
    """What a decoder does after its vocabulary matrix (scaling, a soft cap) belongs to the loss."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    own = DECODERS[name] if name == "GPT2Config" else sizes | DECODERS[name]
    torch.manual_seed(0)
    config = getattr(transformers, name)(vocab_size=80, bos_token_id=1, eos_token_id=2, pad_token_id=0, **own)
    decoder = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    width = decoder.get_input_embeddings().weight.shape[1]
    model = SkinGPT4(None, None, nn.Linear(TINY.qformer_width, width), decoder).eval()
    slots = [IMAGE_SLOT] * TINY.queries
    sequence = TrainingSequence([1, 5, *slots, 7, 8, 9, 10], [False] * (TINY.queries + 3) + [True] * 3)
    features = features_of(1)
    loss, count = full_logits_loss(model, features, sequence)
    found = model(features, TrainingBatch.collate([sequence]))
    torch.testing.assert_close(found, loss / count, atol=1e-5, rtol=0)


# The encoder's modules


def test_eva_has_class_token_positions_and_no_final_norm() -> None:
    vit = build_eva_vit(image_size_px=56, patch_size_px=14, width=32, depth=2, heads=4, mlp_ratio=4.3637)
    assert vit.forward_features(torch.randn(2, 3, 56, 56)).shape == (2, 17, 32)
    assert vit.blocks[0].mlp.fc1.weight.shape == (139, 32)
    assert not [name for name, _ in vit.named_parameters() if name.startswith(("norm", "fc_norm", "head"))]
    assert vit.blocks[0].norm1.eps == 1e-6


def test_tokens_are_normalised_in_float32() -> None:
    torch.manual_seed(0)
    vit = build_eva_vit(image_size_px=28, patch_size_px=14, width=32, depth=1, heads=4, mlp_ratio=4.0)
    vision = VisionEncoder(vit, nn.LayerNorm(32)).eval()
    assert (vision.width, vision(torch.randn(1, 3, 28, 28)).dtype) == (32, torch.float32)
    for part in vit.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            part.bfloat16()
    tokens = vision(torch.randn(1, 3, 28, 28))
    assert tokens.dtype == torch.float32
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(1, 5), atol=1e-5, rtol=0)


def test_qformer_ignores_an_autocast_around_it() -> None:
    torch.manual_seed(0)
    qformer = QFormer(
        queries=4, width=24, layers=2, heads=4, intermediate_width=48, cross_attention_frequency=2, encoder_width=32
    ).eval()
    tokens = torch.randn(2, 5, 32)
    expected = qformer(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = qformer(tokens)
    assert (qformer.queries, qformer.width, expected.shape) == (4, 24, (2, 4, 24))
    assert torch.equal(found, expected)
