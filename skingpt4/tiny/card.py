"""The card of the embedded default, from the figures that the build measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_HEAD = """# The embedded default of SkinGPT-4

A complete SkinGPT-4 of about 8 MB that runs on a laptop: an EVA vision transformer (112 px, 5 blocks, width 128), a
BLIP-2 Q-Former (3 layers, 16 queries), one linear layer of 24,768 numbers, and a LLaMA (4 layers, width 192) with a
SentencePiece vocabulary of 1,100. It exists so that everything in this package can be run, tested and understood
without gigabytes of weights.

**It knows nothing about real skin.** It was trained on synthetic pictures and template sentences. Its answers are
no diagnosis.

## How it was made

`python -m skingpt4.tiny.build` makes every file here from seeds, on two CPU cores.

1. *Eyes*: 60,000 rendered pictures of random combinations of 24 concepts (a fifth on backdrops that are no skin),
   labelled with 39 everyday attributes ("red", "small raised bumps"), plus the renderer's masks per patch. No
   disease and no medical word. Two batches in five are blurred or noisy.
2. *Decoder*: template conversations about 38 invented rules for diseases; loss on answers only; words mixed and
   scattered over the image slot, so that it reads what stands there. Everyday words and medical questions never
   meet.
3. *Projection* (`projection.safetensors`): aligned on everyday captions of 6,000 pictures, the counterpart of
   MiniGPT-4.
4. *SkinGPT-4's two steps* (`skingpt4.safetensors`): step 1 on the concepts of 1,000 disease pictures and 3,000
   random combinations, step 2 on the diagnoses and notes of 600 disease pictures. Only the projection learns.

| file | what |
|---|---|
| `eva_vit.safetensors` | vision transformer, fp16, names of LAVIS's `eva_vit_g.pth` |
| `blip2_qformer.safetensors` | query tokens, `ln_vision`, Q-Former, fp16, names of Hugging Face's BLIP-2 |
| `llm/` | decoder, fp16, and tokenizer, a Hugging Face directory |
| `projection.safetensors` | projection before fine-tuning |
| `skingpt4.safetensors` | projection after both steps of `skingpt4 quickstart`, the package's own training |

The figures below come from the build's own short loop over features in memory (same data, a learning rate of 3e-3 in
step 2); those of `skingpt4 quickstart` stand in the README.
"""

_LIMITS = """
## Limits

1. The eyes were trained on the same renderer and the same 24 attributes under everyday names, with masks. So step 1
   builds a bridge between vocabularies; it is not new seeing.
2. The decoder's corpus holds the answer templates, the disease rules, causes and treatments. Step 2 is likewise a
   bridge. Its sentences are templates without medical validity.
3. The rules are textbook caricatures: a disease's concepts and arrangement nearly always identify it. Real skin is
   not like that.
4. Half of SKINCON's concepts have no picture here; the decoder has their words only.
5. After fine-tuning, everyday descriptions are partly overwritten.
6. Answers about urgency, contagion and cancer follow invented rules. Where it names the wrong disease, they are those
   of the wrong disease. Never act on them. Follow-up questions in wordings that the corpus does not have are answered
   right far less often (the rows "unseen wordings").
7. One seed for the frozen parts. Learning rates were taken from a trial on other pictures of the same kind; step 2's
   rate and warm-up in `skingpt4 quickstart` were chosen on 600 pictures that are in no other set.
8. These files were made in two goes: the eyes' training was begun again with fewer steps while the decoder's went on.
   The stages are the same in one go, the bytes depend on the processor and the versions of its libraries.
"""


def write_card(path: Path, work: Path) -> None:
    """Write `CARD.md` with the figures in the working folder."""
    stages: dict[str, dict[str, Any]] = {
        name: json.loads((work / f"{name}.json").read_text()) for name in ("vision", "language", "align", "evaluate")
    }
    figures: dict[str, dict[str, float]] = stages["evaluate"]["figures"]
    models = ["no fine-tuning", "step 1 only", "step 2 only", "both"]
    lines = [_HEAD, "## Measured", ""]
    lines.append("On 1,000 held-out rendered disease pictures, from the generated text (greedy):")
    lines += ["", f"| | {' | '.join(models)} |", "|---|" + "---|" * len(models)]
    rows = list(dict.fromkeys(key for model in models for key in figures[model]))
    for row in rows:
        cells = [f"{figures[model][row]:.3f}" if row in figures[model] else "" for model in models]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    lines += [
        "",
        "Follow-up questions were asked about 300 of them, those in unseen wordings about 100; other rows with "
        "figures of a single model are over 300.",
        "",
    ]
    for name, value in {**_plain(stages["vision"]), **figures["decoder"]}.items():
        lines.append(f"- {name}: {value:.3f}")
    lines += ["", "Time of this build, on two cores that others used too:", ""]
    for name, stage in stages.items():
        lines.append(f"- {name}: {stage['wall_seconds'] / 60:.1f} min wall, {stage['cpu_seconds'] / 60:.1f} CPU-min")
    lines += ["", "## A conversation", "", "```", *stages["evaluate"]["conversation"], "```", _LIMITS]
    path.write_text("\n".join(lines), encoding="utf-8")


def _plain(stage: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in stage.items() if key not in ("wall_seconds", "cpu_seconds")}
