"""What a training step computes."""

from __future__ import annotations

from torch import Tensor, nn

from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.training.samples import Batch


class Objective(nn.Module):
    """What a step computes: the loss of a batch, from features or from pixels. (One `forward`, so that DDP can wrap
    it.)
    """

    def __init__(self, model: SkinGPT4, from_pixels: bool):
        super().__init__()
        self.model = model
        self.from_pixels = from_pixels

    def forward(self, batch: Batch) -> Tensor:
        device = self.model.device
        inputs = batch.inputs.to(device, non_blocking=True)
        features = self.model.encode_images(inputs) if self.from_pixels else inputs
        return self.model(features, batch.text.to(device))
