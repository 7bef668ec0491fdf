"""What stands between a user and the model's numbers: the image transform, the tokenizer, the templates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from skingpt4.chat_template import own_template
from skingpt4.images import HasBytes, evaluation_transform, open_image
from skingpt4.prompts import AUTO, Template, TrainingSequence, named_template, training_sequence, training_template
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
        """What these settings say, with the decoder's tokenizer. Raises `SettingsError` for an unknown template."""
        chat, training = _templates(settings, tokenizer)
        return cls(
            tokenizer=tokenizer.ending_with((*chat.stops, *training.stops)),
            image_size=settings.image_size,
            queries=settings.num_query_token,
            chat_template=chat,
            training_template=training,
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


def _templates(settings: ModelSettings, tokenizer: Tokenizer) -> tuple[Template, Template]:
    """Of chat and of training. `auto` for `prompt_template` is the decoder's own template with its own end mark."""
    if AUTO not in (settings.chat_template, settings.prompt_template, settings.end_sym):
        return named_template(settings.chat_template), training_template(settings.prompt_template, settings.end_sym)
    own = own_template(tokenizer)
    end = own.stops[0] if settings.end_sym == AUTO else settings.end_sym
    return (
        own if settings.chat_template == AUTO else named_template(settings.chat_template),
        own if settings.prompt_template == AUTO else training_template(settings.prompt_template, end),
    )
