"""Published files -> our parameter names: one explicit map per source, loaded strictly.

Every key must be wanted or a known leftover, every parameter must be found, every shape must be equal; else the error
lists the keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from skingpt4.errors import WeightsError
from skingpt4.weights.files import some

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# LAVIS's `eva_vit_g.pth`: timm's names. BLIP-2 uses 39 of its 40 blocks and neither final norm nor head.
EVA_LEFTOVER = re.compile(r"(norm|head|fc_norm)\.(weight|bias)")
EVA_BLOCK = re.compile(r"blocks\.(\d+)\.")
TIMM_HEADS = ("head.", "head_dist.")  # classifiers of ImageNet in the files of timm's other vision transformers

# LAVIS's `blip2_pretrained_*.pth` -> `transformers`' Blip2QFormerModel. Applied in order.
LAVIS_QFORMER_RENAMES = (
    ("Qformer.bert.", "qformer."),
    ("embeddings.LayerNorm.", "layernorm."),
    ("attention.self.", "attention.attention."),
)
# The text branch, the language-model head, other models' projections: not part of the image branch.
LAVIS_LEFTOVER = re.compile(
    r"Qformer\.cls\..*"
    r"|Qformer\.bert\.embeddings\.(position_ids|word_embeddings\.weight|position_embeddings\.weight)"
    r"|Qformer\.bert\.encoder\.layer\.\d+\.(intermediate|output)\..*"
    r"|Qformer\.bert\.pooler\..*"
    r"|(t5_proj|opt_proj|llm_proj|vision_proj|text_proj|itm_head)\..*"
    r"|temp"
    r"|(visual_encoder|t5_model|opt_model|llm_model)\..*"
)
# A Hugging Face `Salesforce/blip2-*` repository: the Q-Former under our names; the rest belongs to other parts.
TRANSFORMERS_LEFTOVER = re.compile(
    r"(vision_model|language_model|language_projection|itm_head|embeddings|.*_projection)\..*"
)

# `transformers`' Blip2ForConditionalGeneration <-> our model: its parts (the first that fits), and within the vision
# transformer, in order. Applied both ways.
TRANSFORMERS_PARTS = (
    ("vision_model.post_layernorm.", "vision.ln_vision."),
    ("vision_model.", "vision.backbone."),
    ("query_tokens", "qformer.query_tokens"),
    ("qformer.", "qformer.qformer."),
    ("language_projection.", "llama_proj."),
)
TRANSFORMERS_VISION = (
    ("embeddings.class_embedding", "cls_token"),
    ("embeddings.position_embedding", "pos_embed"),
    ("embeddings.patch_embedding.", "patch_embed.proj."),
    ("encoder.layers.", "blocks."),
    (".self_attn.projection.", ".attn.proj."),
    (".self_attn.", ".attn."),
    (".layer_norm", ".norm"),
)

QKV_BIAS = ".attn.qkv.bias"
LANGUAGE_MODEL = "language_model."  # the decoder's names begin so there

# Released checkpoints: what upstream's model calls its trained parts. Some forks say `llm_proj`; one trained with
# `freeze_qformer: False` or `freeze_vit: False` holds those parts as well.
RELEASED_RENAMES = (
    ("llm_proj.", "llama_proj."),
    ("query_tokens", "qformer.query_tokens"),
    ("ln_vision.", "vision.ln_vision."),
    ("visual_encoder.", "vision.backbone."),
)
# Upstream deletes frozen parameters before it saves and forgets constant buffers.
RELEASED_LEFTOVER = re.compile(
    r"Qformer\.bert\.embeddings\.position_ids|(llama_model|llm_model)\..*\.rotary_emb\.inv_freq|temp"
)


def eva_tensors(tensors: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """The first `depth` blocks of `eva_vit_g.pth` (or a file of the same form), leftovers dropped; or the vision
    transformer of a `transformers` BLIP-2.
    """
    if is_whole_model(tensors):
        start = "vision.backbone."
        found = from_transformers(tensors)
        return {key.removeprefix(start): value for key, value in found.items() if key.startswith(start)}

    def is_leftover(key: str) -> bool:
        block = EVA_BLOCK.match(key)
        return bool(EVA_LEFTOVER.fullmatch(key)) or (block is not None and int(block.group(1)) >= depth)

    return {key: value for key, value in tensors.items() if not is_leftover(key)}


def qformer_tensors(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A BLIP-2 file (LAVIS's or `transformers`' form) -> tensors of `QFormer`, tensors of `ln_vision`."""
    if any(key.startswith("Qformer.") for key in tensors):
        kept = {
            _rename(key, LAVIS_QFORMER_RENAMES): v for key, v in tensors.items() if not LAVIS_LEFTOVER.fullmatch(key)
        }
    else:
        kept = {key: value for key, value in tensors.items() if not TRANSFORMERS_LEFTOVER.fullmatch(key)}
        if "ln_vision.weight" not in kept and "vision_model.post_layernorm.weight" in tensors:
            kept |= {f"ln_vision.{end}": tensors[f"vision_model.post_layernorm.{end}"] for end in ("weight", "bias")}
    norm = {key.removeprefix("ln_vision."): value for key, value in kept.items() if key.startswith("ln_vision.")}
    return {key: value for key, value in kept.items() if not key.startswith("ln_vision.")}, norm


def projection_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A released or own checkpoint's trained tensors under our names, leftovers dropped; or all but the decoder of a
    `transformers` BLIP-2.
    """
    if is_whole_model(tensors):
        return from_transformers(tensors)
    renamed = {}
    for key, value in tensors.items():
        if RELEASED_LEFTOVER.fullmatch(key):
            continue
        if key.startswith("Qformer."):
            renamed["qformer." + _rename(key, LAVIS_QFORMER_RENAMES)] = value
            continue
        old, new = next(((old, new) for old, new in RELEASED_RENAMES if key.startswith(old)), ("", ""))
        renamed[new + key.removeprefix(old)] = value
    return renamed


def released_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Trained tensors of ours under the names that upstream's checkpoints have: `projection_tensors` undoes it."""
    renamed: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if key.startswith("qformer.qformer."):
            name = key.removeprefix("qformer.qformer.").replace("attention.attention.", "attention.self.")
            renamed["Qformer.bert." + re.sub(r"^layernorm\.", "embeddings.LayerNorm.", name)] = value
            continue
        upstream = ((old, new) for old, new in RELEASED_RENAMES[1:] if key.startswith(new))
        old, new = next(upstream, ("", ""))
        renamed[old + key.removeprefix(new)] = value
    return renamed


def from_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a `transformers` BLIP-2 under our names; its language model and other leftovers dropped.

    Keys have no bias in EVA. The zeros (or anything: the same is added to all scores of a query) that stand between
    those of queries and values are dropped.
    """
    renamed: dict[str, Tensor] = {}
    for key, value in tensors.items():
        theirs, ours = next(((theirs, ours) for theirs, ours in TRANSFORMERS_PARTS if key.startswith(theirs)), ("", ""))
        if not ours or key.startswith("qformer.embeddings."):
            continue
        name = ours + key.removeprefix(theirs)
        if ours == "vision.backbone.":
            name = _rename(name, TRANSFORMERS_VISION)
        if name.endswith(QKV_BIAS):
            block = name.removesuffix(QKV_BIAS)
            renamed[f"{block}.attn.q_bias"], _, renamed[f"{block}.attn.v_bias"] = value.chunk(3)
        else:
            renamed[name] = value
    return renamed


def to_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of our model but the decoder's -> those of a `transformers` BLIP-2."""
    import torch

    renamed: dict[str, Tensor] = {}
    for key, value in tensors.items():
        ours, theirs = next((ours, theirs) for theirs, ours in TRANSFORMERS_PARTS if key.startswith(ours))
        if ours == "vision.backbone.":
            key = _rename(key, ((new, old) for old, new in TRANSFORMERS_VISION))
        renamed[theirs + key.removeprefix(ours)] = value
    for block in [key.removesuffix(".q_bias") for key in renamed if key.endswith(".q_bias")]:
        queries, values = renamed.pop(f"{block}.q_bias"), renamed.pop(f"{block}.v_bias")
        renamed[f"{block}.qkv.bias"] = torch.cat([queries, torch.zeros_like(queries), values])
    return renamed


def is_whole_model(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors of a `transformers` BLIP-2."""
    return "vision_model.embeddings.class_embedding" in tensors


def _rename(key: str, renames: Iterable[tuple[str, str]]) -> str:
    for old, new in renames:
        key = key.replace(old, new, 1)
    return key


def interpolate_positions(positions: Tensor, patches: int, extra: int = 1) -> Tensor:
    """Absolute position embeddings float[1, extra + n, D] for another number of patches: bicubic on the grid, float32.

    extra: rows before the grid that are kept, e.g. the class token's. Embeddings that fit come back as they are.
    LAVIS's `interpolate_pos_embed`. Raises `WeightsError` when either grid is no square.
    """
    import torch
    from torch.nn import functional as F

    found = positions.shape[1] - extra
    if found == patches:
        return positions
    old_side, new_side = round(max(found, 0) ** 0.5), round(patches**0.5)
    if old_side**2 != found or new_side**2 != patches:
        raise WeightsError(
            f"Position embeddings of {found} patches cannot be laid on {patches}: both must be square grids."
        )
    grid = positions[:, extra:].float().reshape(1, old_side, old_side, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(new_side, new_side), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :extra].float(), grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def load_strictly(
    module: nn.Module, tensors: Mapping[str, Tensor], source: str, dtype_of: Callable[[str], torch.dtype], part: str
) -> None:
    """Put `tensors` into `module`, replacing its (possibly `meta`) parameters: no second copy.

    dtype_of: parameter name -> the dtype it is kept in. Raises `WeightsError` listing missing, unexpected and misshapen
    keys.
    """
    wanted = module.state_dict()
    faults = {
        "missing": sorted(wanted.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - wanted.keys()),
        "of another shape": [
            f"{key} {tuple(tensors[key].shape)} instead of {tuple(wanted[key].shape)}"
            for key in sorted(wanted.keys() & tensors.keys())
            if tensors[key].shape != wanted[key].shape
        ],
    }
    listed = [f"{len(keys)} {what}: {some(keys)}" for what, keys in faults.items() if keys]
    if listed:
        raise WeightsError(
            f"{source} does not fit the {part} of these settings. {'; '.join(listed)}. "
            "Check the sizes in `model` and the file."
        )
    module.load_state_dict({key: tensors[key].to(dtype_of(key)) for key in wanted}, strict=True, assign=True)
