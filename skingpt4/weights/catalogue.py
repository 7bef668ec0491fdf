"""Every published file that the shipped settings need: what it is, where it is, its size and licence, what it fits.

A setting is matched with this table by the last part of its path, so `weights/vicuna-13b` and `/data/vicuna-13b` are
both Vicuna-13B. Sizes are in units of 10^9 bytes, as publishers print them; of a decoder, without what is not fetched.
A hash stands here only where independent sources agree on it; files of the Hugging Face Hub bring theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skingpt4.settings import ModelSettings
from skingpt4.weights.files import DEFAULT_FOLDER, REPOSITORY

_LAVIS = "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2"
_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
_LLAMA1 = "LLaMA, non-commercial research"
_LLAMA2 = "Llama 2 Community Licence"


@dataclass(frozen=True)
class Published:
    """One file, or a decoder's folder.

    name: of the file or folder on this computer. repository: on the Hugging Face Hub; file: in it, "" = the decoder in
    it. url: where it is not on the Hub. gigabytes: 0 = not known. fits: names of what it belongs with; none = anything
    of its kind. sha256: "" = not known beforehand. remark: what to know before it is used.
    """

    name: str
    what: str
    licence: str
    gigabytes: float = 0.0
    repository: str = ""
    file: str = ""
    url: str = ""
    fits: tuple[str, ...] = ()
    sha256: str = ""
    remark: str = ""

    @property
    def source(self) -> str:
        """Where it is published, for people."""
        if self.url.startswith(_DRIVE):
            return f"https://drive.google.com/file/d/{self.url.removeprefix(_DRIVE)}"
        return self.url or f"https://huggingface.co/{self.repository}"

    @property
    def size(self) -> str:
        """E.g. "26 GB" or "47 MB"."""
        if not self.gigabytes:
            return "unknown"
        return f"{self.gigabytes:.2g} GB" if self.gigabytes >= 1 else f"{self.gigabytes * 1000:.0f} MB"


_V0_REMARK = (
    "lmsys itself published v0 as deltas only (lmsys/vicuna-13b-delta-v0, -7b-), to be added to LLaMA's own weights; "
    "this is the sum, as MiniGPT-4's authors link it. LLaMA's licence must be granted to you."
)
_OTHER_DECODER = "No projection is published for it: train your own, with model.chat_template set to match."
_MINIGPT4_7B = Published(
    "pretrained_minigpt4_7b.pth", "MiniGPT-4's projection for Vicuna-7B v0", "BSD-3-Clause", 0.038,
    url=f"{_DRIVE}1RY9jV0dyqLX-o38LrumkKRh6Jtaop58R", fits=("vicuna-7b",),
)  # fmt: skip

_TABLE = (
    Published(
        "eva_vit_g.pth", "EVA-CLIP-g, the vision transformer, in fp16", "MIT (EVA), BSD-3-Clause (LAVIS)", 2.0,
        url=f"{_LAVIS}/eva_vit_g.pth",
        sha256="99d2bb36c6b52c94fe6e2e12373afb27de57ae81378c3d8c53bf0e83b0f4275f",
    ),
    Published(
        "blip2_pretrained_flant5xxl.pth", "BLIP-2's Q-Former and the norm before it", "BSD-3-Clause (LAVIS)", 0.433,
        url=f"{_LAVIS}/blip2_pretrained_flant5xxl.pth",
        sha256="4b3839ea6c617f315ead9bf4036bbb0f0cf6bf62695ecfc14968ea626af03a29",
    ),
    Published(
        "blip2-flan-t5-xxl", "the two files above in one repository of transformers, with a language model not needed",
        "MIT", 49, repository="Salesforce/blip2-flan-t5-xxl",
        remark="Same numbers as LAVIS's files, which are twenty times smaller; for who has it already.",
    ),
    Published(
        "pretrained_minigpt4.pth", "MiniGPT-4's projection for Vicuna-13B v0", "BSD-3-Clause", 0.047,
        repository="Vision-CAIR/MiniGPT-4", file="pretrained_minigpt4.pth", fits=("vicuna-13b",),
    ),
    _MINIGPT4_7B,
    replace(_MINIGPT4_7B, name="prerelease_minigpt4_7b.pth", what=f"{_MINIGPT4_7B.what}, as its YAML files call it"),
    Published(
        "skingpt4_vicuna_v1.pth", "SkinGPT-4's released projection, step 1 only", "none stated",
        url=f"{_DRIVE}1PGBMBioipGxN5yfX6Okx4BGyPBm1prAF", fits=("vicuna-13b",),
        remark="Its authors say that it cannot be used for diagnosis. They published no other.",
    ),
    Published(
        "vicuna-13b", "Vicuna-13B v0, merged, in fp16", _LLAMA1, 26, repository="Vision-CAIR/vicuna", remark=_V0_REMARK
    ),
    Published(
        "vicuna-7b", "Vicuna-7B v0, merged, in fp16", _LLAMA1, 13.5, repository="Vision-CAIR/vicuna-7b",
        remark=_V0_REMARK,
    ),
    Published(
        "vicuna-13b-v1.5", "Vicuna-13B v1.5", _LLAMA2, 26, repository="lmsys/vicuna-13b-v1.5", remark=_OTHER_DECODER
    ),
    Published(
        "vicuna-7b-v1.5", "Vicuna-7B v1.5", _LLAMA2, 13.5, repository="lmsys/vicuna-7b-v1.5", remark=_OTHER_DECODER
    ),
    Published(
        "Llama-2-13b-chat-hf", "Llama-2-13b-chat", _LLAMA2 + ", gated", 26,
        repository="meta-llama/Llama-2-13b-chat-hf", remark=_OTHER_DECODER,
    ),
    Published(
        "Llama-2-7b-chat-hf", "Llama-2-7b-chat", _LLAMA2 + ", gated", 13.5,
        repository="meta-llama/Llama-2-7b-chat-hf",
        remark="MiniGPT-4's projection for it takes no Q-Former and fits nothing here: train your own, with "
        "model.chat_template=llama2.",
    ),
)  # fmt: skip

PUBLISHED: dict[str, Published] = {published.name: published for published in _TABLE}

# What a setting means where its file is in no table.
_KINDS = {
    "vit_weights": "EVA-CLIP-g (eva_vit_g.pth), or the weights of the timm model that model.vit_model names",
    "q_former_model": "BLIP-2's Q-Former (blip2_pretrained_flant5xxl.pth)",
    "llama_model": "the decoder's Hugging Face directory, e.g. a merged Vicuna (config.json, weights, tokenizer.model)",
    "gguf": "the decoder as a GGUF file: write it with `skingpt4 export --to gguf`, or take a published one",
    "ckpt": "a projection: MiniGPT-4's pretrained_minigpt4.pth, a released SkinGPT-4, or the output folder of your run",
}


def published_as(value: str) -> Published | None:
    """What the table has under the name that a setting (a path, a URL, OWNER/NAME) ends with."""
    if not value or value.startswith("embedded/"):
        return None
    known = PUBLISHED.get(Path(value).name)
    return known or next((published for published in _TABLE if published.repository == value), None)


def named(name: str) -> Published | None:
    """What `weights download NAME` means: a name of the table, or any decoder on the Hub as OWNER/NAME."""
    known = published_as(name)
    if known is None and REPOSITORY.fullmatch(name):
        return Published(Path(name).name, "a decoder", "see its page", repository=name)
    return known


def needed(model: ModelSettings, with_encoder: bool = True) -> dict[str, str]:
    """The settings that name weight files, and what they say ("" = not set, which is wrong)."""
    keys = [
        *(("vit_weights", "q_former_model") if with_encoder else ()),
        "llama_model",
        *(["ckpt"] if model.ckpt else []),
    ]
    return {key: getattr(model, key) for key in keys}


def needed_to_talk(model: ModelSettings) -> dict[str, str]:
    """`needed`, and the file of its own that an engine runs the decoder from."""
    return {**needed(model), **({"gguf": model.gguf} if model.engine == "llamacpp" else {})}


def advice(key: str, value: str) -> str:
    """What the missing file of a setting is, and how to get it."""
    published = published_as(value)
    if published is None:
        return _KINDS[key]
    folder = DEFAULT_FOLDER if "://" in value or value == published.repository else Path(value).parent
    return (
        f"{published.what} ({published.size}; {published.licence}): `skingpt4 weights download {published.name} "
        f"--to {folder}`, from {published.source}"
    )


def misfit(projection: str, decoder: str) -> str:
    """A sentence where two published names are known not to belong together; "" = nothing is known against it."""
    of_projection, of_decoder = published_as(projection), published_as(decoder)
    if of_projection is None or of_decoder is None or not of_projection.fits or of_decoder.name in of_projection.fits:
        return ""
    return (
        f"{of_projection.name} is {of_projection.what}; the decoder is {of_decoder.what}. "
        f"With it answers would be gibberish: set model.llama_model to {' or '.join(of_projection.fits)}."
    )


def table_of(published: Sequence[Published]) -> list[tuple[str, ...]]:
    """Rows of name, what it is, size, licence, what it fits, where it is."""
    return [(p.name, p.what, p.size, p.licence, ", ".join(p.fits) or "any", p.source) for p in published]
