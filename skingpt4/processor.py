"""What stands between a user and the model's numbers: the image transform, the tokenizer, the templates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from skingpt4.images import HasBytes, evaluation_transform, open_image
from skingpt4.prompts import Template, TrainingSequence, named_template, training_sequence, training_template
from skingpt4.tokenizer import Tokenizer

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from skingpt4.settings import ModelSettings


@dataclass(frozen=True)
class Processor:
    """Comes with its model from `load_model`. image_size: pixels; queries: image tokens per photograph."""

    tokenizer: Tokenizer
    image_size: int
    queries: int
    chat_template: Template
    training_template: Template
    max_answer_tokens: int

    @classmethod
    def from_settings(cls, settings: ModelSettings, tokenizer: Tokenizer) -> Processor:
        """What these settings say, with the decoder's tokenizer."""
        return cls(
            tokenizer=tokenizer,
            image_size=settings.image_size,
            queries=settings.num_query_token,
            chat_template=named_template(settings.chat_template),
            training_template=training_template(settings.prompt_template, settings.end_sym),
            max_answer_tokens=settings.max_txt_len,
        )

    def pixels(self, image: str | Path | bytes | Image | HasBytes) -> Tensor:
        """One picture -> float32[3, S, S] as the encoder expects it. Raises `ImageError` for what is no picture."""
        return evaluation_transform(self.image_size)(open_image(image))

    def training_sequence(self, question: str, answer: str) -> TrainingSequence:
        """One training pair as ids, image slots and loss mask."""
        return training_sequence(
            self.training_template, question, answer, self.tokenizer, self.queries, self.max_answer_tokens
        )
