"""Two files of `salesforce-lavis` 1.0.2, the reference, loaded alone: its pins exclude a current stack, the files
themselves run on it.

Missing in today's libraries and supplied here, none of it taking part in the numbers: LAVIS's downloader, a helper that
prunes heads, two that moved, and three small methods of `PreTrainedModel`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import warnings
from functools import cache
from types import ModuleType
from unittest.mock import patch

import torch
import transformers.modeling_utils
import transformers.pytorch_utils
from torch import Tensor, nn

LAVIS_VERSION = "1.0.2"


def _unused(*arguments: object) -> None:
    raise NotImplementedError("the tests do not come here")


def _load(path: str) -> ModuleType:
    """A module from a file of the distribution, without importing the package `lavis` (which imports everything)."""
    distribution = importlib.metadata.distribution("salesforce-lavis")
    assert distribution.version == LAVIS_VERSION, (
        f"the reference is {LAVIS_VERSION}; {distribution.version} is installed"
    )
    spec = importlib.util.spec_from_file_location(
        f"lavis_{path.rsplit('/', 1)[-1][:-3]}", str(distribution.locate_file(path))
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports timm's layers by their old names
        spec.loader.exec_module(module)
    return module


@cache
def eva_module() -> ModuleType:
    """LAVIS's `models/eva_vit.py`."""
    downloads = ModuleType("lavis.common.dist_utils")
    downloads.download_cached_file = _unused  # type: ignore[attr-defined]
    stubs = {"lavis": ModuleType("lavis"), "lavis.common": ModuleType("lavis.common"), downloads.__name__: downloads}
    with patch.dict(sys.modules, stubs):
        return _load("lavis/models/eva_vit.py")


@cache
def qformer_module() -> ModuleType:
    """LAVIS's `models/blip2_models/Qformer.py`."""
    helpers = {
        "apply_chunking_to_forward": transformers.pytorch_utils.apply_chunking_to_forward,
        "prune_linear_layer": transformers.pytorch_utils.prune_linear_layer,
        "find_pruneable_heads_and_indices": _unused,
    }
    with patch.multiple(transformers.modeling_utils, create=True, **helpers):
        module = _load("lavis/models/blip2_models/Qformer.py")
    base = module.BertPreTrainedModel
    base.init_weights = lambda self: None
    base.get_head_mask = lambda self, mask, layers, chunked=False: [None] * layers
    base.invert_attention_mask = _invert_attention_mask
    return module


def _invert_attention_mask(self: nn.Module, mask: Tensor) -> Tensor:
    """1 -> 0, 0 -> the lowest number, as transformers 4 did for a mask of two dimensions."""
    return (1.0 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min


def eva_vit(image_px: int, width: int, depth: int, heads: int, ratio: float) -> nn.Module:
    """`create_eva_vit_g` of LAVIS at other sizes."""
    return (
        eva_module()
        .VisionTransformer(
            img_size=image_px, patch_size=14, use_mean_pooling=False, embed_dim=width, depth=depth, num_heads=heads,
            mlp_ratio=ratio, qkv_bias=True, drop_path_rate=0.4, norm_layer=lambda size: nn.LayerNorm(size, eps=1e-6),
            use_checkpoint=False,
        )
        .eval()
    )  # fmt: skip


def qformer(
    queries: int, width: int, layers: int, heads: int, hidden: int, frequency: int, vision_width: int
) -> nn.Module:
    """`Blip2Base.init_Qformer` of LAVIS at other sizes."""
    from transformers.models.bert.configuration_bert import BertConfig

    config = BertConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=hidden,
        vocab_size=64, max_position_embeddings=32,
    )  # fmt: skip
    config.encoder_width = vision_width
    config.add_cross_attention = True
    config.cross_attention_freq = frequency
    config.query_length = queries
    config.is_decoder = False  # transformers 5 has no such field any more
    config.chunk_size_feed_forward = 0
    config.use_cache = True
    return qformer_module().BertLMHeadModel(config).eval()
