"""The model card: a `README.md` as Hugging Face shows it, filled from what training and evaluation noted down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skingpt4.settings import ModelSettings

TASK = "image-text-to-text"
CARD_FILE = "README.md"

TEMPLATE = """---
{{ card_data }}
---

# {{ name }}

A vision-language model that answers questions about photographs of skin, made with
[SkinGPT-4](https://github.com/JoshuaChou2018/SkinGPT-4)'s method: a frozen vision transformer and Q-Former, one trained
linear projection, a frozen decoder.

**Not for diagnosis without a doctor.** Its answers can be wrong, and sound just as sure when they are. Only a doctor
who sees the patient can tell what a change of the skin is.

## Intended use

For research on such models, and for doctors who read its answers as one opinion among several and decide themselves.
Not for patients on their own, not for triage, not for any decision that no doctor has made, and not where a law asks
for an approved medical device: it is none.

## How to use it

{{ usage }}

## Training
{% for run in runs %}
### {{ run.title }}

{% if run.sources -%}
| data | kind | split | SHA-256 |
|---|---|---|---|
{% for source in run.sources -%}
| {{ source.name }} | {{ source.kind }} | {{ source.split }} | {{ source.sha256 }} |
{% endfor %}
{% endif -%}
{% for name, value in run.facts -%}
- {{ name }}: {{ value }}
{% endfor -%}
{% else %}
How it was trained is not known: there is no `run.json` beside its checkpoint.
{% endfor %}
| part | |
|---|---|
{% for name, value in parts -%}
| {{ name }} | {{ value }} |
{% endfor %}
## Figures
{% if figures %}
Measured with `skingpt4 evaluate` on {{ cases }}. The interval is the 95 % interval.

| measured | figure | value | interval | cases | remark |
|---|---|---|---|---|---|
{% for row in figures -%}
| {{ row | join(' | ') }} |
{% endfor %}
{% for remark in remarks -%}
- {{ remark }}
{% endfor -%}
{% else %}
Not measured: no `metrics.json` of `skingpt4 evaluate` was given. Do not rely on a model without figures.
{% endif %}
## Limits

- It knows the diseases, the cameras and the kinds of skin that its training data showed; for others, and for skin
  tones that were rare there, it is worse by an amount that the figures above tell only where they were measured.
- It has learnt to answer: a photograph without a disease, or without skin, gets a diagnosis as well.
- What it says about causes and treatment comes from a language model; nothing checks it.
- It sees one photograph, squashed to a square of {{ image_size }} pixels; it knows no history, no touch, no size.
- Questions in other languages than that of its training data are answered worse, if at all.
"""

_USAGE = {
    "transformers": """```python
from transformers import AutoProcessor, pipeline

processor = AutoProcessor.from_pretrained("DIR", backend="pil")  # Pillow resizes as in training
pipe = pipeline("image-text-to-text", model="DIR", processor=processor)
messages = [{"role": "user", "content": [{"type": "image", "path": "photo.jpg"},
                                         {"type": "text", "text": "What could this be?"}]}]
pipe(text=messages, stop_sequence="STOP", max_new_tokens=300, return_full_text=False)
```

DIR is this folder. The placeholder of the image is no word: where answers are sampled, pass
`generate_kwargs={"suppress_tokens": [ID]}`. With this package, `skingpt4 chat --cfg-path DIR` talks to it.""",
    "pth": """`skingpt4.pth` is the projection alone, as MiniGPT-4 loads it: `ckpt: skingpt4.pth` in its YAML file, or
in one of this package. The other parts must be those of the table below.""",
}


def write_card(
    folder: Path, form: str, settings: ModelSettings, name: str, records: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Any] | None,
) -> Path:  # fmt: skip
    """Write `README.md` beside an exported model; returns it.

    form: transformers or pth. name: the model's. records: the `run.json` of every training step, the last one last.
    metrics: `metrics.json` of its evaluation. Paths of the machine that made it are left out, but for their last part.
    """
    from huggingface_hub import ModelCard, ModelCardData

    usage = _USAGE[form]
    if form == "transformers":
        generation = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
        usage = usage.replace("ID", str(generation["suppress_tokens"][0]))
        usage = usage.replace('"STOP"', json.dumps(generation["stop_strings"][0], ensure_ascii=False))
    data = ModelCardData(
        model_name=name,
        language="en",
        license="other",
        library_name="transformers" if form == "transformers" else "skingpt4",
        pipeline_tag=TASK,
        tags=["dermatology", "medical", "skingpt4", "minigpt-4", "vision-language"],
        eval_results=_results(metrics) or None,
    )
    figures = [row for section in (metrics or {}).get("figures", {}).items() for row in _rows(*section)]
    card = ModelCard.from_template(
        data,
        template_str=TEMPLATE,
        name=name,
        usage=usage,
        runs=[_run(number, record) for number, record in enumerate(records, 1)],
        parts=_parts(settings),
        figures=figures,
        cases=_cases(metrics),
        remarks=(metrics or {}).get("remarks", []),
        image_size=settings.image_size,
    )
    card.save(folder / CARD_FILE)
    return folder / CARD_FILE


def _run(number: int, record: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader may know of a training step."""
    settings, data = record.get("settings", {}), record.get("data", {})
    run, wanted = settings.get("run", {}), settings.get("data", {})
    listed = [*wanted.get("train", []), *wanted.get("validation", [])]
    marks = [*data.get("sources", []), *[{}] * len(listed)]
    sources = [
        {
            "name": Path(source.get("path", "")).name,
            "kind": source.get("source", ""),
            "split": source.get("split", "") or "all",
            "sha256": (mark.get("sha256") or mark.get("sha256_of_names_and_sizes") or "")[:16],
        }
        for source, mark in zip(listed, marks, strict=False)
    ]
    steps, devices = run.get("iters_per_epoch"), record.get("devices", {})
    batch = (run.get("batch_size_train"), run.get("accum_grad_iters"), devices.get("processes", 1))
    facts = {
        "training pairs": data.get("training_pairs"),
        "validation pairs": data.get("validation_pairs"),
        "epochs": run.get("max_epoch"),
        "steps per epoch": steps or "one pass over the data",
        "batch": "{} photographs x {} accumulated x {} processes".format(*batch),
        "learning rate": f"{run.get('init_lr')} to {run.get('min_lr')}, {run.get('warmup_steps')} steps of warm-up",
        "seed": run.get("seed"),
        "device": ", ".join(gpu["name"] for gpu in devices.get("gpus", [])) or devices.get("cpu"),
        "state": record.get("state"),
        "ended": str(record.get("ended", ""))[:10],
    }
    return {
        "title": f"Step {number}",
        "sources": sources,
        "facts": [(name, value) for name, value in facts.items() if value not in (None, "")],
    }


def _parts(settings: ModelSettings) -> list[tuple[str, str]]:
    """What the model is made of, by the names of files and folders."""
    return [
        ("vision transformer", f"{settings.vit_model} ({Path(settings.vit_weights).name}), {settings.image_size} px"),
        ("Q-Former", f"{Path(settings.q_former_model).name}, {settings.num_query_token} image tokens"),
        ("decoder", Path(settings.llama_model).name),
        ("template", settings.chat_template),
    ]


def _rows(section: str, figures: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [(_words(section), _words(name), *_cells(figure)) for name, figure in figures.items()]


def _cells(figure: Mapping[str, Any]) -> tuple[str, str, str, str]:
    value = "undefined" if figure["value"] is None else f"{figure['value']:.3f}"
    interval = "" if figure["low"] is None else f"{figure['low']:.3f} to {figure['high']:.3f}"
    return value, interval, str(figure["n"]), str(figure["note"]).replace("|", "/")


def _results(metrics: Mapping[str, Any] | None) -> list[Any]:
    """The figures that have a value, as the header of the card lists them."""
    from huggingface_hub import EvalResult

    found = (metrics or {}).get("figures", {})
    return [
        EvalResult(
            task_type=TASK,
            dataset_type="skin",
            dataset_name=_data_of(metrics),
            metric_type=name,
            metric_name=f"{_words(section)}: {_words(name)}",
            metric_value=round(figure["value"], 4),
        )
        for section, figures in found.items()
        for name, figure in figures.items()
        if figure["value"] is not None
    ]


def _cases(metrics: Mapping[str, Any] | None) -> str:
    if not metrics:
        return ""
    patients = f" of {metrics['patients']:,} patients" if metrics.get("patients") else ""
    return f"{metrics['cases']:,} cases{patients} ({_data_of(metrics)})"


def _data_of(metrics: Mapping[str, Any] | None) -> str:
    about = (metrics or {}).get("about", {})
    split = f", split {about['split']}" if about.get("split") else ""
    return f"{Path(about.get('data', 'unnamed data')).name}{split}"


def _words(name: str) -> str:
    return name.replace("_", " ").replace(".", ": ")
