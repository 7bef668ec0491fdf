"""Settings: what a file says is what a run gets; what is wrong is named with the file, the key and the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from skingpt4.config import (
    EMBEDDED_FOLDER,
    apply_option,
    load_settings,
    resolve_path,
    save_settings,
    settings_from_dict,
)
from skingpt4.errors import SettingsError
from skingpt4.settings import DataSettings, ModelSettings, RunSettings, Settings, SourceSettings


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def load(folder: Path, text: str, *options: str) -> Settings:
    return load_settings(write(folder, "run.yaml", text), options)[0]


def refused(folder: Path, text: str, *options: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(folder, text, *options)
    return str(caught.value)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "") == Settings()
    assert load(tmp_path, "model:\ndata:\nrun:\n") == Settings()


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    text = """
    model: {image_size: 112, vit_patch_size: 14, precision: fp32}
    data:
      train:
        - {source: folder, path: photos, limit: 3}
        - {source: table, path: notes.csv, task: concepts}
    run: {init_lr: 3e-3, output_dir: out}
    """
    assert load(tmp_path, text) == Settings(
        ModelSettings(image_size=112, precision="fp32"),
        DataSettings(
            train=[SourceSettings("folder", "photos", limit=3), SourceSettings("table", "notes.csv", task="concepts")]
        ),
        RunSettings(init_lr=3e-3, output_dir="out"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {image_sise: 224}", "unknown setting `model.image_sise`. Did you mean `model.image_size`?"),
        ("run: {init_learning_rate: 1}", "unknown setting `run.init_learning_rate`. Known here: output_dir, seed,"),
        ("run: {warmup_step: 3}", "unknown setting `run.warmup_step`. Did you mean `run.warmup_steps`?"),
        ("run: {freeze_vit: true}", "unknown setting `run.freeze_vit`. Did you mean `model.freeze_vit`?"),
        ("data: {on_bad_images: skip}", "unknown setting `data.on_bad_images`. Did you mean `data.on_bad_image`?"),
        (
            "data: {train: [{source: folder, pfad: x}]}",
            "unknown setting `data.train[0].pfad`. Known here: source, path,",
        ),
        (
            "data: {validation: [{source: folder, path: x, image: y}]}",
            "unknown setting `data.validation[0].image`. Did you mean `data.validation[0].images`?",
        ),
        ("modell: {}", "unknown setting `modell`. Did you mean `model`?"),
        ("bases: x.yaml", "unknown setting `bases`. Did you mean `base`?"),
        ("init_lr: 1e-3", "unknown setting `init_lr`. Did you mean `run.init_lr`?"),
    ],
)
def test_unknown_keys_are_named_with_the_nearest(text: str, message: str, tmp_path: Path) -> None:
    text = refused(tmp_path, text)
    assert "run.yaml: " in text
    assert message in text


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("run: {max_epoch: many}", "run.max_epoch", "Value 'many' of type 'str' could not be converted to Integer"),
        ("run: {max_epoch: 1.5}", "run.max_epoch", "Value '1.5' of type 'float' could not be converted to Integer"),
        ("run: {init_lr: fast}", "run.init_lr", "could not be converted to Float"),
        ("model: {freeze_vit: perhaps}", "model.freeze_vit", "Value 'perhaps' is not a valid bool"),
        ("model: {image_size: [224, 224]}", "model.image_size", "could not be converted to Integer"),
        ("model: {end_sym: null}", "model.end_sym", "None"),
        ("data: {train: [{source: folder}]}", "data.train[0].path", "issing"),
        ("data: {train: [photos]}", "data.train", "must be a list of sources, each with `source` and `path`"),
        ("data: {train: {source: folder, path: x}}", "data.train", "must be a list of sources"),
        ("model: eva", "`model`", "must hold settings of its own; it is 'eva'"),
        ("run: [1]", "`run`", "must hold settings of its own; it is [1]"),
    ],
)
def test_wrong_types_name_the_key(text: str, key: str, message: str, tmp_path: Path) -> None:
    text = refused(tmp_path, text)
    assert "run.yaml: " in text
    assert key in text
    assert message in text


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("model.precision=fp8", "model.precision is 'fp8'; it must be one of auto, fp32, fp16, bf16."),
        ("data.on_bad_image=ignore", "data.on_bad_image is 'ignore'; it must be one of error, skip."),
        ("data.train=[{source: zip, path: x}]", "data.train[0].source is 'zip'; it must be one of skincon, folder,"),
        ("data.train=[{source: table, path: x, task: guess}]", "data.train[0].task is 'guess'; it must be one of"),
        ("data.train=[{source: table, path: ''}]", "data.train[0].path must not be empty."),
        ("model.prompt_template=Human", "model.prompt_template must hold `{}` once"),
        ("model.image_size=100", "model.image_size 100 is no multiple of vit_patch_size 14."),
        ("model.vit_patch_size=0", "model.vit_patch_size is 0; it must be above 0."),
        ("model.qformer_heads=7", "model.qformer_width 768 is no multiple of qformer_heads 7."),
        ("model.num_query_token=0", "model.num_query_token is 0; it must be above 0."),
        ("model.end_sym=''", "model.end_sym must not be empty: answers would never learn to stop."),
        ("model.max_txt_len=8", "model.max_txt_len is 8; an answer needs more than 8 tokens."),
        ("model.freeze_vit=false", "features of a trained encoder cannot be cached"),
        ("data.validation_fraction=1", "data.validation_fraction is 1.0; it must be in [0, 1)."),
        ("data.cached_views=-1", "data.cached_views is -1; it must not be negative"),
        ("model.decoder_quantization=int2", "model.decoder_quantization is 'int2'; it must be one of empty, int8"),
        ("model.device_map=balanced", "model.device_map is 'balanced'; it must be one of empty, auto."),
        ("run.on_nonfinite_loss=ignore", "run.on_nonfinite_loss is 'ignore'; it must be one of stop, skip."),
        ("run.keep_checkpoints=-1", "run.keep_checkpoints is -1; it must not be negative."),
        ("run.early_stopping_epochs=2", "run.early_stopping_epochs needs validation pairs"),
        ("run.batch_size_train=0", "run.batch_size_train is 0; it must be at least 1."),
        ("run.warmup_steps=-1", "run.warmup_steps is -1; it must not be negative."),
        ("run.min_lr=1", "run.min_lr 1.0 must lie between 0 and run.init_lr 0.0001."),
        ("run.init_lr=.nan", "run.min_lr 1e-05 must lie between 0 and run.init_lr nan."),
    ],
)
def test_values_out_of_range(option: str, message: str, tmp_path: Path) -> None:
    text = refused(tmp_path, "", option)
    assert message in text
    assert "run.yaml: " in text


def test_two_kinds_of_validation_contradict_each_other(tmp_path: Path) -> None:
    text = "data: {validation: [{source: folder, path: x}], validation_fraction: 0.1}"
    assert "two answers to one question" in refused(tmp_path, text)


def test_options_change_the_file(tmp_path: Path) -> None:
    options = (
        "run.init_lr=1e-3",
        "run.output_dir=a=b",
        "data.train=[{source: folder, path: photos}]",
        "model.end_sym='##'",
    )
    settings = load(tmp_path, "run: {init_lr: 1e-2, seed: 7}", *options)
    assert (settings.run.init_lr, settings.run.seed, settings.run.output_dir) == (1e-3, 7, "a=b")
    assert settings.data.train == [SourceSettings("folder", "photos")]
    assert settings.model.end_sym == "##"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("run.seed", "Option 'run.seed' is not of the form key=value"),
        ("=3", "Option '=3' is not of the form key=value"),
        ("run.seeds=3", "--options run.seeds: unknown setting `run.seeds`. Did you mean `run.seed`?"),
        ("run.seed=some", "--options run.seed=some: run.seed: Value 'some' of type 'str' could not be converted"),
        ("run=3", "--options run: `run` must hold settings of its own; it is 3."),
        ("run.seed=[1", "--options run.seed=[1: the value cannot be read as YAML"),
        ("data.train.0.path=x", "data.train must be a list of sources"),
        ("steps=[a.yaml]", "unknown setting `steps`"),
    ],
)
def test_wrong_options(option: str, message: str, tmp_path: Path) -> None:
    assert message in refused(tmp_path, "", option)


def test_an_option_alone_raises_the_same_error() -> None:
    """Checkpoints apply options without a file; a wrong one left OmegaConf's own error to the user."""
    with pytest.raises(SettingsError, match=r"--options run.seed=x: run.seed: Value 'x'"):
        apply_option(OmegaConf.structured(Settings), "run.seed=x")


def test_base(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    write(
        tmp_path / "common",
        "root.yaml",
        "run: {seed: 1, max_epoch: 2, init_lr: 1e-2}\ndata: {train: [{source: folder, path: a}]}",
    )
    write(tmp_path / "common", "base.yaml", "base: root.yaml\nrun: {max_epoch: 3}")
    settings = load(tmp_path, "base: common/base.yaml\nrun: {seed: 9}\ndata: {train: [{source: folder, path: b}]}")
    assert (settings.run.seed, settings.run.max_epoch, settings.run.init_lr) == (9, 3, 1e-2)
    assert settings.data.train == [SourceSettings("folder", "b")]  # lists are replaced, not joined


def test_wrong_bases(tmp_path: Path) -> None:
    assert "does not exist (looked in" in refused(tmp_path, "base: absent.yaml")
    assert "`base` must be the name of one YAML file; it is ['a.yaml']" in refused(tmp_path, "base: [a.yaml]")
    write(tmp_path, "other.yaml", "base: run.yaml")
    assert "names itself as its `base`" in refused(tmp_path, "base: other.yaml")


def test_steps_start_from_the_projection_of_the_step_before(tmp_path: Path) -> None:
    write(tmp_path, "step1.yaml", "model: {ckpt: start.pth}\nrun: {init_lr: 1e-2, output_dir: ignored}")
    write(tmp_path, "step2.yaml", "model: {ckpt: ignored.pth}\nrun: {init_lr: 3e-3}")
    chain = write(tmp_path, "two_step.yaml", "steps: [step1.yaml, step2.yaml]\nrun: {output_dir: out, seed: 5}")
    first, second = load_settings(chain)
    assert (first.model.ckpt, first.run.output_dir, first.run.init_lr, first.run.seed) == (
        "start.pth",
        "out/step1",
        1e-2,
        5,
    )
    assert (second.model.ckpt, second.run.output_dir, second.run.init_lr, second.run.seed) == (
        "out/step1",
        "out/step2",
        3e-3,
        5,
    )
    moved = load_settings(chain, ["run.output_dir=elsewhere", "run.max_epoch=1"])
    assert [step.run.output_dir for step in moved] == ["elsewhere/step1", "elsewhere/step2"]
    assert moved[1].model.ckpt == "elsewhere/step1"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("[]", "`steps` must list YAML files"),
        ("step1.yaml", "`steps` must list YAML files"),
        ("[3]", "`steps` must list YAML files"),
        ("[step1.yaml, absent.yaml]", "absent.yaml does not exist"),
        ("[step1.yaml, ./step1.yaml]", "two `steps` have one name (step1, step1)"),
        ("[step1.yaml, wrong.yaml]", "run.yaml: wrong.yaml: unknown setting `run.sed`"),
    ],
)
def test_wrong_steps(steps: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, "step1.yaml", "")
    write(tmp_path, "wrong.yaml", "run: {sed: 1}")
    assert message in refused(tmp_path, f"steps: {steps}")


def test_files_that_are_no_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.yaml does not exist \(looked in"):
        load_settings(tmp_path / "absent.yaml")
    assert "is not a readable YAML file" in refused(tmp_path, "model: [")
    assert "is not a readable YAML file" in refused(tmp_path, "model: {ckpt: '${nowhere}'}")
    assert "must hold `model`, `data` and `run`; it holds a list" in refused(tmp_path, "- model")
    (tmp_path / "photo.yaml").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    with pytest.raises(SettingsError, match=r"photo\.yaml is not a readable YAML file"):
        load_settings(tmp_path / "photo.yaml")


def test_saved_settings_are_read_back_as_they_were(tmp_path: Path) -> None:
    settings = Settings(
        ModelSettings(
            prompt_template="### Instruction: {} ### Response: ", end_sym="</s>", ckpt="ü/ß 1.pth", max_txt_len=99
        ),
        DataSettings(train=[SourceSettings("folder", "a", limit=2)], validation=[SourceSettings("table", "b: c.csv")]),
        RunSettings(init_lr=3e-5, seed=7, device="cuda:1"),
    )
    save_settings(settings, tmp_path / "saved.yaml")
    assert load_settings(tmp_path / "saved.yaml") == [settings]


def test_settings_from_a_checkpoint_header_are_checked() -> None:
    assert settings_from_dict({"run": {"seed": 3}}, "a header").run.seed == 3
    with pytest.raises(SettingsError, match=r"a header: unknown setting `run.sed`. Did you mean `run.seed`\?"):
        settings_from_dict({"run": {"sed": 3}}, "a header")


def test_embedded_paths() -> None:
    assert resolve_path("embedded/llm") == str(EMBEDDED_FOLDER / "llm")
    assert resolve_path("weights/embedded/llm") == "weights/embedded/llm"
