"""What programs send and get: OpenAI's chat completions, as far as this model can keep their promises.

A field that would change the answer and cannot is refused, never ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from skingpt4.engines.sampling import Sampling

MOST_CHOICES = 8
MOST_MESSAGES = 256
MOST_STOPS = 4
LONGEST_STOP = 200  # characters: every piece of an answer is compared with every beginning of it
_NO_SYSTEM = (
    "This model was trained with one system text of its own and follows no other. "
    "Leave system messages out, and say what you want in the user's message."
)


class Wire(BaseModel):
    """Only what is written here, of exactly these types."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


class TextPart(Wire):
    """Words."""

    type: Literal["text"]
    text: str


class ImageUrl(Wire):
    """A picture. detail is taken and changes nothing: the encoder sees every picture at one size."""

    url: str
    """data:image/jpeg;base64,… (any format that is read; no other address is fetched)."""
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Wire):
    """A picture in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


class UserMessage(Wire):
    """A question, with the pictures that it shows."""

    role: Literal["user"]
    content: str | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]


class AssistantMessage(Wire):
    """An earlier answer, as it was given. The `openai` client's `model_dump()` has more fields, all null here."""

    role: Literal["assistant"]
    content: str | list[TextPart]
    refusal: None = None
    annotations: None = None
    audio: None = None
    function_call: None = None
    tool_calls: None = None


StopString = Annotated[str, Field(max_length=LONGEST_STOP)]
Message = Annotated[UserMessage | AssistantMessage, Field(discriminator="role")]


class Decoding(Wire):
    """How words are picked. Without a temperature always the likeliest."""

    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """Of an answer; 300 where it is not said."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**62)] | None = None
    """Makes a temperature repeatable."""

    def sampling(self, drawn: int, answer: int = 0, max_tokens: int | None = None) -> Sampling:
        """For answer number `answer`. drawn: the seed where none was given. max_tokens: by another name.

        Raises `SettingsError` for values out of range.
        """
        given = {
            "max_new_tokens": max_tokens or self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "repetition_penalty": self.repetition_penalty,
            "seed": (drawn if self.seed is None else self.seed) + answer,  # each answer draws for itself
        }
        return Sampling(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


class StreamOptions(Wire):
    """What a stream tells at its end."""

    include_usage: bool = False


class ChatRequest(Decoding):
    """A conversation whose last message is the question to answer."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    stop: StopString | Annotated[list[StopString], Field(max_length=MOST_STOPS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """The newer name of `max_tokens`."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    user: str | None = None
    """Taken and not looked at."""

    @field_validator("messages", mode="before")
    @classmethod
    def _no_system_text(cls, messages: Any) -> Any:
        given = messages if isinstance(messages, list) else []
        if any(isinstance(each, dict) and each.get("role") in ("system", "developer") for each in given):
            raise ValueError(_NO_SYSTEM)
        return messages

    @property
    def stops(self) -> tuple[str, ...]:
        """The caller's own stop strings."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(each for each in given if each)


class ReportRequest(Decoding):
    """A report about one photograph."""

    image: str
    """data:image/jpeg;base64,…"""


class Usage(Wire):
    """Tokens; those of the prompt are counted once, image tokens among them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


FinishReason = Literal["stop", "length"]


class Said(Wire):
    """The model's message."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(Wire):
    """One answer. finish_reason: length where it was cut off."""

    index: int
    message: Said
    finish_reason: FinishReason


class Completion(Wire):
    """The answers to a request."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    notice: str
    """What must be shown beside the answer: it is no diagnosis by a doctor."""


class Delta(Wire):
    """What a chunk adds to an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(Wire):
    """Which answer a chunk is of."""

    index: int
    delta: Delta
    finish_reason: FinishReason | None = None


class Chunk(Wire):
    """One event of a stream; the first has the notice, the last (where it was asked for) the usage."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    notice: str | None = None


class ModelCard(Wire):
    """The one model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "skingpt4"


class ModelList(Wire):
    """Of one."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class State(Wire):
    """Of the server."""

    status: Literal["ok", "ready", "loading"]


class Fault(Wire):
    """What was wrong, and what to do. param: the field."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class FaultBody(Wire):
    """As OpenAI's clients expect it."""

    error: Fault
