"""A program that opens an exported model with `transformers` alone: this package cannot be imported in it.

python opened_without_us.py DIR PHOTO OUT: writes logits and tokens of OUT, and what the code of the card prints.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

QUESTIONS = ("What could this be?", "How sure  are you?")


def main(folder: str, photo: str, out: str) -> None:
    """Ask both questions, the second after the first; then run the code of the model card."""
    sys.modules["skingpt4"] = None  # type: ignore[assignment]
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    tensors, answers = {}, []
    messages: list[dict[str, Any]] = []
    for number, question in enumerate(QUESTIONS):
        image = [{"type": "image", "path": photo}] if number == 0 else []
        messages.append({"role": "user", "content": [*image, {"type": "text", "text": question}]})
        inputs = processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        with torch.no_grad():
            tensors[f"logits_{number}"] = model(**inputs).logits[0, -1].contiguous()
        ids = model.generate(
            **inputs, generation_config=model.generation_config, tokenizer=processor.tokenizer, max_new_tokens=40
        )[0, inputs["input_ids"].shape[1] :]
        tensors[f"ids_{number}"] = ids
        said = processor.decode(ids, skip_special_tokens=True)
        for stop in model.generation_config.stop_strings:
            said = said.removesuffix(stop)
        answers.append(said.strip())
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answers[-1]}]})
    save_file(tensors, f"{out}/found.safetensors")
    found = {"answers": answers, "class": type(model).__name__, "card": _run_card(folder, photo)}
    Path(out, "found.json").write_text(json.dumps(found), encoding="utf-8")


def _run_card(folder: str, photo: str) -> str:
    """What the Python code of README.md gives as the answer; empty without a README.md."""
    readme = Path(folder, "README.md")
    if not readme.is_file():
        return ""
    (code,) = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    *lines, last = code.replace("DIR", folder).replace("photo.jpg", photo).strip().splitlines()
    names: dict[str, Any] = {}
    with contextlib.redirect_stderr(io.StringIO()):
        exec("\n".join([*lines, f"answer = {last}"]), names)
    return str(names["answer"][0]["generated_text"])


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    main(*sys.argv[1:])
