"""A decoder's tokenizer and this package's prompts as `transformers` opens them: `tokenizer.json`, chat template.

LLaMA's SentencePiece model goes into a `tokenizers` BPE that treats every text between two special tokens as a segment
of its own, prefix space included. That is how the published checkpoints were trained, and what `LlamaTokenizer` of
`transformers` 5 does not do.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from skingpt4.errors import WeightsError
from skingpt4.prompts import IMAGE_CLOSE, IMAGE_OPEN, ImageSlot, Template, Turn, encode_turns
from skingpt4.tokenizer import BEGIN, END, IMAGE_TOKEN, SentencePieceTokenizer, Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# `prompts.render` and `prompts.plain`: images before a question's words, marks taken out of what people typed.
CHAT_TEMPLATE = """\
{%- macro plain(text) -%}
  {%- set kept = namespace(text='') -%}
  {%- for character in text -%}
    {%- set kept.text = kept.text ~ character -%}
    {%- for mark in marks if kept.text.endswith(mark) -%}
      {%- set kept.text = kept.text[:-(mark | length)] -%}
    {%- endfor -%}
  {%- endfor -%}
  {{- kept.text | trim -}}
{%- endmacro -%}
{{- start -}}
{%- for message in messages -%}
  {%- set parts = [{'type': 'text', 'text': message.content}] if message.content is string else message.content -%}
  {%- set text = plain(parts | selectattr('type', 'equalto', 'text') | map(attribute='text') | join(' ')) -%}
  {%- if message.role == 'user' -%}
    {%- set images = parts | selectattr('type', 'equalto', 'image') | list | length -%}
    {{- before_question -}}
    {{- image * images -}}
    {{- (' ' if images else '') ~ text ~ after_question -}}
  {%- elif message.role == 'assistant' -%}
    {{- before_reply ~ text ~ after_reply -}}
  {%- else -%}
    {{- raise_exception('Only user and assistant messages: this model was trained with a system text of its own.') -}}
  {%- endif -%}
{%- endfor -%}
{{- opening if add_generation_prompt -}}
"""

# Conversations that the exported tokenizer must read as this package does: (question, pictures, reply) each.
PROBES: tuple[tuple[Turn, ...], ...] = (
    (Turn("What could this be?", images=1),),
    (Turn("What could this be?", images=1, reply="It could be psoriasis."), Turn("How sure  are you?\n\t(0-100 %)")),
    (Turn("Qu'est-ce que c'est ? 皮膚 😀 <b>x</b>", images=2), Turn("", reply="é#"), Turn("a   b")),
    (Turn("２ ﬁ ½\u00a0e\u0301 ™"),),  # what a tokenizer that normalises Unicode would change
)


def export_tokenizer(directory: Path, template: Template, own: Tokenizer) -> PreTrainedTokenizerBase:
    """The tokenizer of a decoder's directory with `IMAGE_TOKEN` and the chat template.

    own: this package's tokenizer of the same directory. Raises `WeightsError` where the exported one would read a
    conversation otherwise.
    """
    from tokenizers import AddedToken

    tokenizer = _from_sentencepiece(directory) if isinstance(own, SentencePieceTokenizer) else _of_decoder(directory)
    tokenizer.add_tokens([AddedToken(IMAGE_TOKEN, normalized=False, special=True)], special_tokens=True)
    marks = [*own.specials, IMAGE_TOKEN, *template.stops]
    start = BEGIN if template.begins and own.bos_id is not None else ""
    text = chat_template(replace(template, system=start + template.system), marks)
    for name, token in ((BEGIN, tokenizer.bos_token), (END, tokenizer.eos_token)):
        text = text.replace(name, token or name)
    tokenizer.chat_template = text
    tokenizer.padding_side = "left"
    for probe in PROBES:
        _compare(tokenizer, template, own, probe)
    return tokenizer


def chat_template(template: Template, marks: list[str]) -> str:
    """Our template in Jinja, as `apply_chat_template` of `transformers` takes it. marks: strings that are taken out of
    questions and replies.
    """
    before_question, after_question = template.turn.split("{}")
    before_reply, after_reply = template.reply.split("{}")
    values = {
        "marks": sorted(set(marks), key=len),
        "start": template.system,
        "before_question": before_question,
        "after_question": after_question,
        "image": IMAGE_OPEN + IMAGE_TOKEN + IMAGE_CLOSE,
        "before_reply": before_reply,
        "after_reply": after_reply,
        "opening": template.opening,
    }
    header = (f"{{%- set {name} = {json.dumps(value, ensure_ascii=False)} -%}}\n" for name, value in values.items())
    return "".join(header) + CHAT_TEMPLATE


def _from_sentencepiece(directory: Path) -> PreTrainedTokenizerBase:
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers import decoders, normalizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import generate_merges

    pieces = SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))
    names = [pieces.id_to_piece(number) for number in range(pieces.vocab_size())]
    kinds = (pieces.is_control, pieces.is_unknown, pieces.is_byte, pieces.is_unused)
    never_merged = {name for number, name in enumerate(names) if any(is_kind(number) for is_kind in kinds)}
    scores = {name: pieces.get_score(number) for number, name in enumerate(names)}
    vocabulary = {name: number for number, name in enumerate(names)}
    merges = generate_merges(vocabulary, scores, never_merged)
    fast = FastTokenizer(BPE(vocab=vocabulary, merges=merges, fuse_unk=True, byte_fallback=True))
    fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    fast.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    begin, end = names[pieces.bos_id()], names[pieces.eos_id()]
    return PreTrainedTokenizerFast(tokenizer_object=fast, bos_token=begin, eos_token=end, pad_token=end)


def _of_decoder(directory: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        str(directory), local_files_only=True, trust_remote_code=False
    )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _compare(tokenizer: PreTrainedTokenizerBase, template: Template, own: Tokenizer, probe: tuple[Turn, ...]) -> None:
    image = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    wanted: list[int] = []
    for segment in encode_turns(template, probe, own):
        wanted += [image] if isinstance(segment, ImageSlot) else segment
    found = tokenizer.apply_chat_template(_messages(probe), add_generation_prompt=True, return_dict=False)
    if found != wanted:
        raise WeightsError(
            f"The tokenizer of this decoder cannot be exported: for {probe[0].question!r} `transformers` reads "
            f"{tokenizer.decode(found)!r} instead of {tokenizer.decode(wanted)!r} ({len(found)} tokens instead of "
            f"{len(wanted)}). Only the projection can be exported: --to pth."
        )


def _messages(turns: tuple[Turn, ...]) -> list[dict[str, object]]:
    messages: list[dict[str, object]] = []
    for turn in turns:
        content = [{"type": "image"}] * turn.images + [{"type": "text", "text": turn.question}]
        messages.append({"role": "user", "content": content})
        if turn.reply is not None:
            messages.append({"role": "assistant", "content": [{"type": "text", "text": turn.reply}]})
    return messages
