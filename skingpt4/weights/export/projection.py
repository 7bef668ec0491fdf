"""The trained projection alone, as MiniGPT-4 and the released SkinGPT-4 load it."""

from __future__ import annotations

from pathlib import Path

from skingpt4.config import resolve_path
from skingpt4.durable import replacing
from skingpt4.errors import SettingsError
from skingpt4.settings import ModelSettings
from skingpt4.weights.checkpoint import find_checkpoint
from skingpt4.weights.convert import is_whole_model, projection_tensors, released_tensors
from skingpt4.weights.export.decoder import require_room
from skingpt4.weights.files import read_tensors


def trained_projection(settings: ModelSettings) -> Path:
    """The checkpoint of these settings. Raises `SettingsError` where they name none, `WeightsError` where none is."""
    if not settings.ckpt:
        raise SettingsError(
            "model.ckpt is not set, so there is no trained projection to export. Set it to a checkpoint or a run."
        )
    return find_checkpoint(resolve_path(settings.ckpt))


def write_pth(settings: ModelSettings, file: Path) -> None:
    """Write what was trained as `{"model": {"llama_proj.weight": ..., "llama_proj.bias": ...}}`, bit by bit.

    MiniGPT-4's `torch.load(path)["model"]`, loaded with `strict=False`, finds its own names; a Q-Former or encoder that
    was trained as well goes in under those that upstream gives them. A whole model holds what was frozen, too: of that
    go the parts that these settings train. Raises as `trained_projection` does.
    """
    import torch

    stored = read_tensors(trained_projection(settings))
    tensors = projection_tensors(stored)
    if is_whole_model(stored):
        frozen = ("vision.",) * settings.freeze_vit + ("qformer.",) * settings.freeze_qformer
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(frozen)}
    require_room(tensors.values(), file.parent)
    with replacing(file) as partial:
        torch.save({"model": {name: each.clone() for name, each in released_tensors(tensors).items()}}, partial)
