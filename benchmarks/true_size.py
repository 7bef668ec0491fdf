"""A rehearsal at true size: do the published formats load within 1.15 times their weights, and does the model then
work?

    python benchmarks/true_size.py --decoder 7b --scratch DIR

writes random weights in the published forms (EVA-g with its 40 blocks as an fp16 `.pth`, a whole BLIP-2 file of LAVIS,
a sharded fp16 LLaMA directory, a released projection), loads them through the normal path in bf16, takes one training
step, answers one question, and prints time and peak memory per stage. 7b needs about 20 GB of disk and 20 GB of memory;
Linux only (`/proc`).
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from memory_meter import Meter, Stage, report, save_results  # noqa: E402
from tiny_models import (  # noqa: E402
    TINY,
    Shapes,
    Sizes,
    blip2_shapes,
    eva_shapes,
    llama_config,
    llama_shapes,
    settings_for,
    write_projection,
    write_tokenizer,
)

from skingpt4.model.packing import TrainingBatch  # noqa: E402
from skingpt4.model.skingpt4 import SkinGPT4  # noqa: E402
from skingpt4.processor import Processor  # noqa: E402

PUBLISHED = Sizes(
    image_px=224, vit_width=1408, vit_depth=39, vit_heads=16, queries=32, qformer_width=768, qformer_layers=12,
    qformer_heads=12, qformer_intermediate=3072, text_vocabulary=30523, text_positions=512, llama_vocabulary=32000,
)  # fmt: skip
DECODERS = {
    "tiny": replace(TINY, llama_vocabulary=32000),
    "7b": replace(PUBLISHED, llama_width=4096, llama_layers=32, llama_heads=32, llama_intermediate=11008),
    "13b": replace(PUBLISHED, llama_width=5120, llama_layers=40, llama_heads=40, llama_intermediate=13824),
}  # fmt: skip
# Vicuna's own shards have 10 GB. A `.bin` shard is in memory while it is written, so those are smaller.
SHARD_BYTES = {"safetensors": 10_000_000_000, "bin": 2_000_000_000}
BLOCK_VALUES = 1 << 22
LIMIT = 1.15

QUESTION = "Could you describe the skin disease in this image for me?"
ANSWER = (
    "This could be a skin disease image of psoriasis. Psoriasis is a long-lasting inflammatory disease of the skin; it "
    "shows as raised, sharply bordered red plaques with silvery scale, often at elbows, knees and scalp. Stress, "
    "infections and some medicines can set it off. Treatment: emollients, topical corticosteroids and vitamin D "
    "analogues, light therapy, and for widespread disease systemic or biological agents chosen by a dermatologist."
)


class Values:
    """Random tensors made from one block of random numbers, so that writing is as fast as the disk."""

    def __init__(self) -> None:
        self._block = torch.randn(BLOCK_VALUES, generator=torch.Generator().manual_seed(0)) * 0.02
        self._offset = 0

    def pieces(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Iterator[Tensor]:
        """The values of one tensor, flat, in pieces of at most `BLOCK_VALUES`; norms are near 1."""
        block, left = self._block.to(dtype), math.prod(shape)
        centre = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
        while left:
            taken = min(left, BLOCK_VALUES - self._offset)
            yield block[self._offset : self._offset + taken] + centre
            self._offset = (self._offset + taken) % BLOCK_VALUES
            left -= taken

    def tensors(self, shapes: Shapes, dtype: torch.dtype) -> dict[str, Tensor]:
        """Whole tensors, each with its own memory."""
        return {name: torch.cat(list(self.pieces(name, shape, dtype))).reshape(shape) for name, shape in shapes.items()}


def write_weights(folder: Path, sizes: Sizes, form: str, tokenizer: Path | None) -> None:
    """Everything that `settings_for(folder, sizes)` names."""
    values = Values()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(values.tensors(eva_shapes(sizes), torch.float16), folder / "eva_vit.pth")
    torch.save({"model": values.tensors(blip2_shapes(sizes), torch.float32)}, folder / "blip2_qformer.pth")
    write_projection(folder / "skingpt4.pth", sizes)
    decoder = folder / "llm"
    decoder.mkdir(exist_ok=True)
    (decoder / "config.json").write_text(json.dumps(llama_config(sizes)), encoding="utf-8")
    if tokenizer is None:
        write_tokenizer(decoder / "tokenizer.model", TINY.llama_vocabulary)
    else:
        shutil.copyfile(tokenizer, decoder / "tokenizer.model")
    write_decoder_shards(decoder, values, llama_shapes(sizes), form)


def write_decoder_shards(folder: Path, values: Values, shapes: Shapes, form: str) -> None:
    """fp16 shards and their index, as `save_pretrained` names them."""
    shards: list[Shapes] = [{}]
    for name, shape in shapes.items():
        if shards[-1] and _bytes(shards[-1]) + 2 * math.prod(shape) > SHARD_BYTES[form]:
            shards.append({})
        shards[-1][name] = shape
    stem, end = ("model", ".safetensors") if form == "safetensors" else ("pytorch_model", ".bin")
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"{stem}-{number:05d}-of-{len(shards):05d}{end}"
        places |= dict.fromkeys(shard, file)
        if form == "safetensors":
            _stream_safetensors(folder / file, values, shard)
        else:
            torch.save(values.tensors(shard, torch.float16), folder / file)
    index = {"metadata": {"total_size": _bytes(shapes)}, "weight_map": places}
    (folder / f"{stem}{end}.index.json").write_text(json.dumps(index), encoding="utf-8")


def _bytes(shapes: Shapes) -> int:
    return sum(2 * math.prod(shape) for shape in shapes.values())


def _stream_safetensors(path: Path, values: Values, shapes: Shapes) -> None:
    """The format is a length, a JSON header and the bytes: written piece by piece, a shard needs no memory."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, shape in shapes.items():
        end = start + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
        start = end
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name, shape in shapes.items():
            for piece in values.pieces(name, shape, torch.float16):
                file.write(piece.numpy().tobytes())


def training_step(model: SkinGPT4, processor: Processor, pixels: Tensor) -> float:
    """Encode one photograph, one step of AdamW on the projection; the loss before it."""
    with torch.no_grad():
        features = model.encode_images(pixels.unsqueeze(0))
    batch = TrainingBatch.collate([processor.training_sequence(QUESTION, ANSWER)])
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.05)
    before = model.llama_proj.weight.detach().clone()
    loss = model(features, batch)
    loss.backward()
    optimizer.step()
    assert math.isfinite(loss.item()), "the loss is not finite"
    assert not torch.equal(before, model.llama_proj.weight), "the step did not change the projection"
    return loss.item()


def weight_bytes(model: SkinGPT4) -> dict[str, int]:
    """Bytes of the loaded weights per part, in the precision they are kept in."""
    parts: Mapping[str, torch.nn.Module] = dict(model.named_children())
    return {
        name: sum(tensor.nbytes for tensor in (*part.parameters(), *part.buffers())) for name, part in parts.items()
    }


def prepare(folder: Path, arguments: argparse.Namespace, meter: Meter) -> None:
    """Write the weights, unless an earlier run with the same wishes kept them; its figures are then taken over."""
    marker = folder / "written.json"
    wanted = {"decoder": arguments.decoder, "format": arguments.format}
    if marker.is_file():
        found = json.loads(marker.read_text(encoding="utf-8"))
        if found["wanted"] == wanted:
            meter.stages.append(Stage(**found["stage"]))
            return
    with meter.stage("write"):
        write_weights(folder, DECODERS[arguments.decoder], arguments.format, arguments.tokenizer)
    marker.write_text(json.dumps({"wanted": wanted, "stage": asdict(meter.stages[-1])}), encoding="utf-8")


def rehearse(folder: Path, arguments: argparse.Namespace, meter: Meter) -> dict[str, object]:
    """Load, train a step, answer, in this process; returns the figures."""
    from PIL import Image

    from skingpt4.chat.conversation import Chat
    from skingpt4.weights.build import build_model

    settings = settings_for(folder, DECODERS[arguments.decoder], precision=arguments.precision)
    with meter.stage("load"):
        model, processor = build_model(settings)
    noise = torch.randint(0, 256, (300, 400, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    photograph = Image.fromarray(noise.numpy())
    with meter.stage("training step"):
        loss = training_step(model, processor, processor.pixels(photograph))
    model.zero_grad()
    with meter.stage("answer"):
        tokens = Chat(model, processor).start(photograph).answer_ids(QUESTION, arguments.tokens)
    assert tokens, "the model said nothing"
    return {"loss": loss, "answer_tokens": len(tokens), "weight_bytes": weight_bytes(model)}


def main(argv: list[str] | None = None) -> int:
    """Returns 1 when loading took more than `LIMIT` times the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decoder", choices=DECODERS, default="7b")
    parser.add_argument("--format", choices=SHARD_BYTES, default="safetensors", help="of the decoder's shards")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--tokenizer", type=Path, help="a LLaMA tokenizer.model; without it a small one is trained")
    parser.add_argument("--tokens", type=int, default=16, help="length of the answer")
    parser.add_argument("--scratch", type=Path, help="folder for the weights (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="keep the weights, and use those that an earlier run kept")
    parser.add_argument("--write-only", action="store_true", help="write the weights, keep them and stop")
    parser.add_argument("--results", type=Path, help="folder to write true_size.md and true_size.json to")
    arguments = parser.parse_args(argv)
    folder = arguments.scratch or Path(tempfile.mkdtemp(prefix="skingpt4_true_size_"))
    meter = Meter()
    try:
        prepare(folder, arguments, meter)
        if arguments.write_only:
            return 0
        figures = rehearse(folder, arguments, meter)
    finally:
        if not (arguments.keep or arguments.write_only):
            shutil.rmtree(folder, ignore_errors=True)
    figures |= {
        "decoder": arguments.decoder,
        "format": arguments.format,
        "precision": arguments.precision,
        "limit": LIMIT,
    }
    text, within = report(figures, meter)
    print(text)
    if arguments.results:
        save_results(arguments.results, "true_size", text, figures, meter)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
