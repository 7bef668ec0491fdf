"""SkinGPT-4: frozen vision transformer and Q-Former -> one trainable linear layer -> frozen decoder (MiniGPT-4's
design).

Letters of shapes: B batch, N patches and class token, Q queries, T text tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from skingpt4.model.packing import TrainingBatch, can_pack, packed_attention
from skingpt4.model.qformer import QFormer
from skingpt4.model.vision import VisionEncoder
from skingpt4.prompts import IMAGE_SLOT

PROJECTION = "llama_proj"


class SkinGPT4(nn.Module):
    """The whole model.

    vision, qformer: the frozen encoder; None when every photograph's features are at hand already (a feature cache).
    llama_proj: Linear(Q-Former width -> decoder width), always float32, the only part that is trained unless told
    otherwise.
    decoder: a causal language model of `transformers`; None where another engine runs it elsewhere.
    compiled: let `torch.compile` fuse what is run many times: training's pass through the decoder, here, and the step
    that makes a token, in chat.
    """

    def __init__(
        self,
        vision: VisionEncoder | None,
        qformer: QFormer | None,
        llama_proj: nn.Linear,
        decoder: PreTrainedModel | None,
        compiled: bool = False,
    ):
        super().__init__()
        self.vision = vision
        self.qformer = qformer
        self.llama_proj = llama_proj
        self.decoder = decoder
        self.compiled = compiled
        self._packed_loss: Callable[[PreTrainedModel, Tensor, TrainingBatch], Tensor] = (
            torch.compile(packed_loss, dynamic=True) if compiled else packed_loss
        )
        self.train_only(PROJECTION)

    @property
    def device(self) -> torch.device:
        return self.llama_proj.weight.device

    def train_only(self, *parts: str) -> None:
        """Freeze everything, then unfreeze the named parts (`llama_proj`, and where wanted `vision`, `qformer`)."""
        self._trained_parts = parts
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.split(".")[0] in parts)
        self.train(self.training)

    def trainable_names(self) -> list[str]:
        """Names of the parameters that training changes, e.g. ["llama_proj.weight", "llama_proj.bias"]."""
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]

    def train(self, mode: bool = True) -> SkinGPT4:
        """Frozen parts stay in `eval()`: no dropout there."""
        super().train(False)
        for part in self._trained_parts:
            getattr(self, part).train(mode)
        self.training = mode
        return self

    def encode_images(self, pixels: Tensor) -> Tensor:
        """pixels float[B, 3, S, S], CLIP-normalised -> features float32[B, Q, 768]: the same for every question and
        epoch.
        """
        if self.vision is None or self.qformer is None:
            raise ValueError(
                "This model was built without its encoder, for cached features; load it with the encoder to see pixels."
            )
        return self.qformer(self.vision(pixels))

    def project(self, features: Tensor) -> Tensor:
        """features float[B, Q, 768] -> image tokens float[B, Q, D], computed in float32, then in the decoder's dtype if
        it is here.
        """
        with torch.autocast(features.device.type, enabled=False):
            image_tokens: Tensor = self.llama_proj(features.float())
        return image_tokens if self.decoder is None else image_tokens.to(self.decoder.dtype)

    def forward(self, features: Tensor, batch: TrainingBatch) -> Tensor:
        """Mean negative log-likelihood of the answers' tokens, over the whole batch; float32 scalar.

        features: float[B, Q, 768], one photograph per sequence. The vocabulary projection, the widest of the decoder,
        is computed at the positions that predict an answer's token and nowhere else. Raises `ValueError` for a model
        without its decoder.
        """
        if self.decoder is None:
            raise ValueError("This model was built without its decoder, for another engine; load it with the decoder.")
        embeddings = splice(self.decoder.get_input_embeddings(), batch, self.project(features))
        if not can_pack(self.decoder):
            return padded_loss(self.decoder, embeddings, batch)
        with packed_attention(self.decoder):
            return self._packed_loss(self.decoder, embeddings, batch)


def splice(embedding: nn.Module, batch: TrainingBatch, image_tokens: Tensor) -> Tensor:
    """Embeddings of a packed row, float[T, D]: of the text, and image_tokens float[B, Q, D] at their slots."""
    text = embedding(batch.ids.masked_fill(batch.ids == IMAGE_SLOT, 0))
    return text.index_copy(0, batch.slots, image_tokens.flatten(0, 1).to(text.dtype))


def packed_loss(decoder: PreTrainedModel, embeddings: Tensor, batch: TrainingBatch) -> Tensor:
    """The loss of embeddings float[T, D], inside `packed_attention`."""
    logits = decoder(
        inputs_embeds=embeddings.unsqueeze(0),
        position_ids=batch.positions.unsqueeze(0),
        use_cache=False,
        logits_to_keep=batch.predictors,
        packing=batch,
    ).logits
    return F.cross_entropy(logits[0].float(), batch.targets)


def padded_loss(decoder: PreTrainedModel, embeddings: Tensor, batch: TrainingBatch) -> Tensor:
    """The same loss with the sequences padded to the longest, for decoders that cannot take them packed.

    The head is handed the wanted positions as rows of a matrix: a 3-D slice would become a batched product that copies
    the vocabulary matrix per sample. (The head alone would not do: Gemma caps its logits, Cohere and Granite scale.)
    """
    wanted = batch.place[batch.predictors]
    head = decoder.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, inputs: (inputs[0].flatten(0, 1)[wanted.to(inputs[0].device)],))
    try:
        logits = decoder(
            inputs_embeds=embeddings[batch.rows], attention_mask=batch.attended.long(), use_cache=False
        ).logits
    finally:
        hook.remove()
    return F.cross_entropy(logits.float().to(batch.targets.device), batch.targets)
