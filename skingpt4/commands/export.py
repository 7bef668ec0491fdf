"""`skingpt4 export --to FORM`: a model, or a part of it, in the forms that other programs open."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skingpt4.commands.arguments import settings_of_arguments
from skingpt4.errors import DataError, SettingsError, WeightsError

if TYPE_CHECKING:
    from skingpt4.settings import Settings

PTH_FILE = "skingpt4.pth"
DEFAULT_GGUF = "q8_0"
RUN_IS_ABOVE = 3  # RUN/checkpoints/step_N/skingpt4.safetensors
FORMS = {
    "transformers": "a directory that AutoModelForImageTextToText opens without this package",
    "pth": "the projection alone, as MiniGPT-4 loads it",
    "gguf": "the decoder for llama.cpp, of --quantization f32, f16, bf16, q8_0, q4_0 or q4_k_m",
    "decoder": "the decoder as a Hugging Face directory in safetensors, of --quantization int8 or nf4, or as it is",
}


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    forms = "; ".join(f"{name}: {what}" for name, what in FORMS.items())
    parser.description = f"Write a model for other programs. {forms}."
    parser.add_argument(
        "--cfg-path", metavar="FILE",
        help="a YAML file, or a checkpoint's folder; without it the small model of this package",
    )  # fmt: skip
    parser.add_argument("--options", nargs="*", default=[], metavar="KEY=VALUE", help="settings laid over the file")
    parser.add_argument("--to", required=True, choices=FORMS, help="the form")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to make")
    parser.add_argument(
        "--quantization", default="", metavar="KIND", help=f"gguf (default: {DEFAULT_GGUF}) and decoder: see above"
    )
    parser.add_argument(
        "--evaluation", type=Path, metavar="DIR", help="what `skingpt4 evaluate` wrote: its figures go into the card"
    )
    parser.set_defaults(run=run, device=None, gpu_id=None)


def run(arguments: argparse.Namespace) -> int:
    """Write the folder, whole or not at all; the last lines say how to use it."""
    from safetensors import SafetensorError

    from skingpt4.durable import replacing

    form, out, quantization = arguments.to, arguments.out, arguments.quantization
    if quantization and form in ("transformers", "pth"):
        raise SettingsError(f"--quantization is for --to gguf and --to decoder; {form} holds the weights as they are.")
    if arguments.evaluation and form not in ("transformers", "pth"):
        raise SettingsError(f"--evaluation fills the card of a model; --to {form} writes its decoder alone.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"--out {out} is there already; name a folder that is new or empty.")
    if out.resolve() == Path.cwd():
        raise SettingsError(f"--out {out} is the folder that you are in, which cannot be replaced; name a new one.")
    settings = settings_of_arguments(arguments)
    metrics = _metrics(arguments.evaluation)
    try:
        with replacing(out.absolute()) as partial:
            partial.mkdir()
            usage = _write(form, settings, partial, quantization)
            if form in ("transformers", "pth"):
                _card(form, settings, partial, out.resolve().name, metrics)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{out} cannot be written: {error}. Make room, or name another folder.") from error
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"Wrote {out} ({size / 1e6:,.1f} MB). Use it: {usage.format(out=out)}")
    return 0


def _write(form: str, settings: Settings, folder: Path, quantization: str) -> str:
    """Fill the folder; returns how `{out}`, which it will be, is used."""
    from skingpt4.weights.files import weights_path

    if form == "transformers":
        from skingpt4.weights.export.blip2 import write_transformers

        write_transformers(settings, folder)
        return "see {out}/README.md, or skingpt4 chat --cfg-path {out}"
    if form == "pth":
        from skingpt4.weights.export.projection import write_pth

        write_pth(settings.model, folder / PTH_FILE)
        return f"ckpt: {{out}}/{PTH_FILE} in a YAML file, of SkinGPT-4 or of MiniGPT-4"
    directory = weights_path(settings.model.llama_model)
    if form == "decoder":
        from skingpt4.weights.export.decoder import write_decoder

        write_decoder(directory, folder, quantization)
        return "--options model.llama_model={out}"
    from skingpt4.weights.gguf import write_gguf

    file = write_gguf(directory, folder / f"decoder-{quantization or DEFAULT_GGUF}.gguf", quantization or DEFAULT_GGUF)
    return f"--engine llamacpp --gguf {{out}}/{file.name}"


def _card(form: str, settings: Settings, folder: Path, name: str, metrics: dict[str, Any] | None) -> None:
    from skingpt4.weights.export.card import write_card
    from skingpt4.weights.export.projection import trained_projection

    records = _records(trained_projection(settings.model))
    write_card(folder, form, settings.model, name, records, metrics)


def _records(checkpoint: Path) -> list[dict[str, Any]]:
    """The `run.json` of the run that a checkpoint is from, and of those before it that it went on from."""
    from skingpt4.training.reports.run_folder import read_record
    from skingpt4.weights.checkpoint import find_checkpoint

    records: list[dict[str, Any]] = []
    seen: set[Path] = set()
    while checkpoint not in seen:
        seen.add(checkpoint)
        record = next(filter(None, map(read_record, list(checkpoint.absolute().parents)[:RUN_IS_ABOVE])), {})
        if not record:
            break
        records.insert(0, record)
        try:
            checkpoint = find_checkpoint(str(Path(record["folder"]) / record["settings"]["model"]["ckpt"]))
        except (KeyError, WeightsError):  # it began with something that no run made, or that is gone
            break
    return records


def _metrics(folder: Path | None) -> dict[str, Any] | None:
    from skingpt4.evaluation.run import METRICS

    if folder is None:
        return None
    try:
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder / METRICS} cannot be read: {error}. --evaluation expects what `skingpt4 evaluate` wrote."
        ) from error
    if not isinstance(metrics, dict) or "figures" not in metrics:
        raise DataError(f"{folder / METRICS} has no figures; it is not of `skingpt4 evaluate`.")
    return metrics
