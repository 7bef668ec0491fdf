"""SkinGPT-4: frozen vision transformer and Q-Former -> one trainable linear layer -> frozen decoder (MiniGPT-4's
design).

Letters of shapes: B batch, N patches and class token, Q queries, T text tokens, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from skingpt4.model.qformer import QFormer
from skingpt4.model.vision import VisionEncoder
from skingpt4.prompts import IMAGE_SLOT, TrainingSequence

PROJECTION = "llama_proj"


@dataclass
class TrainingBatch:
    """Padded training sequences. ids: int64[B, T], `IMAGE_SLOT` at image tokens; in_loss, attended: bool[B, T]."""

    ids: Tensor
    in_loss: Tensor
    attended: Tensor

    @classmethod
    def collate(cls, sequences: list[TrainingSequence]) -> TrainingBatch:
        """Pad on the right. Padding is known by `attended`, never by its id."""
        length = max(len(sequence.ids) for sequence in sequences)
        ids = torch.zeros(len(sequences), length, dtype=torch.long)
        in_loss, attended = torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool)
        for row, sequence in enumerate(sequences):
            count = len(sequence.ids)
            ids[row, :count] = torch.tensor(sequence.ids)
            in_loss[row, :count] = torch.tensor(sequence.in_loss)
            attended[row, :count] = True
        return cls(ids, in_loss, attended)

    def to(self, device: torch.device) -> TrainingBatch:
        return TrainingBatch(*(t.to(device, non_blocking=True) for t in (self.ids, self.in_loss, self.attended)))


class SkinGPT4(nn.Module):
    """The whole model.

    vision, qformer: the frozen encoder; None when every photograph's features are at hand already (a feature cache).
    llama_proj: Linear(Q-Former width -> decoder width), always float32, the only part that is trained unless told
    otherwise.
    decoder: a causal language model of `transformers`.
    """

    def __init__(
        self, vision: VisionEncoder | None, qformer: QFormer | None, llama_proj: nn.Linear, decoder: PreTrainedModel
    ):
        super().__init__()
        self.vision = vision
        self.qformer = qformer
        self.llama_proj = llama_proj
        self.decoder = decoder
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
        """features float[B, Q, 768] -> image tokens float[B, Q, D] in the decoder's dtype (computed in float32)."""
        with torch.autocast(features.device.type, enabled=False):
            return self.llama_proj(features.float()).to(self.decoder.dtype)

    def forward(self, features: Tensor, batch: TrainingBatch) -> Tensor:
        """Mean negative log-likelihood of the answers' tokens, over the whole batch; float32 scalar.

        features: float[B, Q, 768], one photograph per sequence. The vocabulary projection, the widest of the decoder,
        is computed at the positions that predict an answer's token and nowhere else.
        """
        predicts = batch.in_loss[:, 1:]
        logits = self._answer_logits(features, batch, predicts)
        return F.cross_entropy(logits.float(), batch.ids[:, 1:][predicts])

    def _answer_logits(self, features: Tensor, batch: TrainingBatch, predicts: Tensor) -> Tensor:
        """float[answer tokens, V]. predicts: bool[B, T - 1], the positions before an answer's token.

        The decoder's own forward pass, because some do more than multiply at the end (Gemma caps, Cohere and Granite
        scale); its head is handed the wanted positions only, as rows of a matrix: a 3-D slice would become a batched
        product that copies the vocabulary matrix per sample.
        """
        embeddings = splice(self.decoder.get_input_embeddings(), batch.ids, self.project(features))
        head = self.decoder.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda _, inputs: (inputs[0][:, :-1][predicts],))
        try:
            return self.decoder(inputs_embeds=embeddings, attention_mask=batch.attended.long(), use_cache=False).logits
        finally:
            hook.remove()


def splice(embedding: nn.Module, ids: Tensor, image_tokens: Tensor) -> Tensor:
    """Text embeddings with image tokens at the slots.

    ids int64[B, T] with as many `IMAGE_SLOT` as `image_tokens` float[B, Q, D] has rows -> float[B, T, D].
    """
    slots = ids == IMAGE_SLOT
    text = embedding(ids.masked_fill(slots, 0))
    return text.masked_scatter(slots.unsqueeze(-1), image_tokens.to(text.dtype))
