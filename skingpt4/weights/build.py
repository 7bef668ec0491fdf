"""Settings -> a loaded model: parameters allocated on `meta`, filled from mapped files, no second copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import init_empty_weights
from torch import nn

from skingpt4.config import embedded_settings, load_settings, resolve_path
from skingpt4.device import resolve_device, resolve_dtype, resolve_vit_dtype
from skingpt4.errors import SettingsError, WeightsError
from skingpt4.model.qformer import QFormer
from skingpt4.model.skingpt4 import PROJECTION, SkinGPT4
from skingpt4.model.vision import VisionEncoder, build_eva_vit, build_timm_vit, pixel_statistics
from skingpt4.processor import Processor
from skingpt4.settings import ModelSettings, Settings
from skingpt4.tokenizer import load_tokenizer
from skingpt4.weights.catalogue import advice, needed
from skingpt4.weights.checkpoint import checkpoint_settings, find_checkpoint, load_checkpoint, require_width
from skingpt4.weights.convert import TIMM_HEADS, eva_tensors, interpolate_positions, load_strictly, qformer_tensors
from skingpt4.weights.decoder import decoder_shape, load_decoder
from skingpt4.weights.files import find_file, places_of, read_tensors, weights_path
from skingpt4.weights.quantize import require_package, wanted_quantization


def load_model(
    config_path_or_checkpoint_dir: str | Path | None = None, options: Sequence[str] = ()
) -> tuple[SkinGPT4, Processor]:
    """Build and load a model with its processor, ready to chat (in `eval()`, on `run.device`).

    config_path_or_checkpoint_dir: a YAML file, a checkpoint (file or folder) of this package, or None for the small
    model that the package ships. options: `key=value` settings laid over it. Raises `SettingsError`, `WeightsError` or
    `DeviceError`.
    """
    return build_model(settings_of(config_path_or_checkpoint_dir, options))


def settings_of(source: str | Path | None, options: Sequence[str] = ()) -> Settings:
    """The settings behind a YAML file, one of our checkpoints, or (None) the embedded default."""
    if source is None:
        return embedded_settings(options)
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        return load_settings(path, options)[-1]
    if path.suffix in (".pth", ".pt", ".bin"):
        raise SettingsError(
            f"{path} holds a projection only; name it as model.ckpt in a YAML file that also names the other weights."
        )
    checkpoint = find_checkpoint(str(path))
    settings = checkpoint_settings(checkpoint)
    settings.model.ckpt = str(checkpoint)
    if not options:
        return settings
    from omegaconf import OmegaConf

    from skingpt4.config import apply_option
    from skingpt4.settings_check import check

    merged = OmegaConf.structured(settings)
    for option in options:
        apply_option(merged, option)
    changed = OmegaConf.to_object(merged)
    assert isinstance(changed, Settings)
    check(changed, str(path))
    return changed


def build_model(
    settings: Settings, with_encoder: bool = True, with_decoder: bool = True, sharded: bool = False
) -> tuple[SkinGPT4, Processor]:
    """The model of these settings. with_encoder: False leaves vision and Q-Former out, for training on cached features.
    with_decoder: False leaves the decoder out, for an engine that runs it elsewhere; its folder then needs no more than
    config.json and the tokenizer. sharded: leave the decoder on the CPU, for `training.devices` to share it out.

    What can be wrong is looked at before the big files are read. Raises `SettingsError`, `WeightsError` or
    `DeviceError`.
    """
    wanted = settings.model
    device = resolve_device(settings.run.device)
    decoder_dtype = resolve_dtype(wanted.precision, device)
    vit_dtype = resolve_vit_dtype(wanted.vit_precision, decoder_dtype, device) if wanted.freeze_vit else torch.float32
    require_files(wanted, with_encoder)
    quantization = wanted_quantization(wanted) if with_decoder else ""
    require_package(quantization)
    decoder_directory = weights_path(wanted.llama_model)
    tokenizer = load_tokenizer(decoder_directory)
    processor = Processor.from_settings(wanted, tokenizer)
    rows, width = decoder_shape(decoder_directory)
    if tokenizer.size > rows:
        raise WeightsError(
            f"{decoder_directory}: the tokenizer has {tokenizer.size:,} tokens and the decoder's embedding {rows:,}; "
            "they are not of one model. Copy the tokenizer from the repository that the decoder came from."
        )
    checkpoint = resolve_path(wanted.ckpt)
    if checkpoint:
        require_width(checkpoint, width)
    vision, qformer = build_encoder(wanted, vit_dtype, device) if with_encoder else (None, None)
    decoder = None
    if with_decoder:
        decoder = load_decoder(
            decoder_directory, decoder_dtype, torch.device("cpu") if sharded else device, quantization,
            wanted.device_map if device.type == "cuda" else "",
        )  # fmt: skip
    generator = torch.Generator().manual_seed(settings.run.seed)
    projection = random_projection(wanted.qformer_width, width, generator)
    model = SkinGPT4(vision, qformer, projection.to(device), decoder, wanted.compile)
    if checkpoint:
        load_checkpoint(model, checkpoint)
    if with_encoder:
        trained = {PROJECTION: True, "vision": not wanted.freeze_vit, "qformer": not wanted.freeze_qformer}
        model.train_only(*(part for part, is_trained in trained.items() if is_trained))
    return model.eval(), processor


def random_projection(width: int, decoder_width: int, generator: torch.Generator) -> nn.Linear:
    """`nn.Linear`'s own initial distribution, from a generator of its own so that other draws do not change it."""
    projection = nn.Linear(width, decoder_width)
    bound = width**-0.5
    with torch.no_grad():
        projection.weight.uniform_(-bound, bound, generator=generator)
        projection.bias.uniform_(-bound, bound, generator=generator)
    return projection


def require_files(settings: ModelSettings, with_encoder: bool = True) -> None:
    """Raise one `WeightsError` that lists every missing weight file, where it was looked for, and where to get it."""
    missing = []
    for key, setting in needed(settings, with_encoder).items():
        value = resolve_path(setting)
        if not _is_there(key, value):
            looked = ", ".join(str(place.absolute()) for place in places_of(value)) if value else "nothing"
            about = f"looked at {looked}\n    it is {advice(key, value)}"
            missing.append(f"  model.{key}: {value or '(not set)'}\n    {about}")
    if missing:
        count = "1 weight file is" if len(missing) == 1 else f"{len(missing)} weight files are"
        raise WeightsError(
            f"{count} missing:\n" + "\n".join(missing) + "\nPut them there, or set the path, e.g. "
            "`--options model.llama_model=/path/to/vicuna`, or tell the folder once: `skingpt4 weights use DIR`. "
            "Without any download, leave --cfg-path away: "
            "the small model of this package runs."
        )


def _is_there(key: str, value: str) -> bool:
    if not value:
        return False
    if key == "llama_model":
        return weights_path(value).is_dir()
    if key == "ckpt" and weights_path(value).is_dir():
        return True  # a run's folder; `find_checkpoint` says what it lacks
    return find_file(value) is not None


def build_encoder(
    settings: ModelSettings, vit_dtype: torch.dtype, device: torch.device
) -> tuple[VisionEncoder, QFormer]:
    """The frozen photograph encoder from its two files."""
    vision, qformer = empty_encoder(settings)
    _load_vit(vision.backbone, settings, vit_dtype)
    tensors = read_tensors(weights_path(settings.q_former_model))
    qformer_values, norm_values = qformer_tensors(tensors)
    source = settings.q_former_model
    load_strictly(vision.ln_vision, norm_values, source, lambda _: torch.float32, "ln_vision")
    load_strictly(qformer, qformer_values, source, lambda _: torch.float32, "Q-Former")
    vision, qformer = vision.to(device).eval(), qformer.to(device).eval()
    if settings.vit_model != "eva_clip_g":
        _require_tokens(vision, settings)
    return vision, qformer


def empty_encoder(settings: ModelSettings) -> tuple[VisionEncoder, QFormer]:
    """The encoder of these settings on `meta`: names and shapes, no values (but constants that are in no file)."""
    backbone = _empty_vit(settings)
    statistics = () if settings.vit_model == "eva_clip_g" else pixel_statistics(settings.vit_model)
    with torch.device("meta"):
        vision = VisionEncoder(backbone, nn.LayerNorm(backbone.num_features, eps=1e-5), *statistics)
        qformer = QFormer(
            queries=settings.num_query_token,
            width=settings.qformer_width,
            layers=settings.qformer_layers,
            heads=settings.qformer_heads,
            intermediate_width=settings.qformer_intermediate_width,
            cross_attention_frequency=settings.qformer_cross_attention_frequency,
            encoder_width=vision.width,
        )
    return vision, qformer


@torch.inference_mode()
def _require_tokens(vision: VisionEncoder, settings: ModelSettings) -> None:
    """Some of timm's models give a map float[B, H, W, D] or float[B, D, H, W] instead of tokens."""
    pixels = torch.zeros(1, 3, settings.image_size, settings.image_size, device=vision.ln_vision.weight.device)
    try:
        found = f"shape {tuple(vision(pixels).shape)}"
        is_tokens = found.count(",") == 2
    except RuntimeError as error:
        found, is_tokens = f"another shape ({error})", False
    if not is_tokens:
        raise SettingsError(
            f"model.vit_model {settings.vit_model!r} gives numbers of {found}; tokens [1, N, D] were expected. "
            "Choose a plain vision transformer, e.g. a `vit_*`, `eva02_*` or `deit3_*` of timm."
        )


def _load_vit(backbone: nn.Module, settings: ModelSettings, dtype: torch.dtype) -> None:
    tensors, own = read_tensors(weights_path(settings.vit_weights)), backbone.state_dict()
    if settings.vit_model == "eva_clip_g":
        tensors = eva_tensors(tensors, settings.vit_depth)
    else:
        tensors = {key: value for key, value in tensors.items() if key in own or not key.startswith(TIMM_HEADS)}
    patches = getattr(getattr(backbone, "patch_embed", None), "num_patches", 0)
    if patches and "pos_embed" in own and "pos_embed" in tensors:
        extra = own["pos_embed"].shape[1] - patches
        tensors["pos_embed"] = interpolate_positions(tensors["pos_embed"], patches, extra)
    kept_in = kept_dtypes(backbone, dtype)
    load_strictly(backbone, tensors, settings.vit_weights, lambda name: kept_in[name], "vision transformer")


def _empty_vit(settings: ModelSettings) -> nn.Module:
    """Parameters on `meta`; constant buffers (EVA's zero k bias, rotary angles), in no file, with their values."""
    if settings.vit_model == "eva_clip_g":
        with init_empty_weights(include_buffers=False):
            return build_eva_vit(
                settings.image_size, settings.vit_patch_size, settings.vit_width, settings.vit_depth,
                settings.vit_heads, settings.vit_mlp_ratio,
            )  # fmt: skip
    try:
        with init_empty_weights(include_buffers=False):
            backbone = build_timm_vit(settings.vit_model, settings.image_size)
        is_whole = not any(buffer.is_meta for buffer in backbone.buffers())
    except RuntimeError:  # a few of timm's models compute constants from their parameters
        is_whole = False
    except ValueError as error:
        raise SettingsError(f"model.{error}") from error
    return backbone if is_whole else build_timm_vit(settings.vit_model, settings.image_size)


def kept_dtypes(module: nn.Module, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """Linear and Conv parameters in `dtype`, other floats (norms, positions, class token, q/v biases) in float32."""
    kept = {
        name: torch.float32 if tensor.is_floating_point() else tensor.dtype
        for name, tensor in module.state_dict().items()
    }
    for prefix, part in module.named_modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            kept |= {f"{prefix}.{name}": dtype for name, _ in part.named_parameters(recurse=False)}
    return kept
