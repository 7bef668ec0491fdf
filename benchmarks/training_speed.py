"""Training speed against what a user would write today: samples a second at the `mini` sizes, both in one run.

Baseline: `transformers`' own BLIP-2 of the same sizes with a LLaMA decoder, float32, images read and encoded at every
step, logits of the whole padded sequence; the projection alone is trained, as here. Ours: this package's model and
loss, in float32 and in bf16, with images read and encoded at every step, and with the features read from a feature
cache (as from the second pass on; filling it is `feature_cache.py`'s). A step is all of it: reading eight photographs
(JPEG, 800 x 600) or their features, forward, backward, AdamW.

Command: python benchmarks/training_speed.py [--steps N] [--threads N]
`mini`: ViT 384 x 12 at 224 px, Q-Former 384 x 6 with 32 queries, decoder 768 x 12, vocabulary 32,000, batch 8,
answers of 20-60 tokens. Random weights: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from feature_cache import photographs
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import Compose, InterpolationMode, Normalize, Resize, ToTensor
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

from skingpt4.images import evaluation_transform, open_image
from skingpt4.model.packing import TrainingBatch
from skingpt4.model.qformer import QFormer
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.model.vision import VisionEncoder, build_eva_vit
from skingpt4.prompts import IMAGE_SLOT, TrainingSequence
from skingpt4.training.shards import Shards, as_digests

BATCH, QUERIES, IMAGE_PX, VOCABULARY, WIDTH = 8, 32, 224, 32_000, 768
BEFORE, QUESTION = 8, 24  # tokens before the image and between it and the answer
IMAGE_TOKEN = VOCABULARY - 1
ROUNDS = 5
PHOTOGRAPHS = 32


def decoder_config() -> LlamaConfig:
    """The decoder of both."""
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=12,
        max_position_embeddings=1024,
    )


def baseline() -> nn.Module:
    """`transformers`' BLIP-2, everything but `language_projection` frozen."""
    vision = Blip2VisionConfig(
        hidden_size=384, intermediate_size=1536, num_hidden_layers=12, num_attention_heads=6, image_size=IMAGE_PX,
        patch_size=14,
    )  # fmt: skip
    qformer = Blip2QFormerConfig(
        hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=6, encoder_hidden_size=384,
        cross_attention_frequency=2,
    )  # fmt: skip
    config = Blip2Config(
        vision_config=vision, qformer_config=qformer, text_config=decoder_config(), num_query_tokens=QUERIES,
        image_token_index=IMAGE_TOKEN,
    )  # fmt: skip
    model = Blip2ForConditionalGeneration(config).eval()
    model.requires_grad_(False)
    model.language_projection.requires_grad_(True)
    return model


def ours(dtype: torch.dtype, compiled: bool = False) -> SkinGPT4:
    """The same sizes; frozen parts in `dtype`, Q-Former and projection in float32, as `load_model` makes them."""
    backbone = build_eva_vit(IMAGE_PX, 14, 384, depth=12, heads=6, mlp_ratio=4.0)
    for part in backbone.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            part.to(dtype)  # as `weights/build.py`: matrices in `dtype`, norms in float32
    vision = VisionEncoder(backbone, nn.LayerNorm(384))
    qformer = QFormer(QUERIES, 384, 6, 6, 1536, 2, 384)
    decoder = LlamaForCausalLM._from_config(  # plain attention in bf16, as `weights/decoder.py` chooses on a CPU
        decoder_config(), attn_implementation="eager" if dtype == torch.bfloat16 else "sdpa"
    )
    return SkinGPT4(vision, qformer, nn.Linear(384, WIDTH), decoder.to(dtype).requires_grad_(False), compiled).eval()


def sequences(generator: torch.Generator) -> list[TrainingSequence]:
    """A batch of random text around the image, answers of 20-60 tokens."""
    made = []
    before = torch.randint(3, IMAGE_TOKEN, (BEFORE,), generator=generator).tolist()  # the template's, all alike
    for length in torch.linspace(20, 60, BATCH).round().int().tolist():
        words = torch.randint(3, IMAGE_TOKEN, (QUESTION + length,), generator=generator).tolist()
        ids = [*before, *[IMAGE_SLOT] * QUERIES, *words]
        made.append(TrainingSequence(ids, [False] * (len(ids) - length) + [True] * length))
    return made


def readers(folder: Path) -> tuple[Callable[[int], Tensor], Callable[[int], Tensor], Callable[[int], Tensor]]:
    """What reads the batch of a step: pixels in a plain loop, pixels with this package, cached features."""
    files = [record.image for record in photographs(folder, PHOTOGRAPHS)]
    plain = Compose(
        [
            Resize((IMAGE_PX, IMAGE_PX), InterpolationMode.BICUBIC),
            ToTensor(),
            Normalize((0.481, 0.458, 0.408), (0.269, 0.261, 0.276)),
        ]
    )
    own = evaluation_transform(IMAGE_PX)
    shards = Shards(folder)
    digests = as_digests(np.arange(PHOTOGRAPHS * 32, dtype=np.uint8).reshape(PHOTOGRAPHS, 32))
    shards.add(digests, {"features": torch.randn(PHOTOGRAPHS, 4, QUERIES, 384)}, {})
    shards.refresh()
    rows = shards.find(digests)

    def of(read: Callable[[int], Tensor]) -> Callable[[int], Tensor]:
        return lambda step: torch.stack([read((step * BATCH + place) % PHOTOGRAPHS) for place in range(BATCH)])

    return (
        of(lambda number: plain(Image.open(files[number]).convert("RGB"))),
        of(lambda number: own(open_image(files[number]))),
        of(lambda number: shards.read("features", rows[number], number % 4)),
    )


def baseline_loss(model: nn.Module, batch: TrainingBatch) -> Callable[[Tensor], Tensor]:
    """The plain loop's loss of pixels."""
    ids = batch.ids.masked_fill(batch.ids == IMAGE_SLOT, IMAGE_TOKEN)[batch.rows]
    in_answer = torch.zeros_like(batch.ids, dtype=torch.bool).index_fill(0, batch.predictors + 1, True)
    labels = ids.masked_fill(~(in_answer[batch.rows] & batch.attended), -100)
    mask = batch.attended.long()
    return lambda pixels: model(pixel_values=pixels, input_ids=ids, attention_mask=mask, labels=labels).loss


def seconds_per_step(step: Callable[[int], Tensor], optimizer: torch.optim.Optimizer, steps: int) -> float:
    """Mean wall seconds of reading, forward, backward and update."""
    started = time.perf_counter()
    for number in range(steps):
        step(number).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return (time.perf_counter() - started) / steps


def main() -> None:
    """Print samples a second and ratios; the candidates take turns, the median round counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3, help="steps per round and candidate")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    batch = TrainingBatch.collate(sequences(torch.Generator().manual_seed(0)))
    plain, full, half, compiled = baseline(), ours(torch.float32), ours(torch.bfloat16), ours(torch.bfloat16, True)
    loss_of = baseline_loss(plain, batch)
    with tempfile.TemporaryDirectory() as folder:
        plain_pixels, pixels, features = readers(Path(folder))
        candidates: dict[str, tuple[Callable[[int], Tensor], nn.Module]] = {
            "plain loop, float32": (lambda n: loss_of(plain_pixels(n)), plain),
            "ours, float32, images each step": (lambda n: full(full.encode_images(pixels(n)), batch), full),
            "ours, float32, cached features": (lambda n: full(features(n), batch), full),
            "ours, bf16, images each step": (lambda n: half(half.encode_images(pixels(n)), batch), half),
            "ours, bf16, cached features": (lambda n: half(features(n), batch), half),
            "ours, bf16, cached features, compiled": (lambda n: compiled(features(n), batch), compiled),
        }
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(ROUNDS + 1):
            for name, (step, model) in candidates.items():
                learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
                times[name].append(seconds_per_step(step, torch.optim.AdamW(learned, lr=1e-4), arguments.steps))
    median = {name: sorted(found[1:])[ROUNDS // 2] for name, found in times.items()}  # the first round warms up
    print(f"{platform.machine()}, torch {torch.__version__}, {arguments.threads} threads, batch {BATCH}\n")
    print("| | samples/s | ratio |\n|---|---:|---:|")
    first = next(iter(median.values()))
    for name, seconds in median.items():
        print(f"| {name} | {BATCH / seconds:.2f} | {first / seconds:.2f} |")


if __name__ == "__main__":
    main()
