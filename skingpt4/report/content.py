"""What a report holds. `make` makes one; `html`, `pdf`, `markdown` and `fhir` show it; as JSON it can be kept and read
again.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.dataclasses import dataclass
from pydantic.json_schema import GenerateJsonSchema

from skingpt4.engines.sampling import Sampling
from skingpt4.errors import SkinGPTError
from skingpt4.report.glossary import Explanation
from skingpt4.report.red_flags import RedFlag

FORMAT: Literal["skingpt4-report-1"] = "skingpt4-report-1"
UNSEEN = "No doctor has seen this report."

# What no XML, and so no FHIR record, may hold, and marks that turn the direction of the text after them.
_UNREADABLE = re.compile("[^\t\n\x20-\x7e\xa0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True, json_schema_serialization_defaults_required=True)


class ReportError(SkinGPTError):
    """A file is no report, or a report cannot be written."""


def readable(text: str) -> str:
    """Text without control characters (line ends and tabs stay), lone surrogates and marks that turn its direction."""
    return _UNREADABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _readable_parts(value: Any) -> Any:
    """The same for every text in a value of another module's type."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, tuple):
        return tuple(map(_readable_parts, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _readable_parts(getattr(value, each.name)) for each in fields(value)})
    return value


def _bytes(value: object) -> object:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(lambda value: readable(value) if isinstance(value, str) else value)]
_ReadableParts = AfterValidator(_readable_parts)
Bytes = Annotated[
    bytes,
    BeforeValidator(_bytes),
    PlainSerializer(lambda value: base64.b64encode(value).decode("ascii"), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]


@dataclass(frozen=True, config=_CONFIG)
class Picture:
    """A picture, made anew from its pixels: no place, time or name of the camera's is in it."""

    data: Bytes
    width: Annotated[int, Field(gt=0)]
    """Pixels."""
    height: Annotated[int, Field(gt=0)]
    """Pixels."""
    media_type: Literal["image/jpeg"] = "image/jpeg"

    @property
    def uri(self) -> str:
        """For a page that holds its pictures itself."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True, config=_CONFIG)
class Section:
    """The model's answer to one of the paper's four prompts."""

    name: Literal["description", "features", "cause", "treatment"]
    title: Text
    question: Text
    answer: Text


@dataclass(frozen=True, config=_CONFIG)
class Exchange:
    """One question of the user's own conversation and its answer."""

    question: Text
    answer: Text
    pictures: int = 0
    """How many pictures were shown with this question."""


@dataclass(frozen=True, config=_CONFIG)
class Identity:
    """Which model answered, told without any path of the machine that it runs on."""

    name: Text
    version: Text
    """Of the package `skingpt4`."""
    projection: Text
    """SHA-256 of the trained projection's tensors, weight then bias, as float32."""
    decoder: Text
    """The name of the decoder's folder (no path), its size and its number format."""
    decoder_fingerprint: Text | None
    """SHA-256 of the signs of its embedding; no change of number format alters it. None where it is not known."""
    vision: Text
    image_size: int
    """Side of the square that the vision transformer sees, in pixels."""
    chat_template: Text


@dataclass(frozen=True, config=_CONFIG)
class Report:
    """Everything that a report shows, in the order in which it matters to a patient."""

    id: Annotated[str, StringConstraints(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    """A random UUID; says nothing about patient or machine."""
    made_at: AwareDatetime
    notices: tuple[Text, ...]
    """What must be read first: no doctor has seen it, it is no diagnosis, and what the model cannot know."""
    red_flags: Annotated[tuple[RedFlag, ...], _ReadableParts]
    """Signs that need a doctor soon, named by the user or by an answer; the most urgent first."""
    picture: Picture
    heatmap: Picture | None
    """The picture under the places that the model looked at; None where its encoder cannot tell."""
    sections: Annotated[tuple[Section, ...], Field(min_length=1)]
    conversation: tuple[Exchange, ...]
    concepts: Annotated[tuple[Explanation, ...], _ReadableParts]
    """The SKINCON concepts that an answer mentions, explained. Mentioned is not seen: an answer may say "no scale"."""
    remarks: tuple[Text, ...]
    """What went otherwise than one would expect, for example that the oldest questions were forgotten."""
    model: Identity
    sampling: Sampling
    """How the answers of the four sections were decoded."""
    photo_advice: tuple[Text, ...] = ()
    """Why a better photograph is needed and what to do, where the check of photographs found something."""
    language: Text = "en"
    """Of everything but the conversation, whose user may write in any."""
    format: Literal["skingpt4-report-1"] = FORMAT

    def to_json(self) -> bytes:
        """As `report.schema.json` describes it; `from_json` reads it back equal."""
        return _adapter().dump_json(self, indent=1) + b"\n"

    @classmethod
    def from_json(cls, data: str | bytes) -> Report:
        """A report that `to_json` wrote. Raises `ReportError` naming the first place that is wrong."""
        try:
            return _adapter().validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ReportError(
                f"This is no report of this package ({FORMAT}): {place}: {first['msg']}. "
                "Take the file as `skingpt4 report --format json` wrote it."
            ) from error


class _Schema(GenerateJsonSchema):
    """Without a title for each field: its name says it."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `Report.to_json`, from the types above; published as `report.schema.json`."""
    described = _adapter().json_schema(mode="serialization", schema_generator=_Schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:{FORMAT}", **described}


def schema_text() -> str:
    """The content of `report.schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


@cache
def _adapter() -> TypeAdapter[Report]:
    return TypeAdapter(Report)
