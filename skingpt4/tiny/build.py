"""Makes the embedded default from nothing: `python -m skingpt4.tiny.build`.

About an hour on two free cores: the eyes and the decoder learn side by side. Each stage leaves a file in the working
folder; run again after an interruption, and finished stages are skipped.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from skingpt4.tiny import parts
from skingpt4.tiny.align import align
from skingpt4.tiny.card import write_card
from skingpt4.tiny.evaluate import evaluate
from skingpt4.tiny.pretrain_language import pretrain_language
from skingpt4.tiny.pretrain_vision import pretrain_vision
from skingpt4.tiny.tokenizer import train_tokenizer
from skingpt4.tokenizer import SentencePieceTokenizer

ASSETS = Path(__file__).parent / "assets"
_CONFIG_KEYS = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_parameters",
    "attention_bias",
    "mlp_bias",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "transformers_version",
)


@dataclass(frozen=True)
class BuildSettings:
    """Trainings are counted in steps, so that a build gives the same weights on a busy machine."""

    seed: int = 1
    photographs: int = 60_000
    vision_steps: int = 5_200
    vision_batch: int = 48
    vision_lr: float = 3e-3
    language_steps: int = 3_400
    language_batch: int = 48
    language_lr: float = 2.5e-3
    align_photographs: int = 6_000
    align_epochs: int = 3
    align_lr: float = 3e-3
    test_images: int = 1_000


def run_stage(work: Path, name: str, action: Callable[[], dict[str, object]]) -> dict[str, object]:
    """Do a stage once: its figures and its time go to `NAME.json`, which marks it as done."""
    marker = work / f"{name}.json"
    if not marker.exists():
        wall, cpu = time.time(), time.process_time()
        figures = {
            **action(),
            "wall_seconds": round(time.time() - wall),
            "cpu_seconds": round(time.process_time() - cpu),
        }
        marker.write_text(json.dumps(figures, indent=1))
    result: dict[str, object] = json.loads(marker.read_text())
    return result


def _vision(work: Path, settings: BuildSettings) -> None:
    torch.set_num_threads(1)
    run_stage(
        work,
        "vision",
        lambda: {
            **pretrain_vision(
                work,
                settings.vision_steps,
                settings.photographs,
                settings.vision_batch,
                settings.vision_lr,
                settings.seed,
            )
        },
    )


def _language(work: Path, settings: BuildSettings) -> None:
    torch.set_num_threads(1)

    def action() -> dict[str, object]:
        train_tokenizer(work / "tokenizer.model", settings.seed)
        return {
            **pretrain_language(
                work, settings.language_steps, settings.language_batch, settings.language_lr, settings.seed
            )
        }

    run_stage(work, "language", action)


def pretrain(work: Path, settings: BuildSettings) -> None:
    """Eyes and decoder side by side, one core each."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=target, args=(work, settings)) for target in (_vision, _language)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a pre-training stopped early; its message is above. Run the build again to go on.")


def export(work: Path, out: Path) -> None:
    """The published formats, fp16: LAVIS's EVA, Hugging Face's BLIP-2 Q-Former, a Hugging Face LLaMA directory."""
    seen, said = load_file(work / "vision.safetensors"), load_file(work / "language.safetensors")
    llm = out / "llm"
    llm.mkdir(parents=True, exist_ok=True)
    _save_half(_under(seen, "vision.backbone."), out / "eva_vit.safetensors")
    qformer = _under(seen, "qformer.") | {
        f"ln_vision.{key}": value for key, value in _under(seen, "vision.ln_vision.").items()
    }
    _save_half(qformer, out / "blip2_qformer.safetensors")
    _save_half(said, llm / "model.safetensors")
    (llm / "tokenizer.model").write_bytes((work / "tokenizer.model").read_bytes())
    tokenizer = SentencePieceTokenizer(llm / "tokenizer.model")
    config = parts.build_language_model(tokenizer.size).config.to_dict()
    settings = {key: config[key] for key in _CONFIG_KEYS} | {"architectures": ["LlamaForCausalLM"], "dtype": "float16"}
    (llm / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    (llm / "generation_config.json").write_text(json.dumps(ids, indent=2) + "\n")
    words = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<unk>",
        "add_bos_token": True,
        "add_eos_token": False,
        "legacy": True,
        "model_max_length": parts.CONTEXT_TOKENS,
        "clean_up_tokenization_spaces": False,
    }
    (llm / "tokenizer_config.json").write_text(json.dumps(words, indent=2) + "\n")


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _save_half(state: dict[str, Tensor], path: Path) -> None:
    halves = {key: value.to(torch.float16).contiguous() for key, value in state.items()}
    save_file(halves, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors writes files that only their owner can read


def build(out: Path, work: Path, settings: BuildSettings) -> None:
    """All stages, into `out`."""
    work.mkdir(parents=True, exist_ok=True)
    pretrain(work, settings)
    export(work, out)
    # Stages with files in `out` start anew when these were removed.
    for marker, made in (("align", out / "projection.safetensors"), ("evaluate", out / "skingpt4.safetensors")):
        if not made.exists():
            (work / f"{marker}.json").unlink(missing_ok=True)
    run_stage(
        work,
        "align",
        lambda: {**align(out, settings.align_photographs, settings.align_epochs, settings.align_lr, settings.seed)},
    )

    def measured() -> dict[str, object]:
        figures, conversation = evaluate(out, settings.seed, settings.test_images)
        return {"figures": figures, "conversation": conversation}

    run_stage(work, "evaluate", measured)
    write_card(out / "CARD.md", work)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ASSETS, help="where the assets go (default: the package's own)")
    parser.add_argument("--work", type=Path, default=Path("build/tiny"), help="working folder, about 2.5 GB")
    parser.add_argument("--seed", type=int, default=BuildSettings.seed)
    arguments = parser.parse_args(argv)
    build(arguments.out, arguments.work, BuildSettings(seed=arguments.seed))


if __name__ == "__main__":
    main()
