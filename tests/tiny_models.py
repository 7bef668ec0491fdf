"""Small random checkpoints in the published formats, and the settings that name them.

The names of the published files' tensors are written out here, independently of the package's name maps.
`benchmarks/true_size.py` uses the same lists at true size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from skingpt4.settings import Settings

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Sizes:
    """Sizes of a whole model. Lengths in pixels, numbers of layers, widths."""

    image_px: int = 56
    patch_px: int = 14
    vit_width: int = 32
    vit_depth: int = 2
    vit_heads: int = 4
    mlp_ratio: float = 4.3637
    queries: int = 8
    qformer_width: int = 24
    qformer_layers: int = 4
    qformer_heads: int = 4
    qformer_intermediate: int = 48
    text_vocabulary: int = 64  # of the Q-Former's unused text branch
    text_positions: int = 32
    llama_width: int = 32
    llama_layers: int = 2
    llama_heads: int = 4
    llama_intermediate: int = 64
    llama_vocabulary: int = 400
    llama_positions: int = 2048


TINY = Sizes()

# What the tokenizer learns its pieces from: the project's own questions and answers.
CORPUS = (
    "###Human: <Img></Img> Could you describe the medical concepts of skin disease in this image for me? "
    "###Assistant: ",
    "###Human: <Img></Img> What's wrong with my skin? ###Assistant: ",
    "This is a skin disease image with following clinical concepts: Plaque, Scale, Erythema###",
    "This could be a skin disease image of psoriasis. Raised plaques with silvery scale on the elbows.###",
    "Give the following image: <Img>ImageContent</Img>. You will be able to see the image once I provide it to you. "
    "Please answer my questions.###Human: <Img></Img> What could this be?###Assistant:",
)


def eva_shapes(sizes: Sizes) -> Shapes:
    """LAVIS's `eva_vit_g.pth`: one block more than is used, a final norm and a head."""
    width, hidden = sizes.vit_width, int(sizes.vit_width * sizes.mlp_ratio)
    shapes: Shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + (sizes.image_px // sizes.patch_px) ** 2, width),
        "patch_embed.proj.weight": (width, 3, sizes.patch_px, sizes.patch_px),
        "patch_embed.proj.bias": (width,),
    }
    for block in range(sizes.vit_depth + 1):
        own: Shapes = {
            "norm1.weight": (width,), "norm1.bias": (width,),
            "attn.q_bias": (width,), "attn.v_bias": (width,), "attn.qkv.weight": (3 * width, width),
            "attn.proj.weight": (width, width), "attn.proj.bias": (width,),
            "norm2.weight": (width,), "norm2.bias": (width,),
            "mlp.fc1.weight": (hidden, width), "mlp.fc1.bias": (hidden,),
            "mlp.fc2.weight": (width, hidden), "mlp.fc2.bias": (width,),
        }  # fmt: skip
        shapes |= {f"blocks.{block}.{name}": shape for name, shape in own.items()}
    return shapes | {"norm.weight": (width,), "norm.bias": (width,), "head.weight": (7, width), "head.bias": (7,)}


def blip2_shapes(sizes: Sizes) -> Shapes:
    """LAVIS's `blip2_pretrained_*.pth`: queries, `ln_vision`, Q-Former with text branch, a foreign projection."""
    width, vocabulary = sizes.qformer_width, sizes.text_vocabulary
    bert, cls = "Qformer.bert.", "Qformer.cls.predictions."
    shapes: Shapes = {"query_tokens": (1, sizes.queries, width)}
    shapes |= _norm("ln_vision", sizes.vit_width)
    shapes[f"{bert}embeddings.position_ids"] = (1, sizes.text_positions)
    shapes[f"{bert}embeddings.word_embeddings.weight"] = (vocabulary, width)
    shapes[f"{bert}embeddings.position_embeddings.weight"] = (sizes.text_positions, width)
    shapes |= _norm(f"{bert}embeddings.LayerNorm", width)
    for layer in range(sizes.qformer_layers):
        shapes |= _bert_layer(f"{bert}encoder.layer.{layer}.", sizes, crosses=layer % 2 == 0)
    shapes |= {f"{cls}bias": (vocabulary,)} | _linear(f"{cls}transform.dense", width, width)
    shapes |= _norm(f"{cls}transform.LayerNorm", width) | _linear(f"{cls}decoder", width, vocabulary)
    return shapes | _linear("t5_proj", width, sizes.llama_width)


def _bert_layer(prefix: str, sizes: Sizes, crosses: bool) -> Shapes:
    width, hidden = sizes.qformer_width, sizes.qformer_intermediate
    shapes: Shapes = {}
    for attention, source in (("attention", width), *((("crossattention", sizes.vit_width),) if crosses else ())):
        shapes |= _linear(f"{prefix}{attention}.self.query", width, width)
        shapes |= _linear(f"{prefix}{attention}.self.key", source, width)
        shapes |= _linear(f"{prefix}{attention}.self.value", source, width)
        shapes |= _linear(f"{prefix}{attention}.output.dense", width, width)
        shapes |= _norm(f"{prefix}{attention}.output.LayerNorm", width)
    for branch in ("", "_query"):
        shapes |= _linear(f"{prefix}intermediate{branch}.dense", width, hidden)
        shapes |= _linear(f"{prefix}output{branch}.dense", hidden, width)
        shapes |= _norm(f"{prefix}output{branch}.LayerNorm", width)
    return shapes


def llama_layer_shapes(sizes: Sizes, layer: int) -> Shapes:
    """One layer of a Hugging Face LLaMA."""
    width, hidden, prefix = sizes.llama_width, sizes.llama_intermediate, f"model.layers.{layer}."
    attention: Shapes = {f"{prefix}self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
    return attention | {
        f"{prefix}mlp.gate_proj.weight": (hidden, width),
        f"{prefix}mlp.up_proj.weight": (hidden, width),
        f"{prefix}mlp.down_proj.weight": (width, hidden),
        f"{prefix}input_layernorm.weight": (width,),
        f"{prefix}post_attention_layernorm.weight": (width,),
    }


def llama_outer_shapes(sizes: Sizes) -> Shapes:
    """What a Hugging Face LLaMA has around its layers."""
    width, vocabulary = sizes.llama_width, sizes.llama_vocabulary
    return {
        "model.embed_tokens.weight": (vocabulary, width),
        "model.norm.weight": (width,),
        "lm_head.weight": (vocabulary, width),
    }


def llama_shapes(sizes: Sizes) -> Shapes:
    """All tensors of a Hugging Face LLaMA."""
    shapes = llama_outer_shapes(sizes)
    for layer in range(sizes.llama_layers):
        shapes |= llama_layer_shapes(sizes, layer)
    return shapes


def llama_config(sizes: Sizes) -> dict[str, object]:
    """`config.json` as Vicuna's has it."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": sizes.llama_width,
        "intermediate_size": sizes.llama_intermediate,
        "num_hidden_layers": sizes.llama_layers,
        "num_attention_heads": sizes.llama_heads,
        "max_position_embeddings": sizes.llama_positions,
        "vocab_size": sizes.llama_vocabulary,
        "rms_norm_eps": 1e-6,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
    }


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def random_values(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """float32 values of a sensible size for a tensor of this name."""
    if name.endswith("position_ids"):
        return torch.arange(shape[-1]).reshape(shape)
    values = torch.randn(shape, generator=generator)
    if len(shape) == 1:
        return 1 + 0.1 * values if "norm" in name.lower() and name.endswith("weight") else 0.1 * values
    inputs = values[0].numel() if shape[0] > 1 else 4  # queries, positions and the class token have one row
    return values * inputs**-0.5


def random_tensors(
    shapes: Mapping[str, tuple[int, ...]], seed: int, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Tensors of these names and shapes; integers stay integers."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: random_values(name, shape, generator) for name, shape in shapes.items()}
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def write_tokenizer(path: Path, pieces: int) -> None:
    """Train a LLaMA-like SentencePiece model (BPE, byte fallback, prefix space) of `pieces` pieces on `CORPUS`."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 4),
        model_prefix=str(path.with_suffix("")),
        vocab_size=pieces,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        hard_vocab_limit=True,
        minloglevel=2,
    )
    path.with_suffix(".vocab").unlink()


def write_llama(folder: Path, sizes: Sizes, seed: int = 2) -> None:
    """A Hugging Face directory of a random LLaMA: fp16 `pytorch_model.bin`, `config.json`, `tokenizer.model`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(llama_config(sizes)), encoding="utf-8")
    torch.save(random_tensors(llama_shapes(sizes), seed, torch.float16), folder / "pytorch_model.bin")
    write_tokenizer(folder / "tokenizer.model", sizes.llama_vocabulary)


def write_projection(path: Path, sizes: Sizes, seed: int = 3, rename: Callable[[str], str] = str) -> None:
    """A released `.pth`: the projection under `model`, and what training left beside it."""
    shapes = _linear("llama_proj", sizes.qformer_width, sizes.llama_width)
    tensors = {rename(name): tensor for name, tensor in random_tensors(shapes, seed).items()}
    optimizer = {"state": {0: {"step": 7, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-5, "params": [0]}]}
    torch.save({"model": tensors, "optimizer": optimizer, "config": {"run": {}}, "scaler": None, "epoch": 4}, path)


def write_checkpoints(folder: Path, sizes: Sizes = TINY) -> None:
    """All four: `eva_vit.pth`, `blip2_qformer.pth`, `llm/`, `skingpt4.pth` (as in the reference directory)."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(random_tensors(eva_shapes(sizes), 0, torch.float16), folder / "eva_vit.pth")
    torch.save({"model": random_tensors(blip2_shapes(sizes), 1)}, folder / "blip2_qformer.pth")
    write_llama(folder / "llm", sizes)
    write_projection(folder / "skingpt4.pth", sizes)


def settings_for(folder: Path, sizes: Sizes = TINY, precision: str = "fp32") -> Settings:
    """Settings of the checkpoints that `write_checkpoints` wrote into `folder`, on the CPU."""
    settings = Settings()
    model = settings.model
    model.precision = precision
    model.image_size, model.vit_patch_size = sizes.image_px, sizes.patch_px
    model.vit_width, model.vit_depth, model.vit_heads = sizes.vit_width, sizes.vit_depth, sizes.vit_heads
    model.vit_mlp_ratio = sizes.mlp_ratio
    model.num_query_token, model.qformer_width = sizes.queries, sizes.qformer_width
    model.qformer_layers, model.qformer_heads = sizes.qformer_layers, sizes.qformer_heads
    model.qformer_intermediate_width = sizes.qformer_intermediate
    model.vit_weights = str(folder / "eva_vit.pth")
    model.q_former_model = str(folder / "blip2_qformer.pth")
    model.llama_model = str(folder / "llm")
    model.ckpt = str(folder / "skingpt4.pth")
    settings.run.device = "cpu"
    return settings
