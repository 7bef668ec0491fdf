"""A rehearsal for a 16 GB laptop without a GPU: Vicuna-13B in Q4_0 by llama.cpp, the whole encoder beside it.

    python benchmarks/laptop_13b.py --scratch DIR

writes random weights at true size (EVA-g and Q-Former as published, the decoder straight as a GGUF file, so that its
16-bit form, 26 GB, is never there), loads them through the normal path with `model.engine=llamacpp`, and answers two
questions about one picture. It prints memory per stage, time to the first token, tokens a second, and returns 1 where
the peak is above the limit. 13b needs about 11 GB of disk; Linux only (`/proc`).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from datetime import date
from pathlib import Path

import gguf
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from memory_meter import Meter, machine  # noqa: E402
from tiny_models import (  # noqa: E402
    TINY,
    Sizes,
    blip2_shapes,
    eva_shapes,
    llama_config,
    llama_shapes,
    settings_for,
    write_projection,
    write_tokenizer,
)
from true_size import BLOCK_VALUES, DECODERS, QUESTION, Values  # noqa: E402

from skingpt4.weights.decoder import decoder_config  # noqa: E402
from skingpt4.weights.gguf import add_tokenizer, describe  # noqa: E402

LIMIT_GB = 12.0
FOLLOW_UP = "What would you advise me to do?"


def write_weights(folder: Path, sizes: Sizes) -> None:
    """Everything that `settings_for(folder, sizes)` names, but for the decoder's weights; and `decoder.gguf`."""
    values = Values()
    (folder / "llm").mkdir(parents=True, exist_ok=True)
    torch.save(values.tensors(eva_shapes(sizes), torch.float16), folder / "eva_vit.pth")
    torch.save({"model": values.tensors(blip2_shapes(sizes), torch.float32)}, folder / "blip2_qformer.pth")
    write_projection(folder / "skingpt4.pth", sizes)
    (folder / "llm" / "config.json").write_text(json.dumps(llama_config(sizes)), encoding="utf-8")
    write_tokenizer(folder / "llm" / "tokenizer.model", TINY.llama_vocabulary)
    write_random_gguf(folder / "llm", folder / "decoder.gguf", sizes)


def write_random_gguf(directory: Path, file: Path, sizes: Sizes) -> None:
    """Matrices in Q4_0, the head in Q8_0 (llama.cpp's own mixture has Q6_K there, a little less), norms in float32."""
    config = decoder_config(directory)
    writer = gguf.GGUFWriter(file, "llama")
    describe(writer, config)
    add_tokenizer(writer, directory, config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    kinds = {kind: gguf.GGMLQuantizationType[kind] for kind in ("Q4_0", "Q8_0", "F32")}
    values = torch.randn(BLOCK_VALUES, generator=torch.Generator().manual_seed(0)).numpy() * 0.02
    blocks = {kind: gguf.quants.quantize(values, kinds[kind]).view(np.uint8) for kind in ("Q4_0", "Q8_0")}
    blocks["F32"] = np.ones(sizes.llama_width, np.float32).view(np.uint8)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    sizes_of: list[tuple[str, int]] = []
    for name, shape in llama_shapes(sizes).items():
        kind = "F32" if len(shape) == 1 else "Q8_0" if name == "lm_head.weight" else "Q4_0"
        block_values, block_bytes = gguf.GGML_QUANT_SIZES[kinds[kind]]
        bytes_ = math.prod(shape) // block_values * block_bytes
        ours = names.get_name(name, try_suffixes=(".weight",))
        writer.add_tensor_info(ours, shape, np.dtype(np.int8), bytes_, kinds[kind])
        sizes_of.append((kind, bytes_))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for kind, bytes_ in sizes_of:
        writer.write_tensor_data(np.resize(blocks[kind], bytes_))
    writer.close()


def rehearse(folder: Path, sizes: Sizes, precision: str, tokens: int, meter: Meter) -> list[str]:
    """Load and answer, in this process; lines of a table."""
    from PIL import Image

    from skingpt4.chat.load import load_chat
    from skingpt4.engines.sampling import Sampling

    settings = settings_for(folder, sizes, precision)
    settings.model.engine, settings.model.gguf = "llamacpp", str(folder / "decoder.gguf")
    with meter.stage("load"):
        chat = load_chat(settings)
    noise = torch.randint(0, 256, (300, 400, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with meter.stage("encode the picture"):
        conversation = chat.start(Image.fromarray(noise.numpy()))
    lines = [
        "| answer | prompt, tokens | newly read | first token, s | tokens | tokens/s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, question in (("first answer", QUESTION), ("second answer", FOLLOW_UP)):
        with meter.stage(name):
            conversation.ask(question, Sampling(max_new_tokens=tokens))
        timing = conversation.timing
        assert timing is not None and timing.new_tokens > 1, "the model said nothing"
        speed = (timing.new_tokens - 1) / (timing.seconds - timing.first_token_seconds)
        lines.append(
            f"| {name} | {timing.prompt_tokens} | {timing.read_tokens} | {timing.first_token_seconds:.1f} "
            f"| {timing.new_tokens} | {speed:.2f} |"
        )
    return lines


def main(argv: list[str] | None = None) -> int:
    """Returns 1 where the peak is above `LIMIT_GB`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decoder", choices=DECODERS, default="13b")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16", help="of the vision transformer")
    parser.add_argument("--tokens", type=int, default=32, help="length of each answer")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--scratch", type=Path, help="where to put the weights (default: the system's own place)")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    sizes, meter = DECODERS[arguments.decoder], Meter()
    with tempfile.TemporaryDirectory(prefix="skingpt4_laptop_", dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        with meter.stage("write"):
            write_weights(folder, sizes)
        gigabytes = (folder / "decoder.gguf").stat().st_size / 1e9
        lines = rehearse(folder, sizes, arguments.precision, arguments.tokens, meter)
    peak = max(stage.peak_resident for stage in meter.stages[1:]) / 1e9
    print(f"\n# Rehearsal for a laptop: decoder {arguments.decoder} in Q4_0 ({gigabytes:.2f} GB), encoder in "
          f"{arguments.precision}\n\n{date.today().isoformat()}, {machine()}. Random weights.\n")  # fmt: skip
    print(
        "| stage | seconds | peak resident, GB | of it anonymous at most | mapped files at most |\n"
        "|---|---:|---:|---:|---:|"
    )
    for stage in meter.stages:
        sizes_gb = (stage.peak_resident / 1e9, stage.peak_anonymous / 1e9, stage.peak_file / 1e9)
        print(f"| {stage.name} | {stage.seconds:.1f} | " + " | ".join(f"{size:.2f}" for size in sizes_gb) + " |")
    print("\n" + "\n".join(lines))
    print(f"\nPeak from loading on: **{peak:.2f} GB**; the limit is {LIMIT_GB:.0f}.")
    return 0 if peak <= LIMIT_GB else 1


if __name__ == "__main__":
    sys.exit(main())
