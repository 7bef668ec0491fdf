"""The table of published files, where a setting's file is looked for, and the user's own settings file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from skingpt4.config import load_settings
from skingpt4.errors import SettingsError, WeightsError
from skingpt4.settings import ModelSettings
from skingpt4.user_settings import use_weights, user_settings_file, weights_folders
from skingpt4.weights.catalogue import PUBLISHED, advice, misfit, named, needed, published_as
from skingpt4.weights.files import find_file, places_of, weights_path

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nobody's real settings file is read or written."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path


# The table


def test_every_file_of_the_shipped_settings_is_in_it() -> None:
    """But what an earlier step or a run of the user's makes, and what the package has."""
    files = sorted([*ROOT.glob("configs/*/*.yaml"), *ROOT.glob("eval_configs/*.yaml")])
    named_there = {
        value for file in files for settings in load_settings(file) for value in needed(settings.model).values()
    }
    published = {value for value in named_there if not value.startswith(("embedded/", "output/"))}
    assert len(published) >= 7
    assert {value for value in published if published_as(value) is None} == set()


def test_each_row_says_where_how_large_and_under_which_licence() -> None:
    for published in PUBLISHED.values():
        assert bool(published.repository) != bool(published.url), published.name
        assert published.source.startswith("https://") and published.what and published.licence
        assert published.size == "unknown" or re.fullmatch(r"[\d.]+ [GM]B", published.size)
        assert not published.sha256 or re.fullmatch(r"[0-9a-f]{64}", published.sha256)
        assert set(published.fits) <= set(PUBLISHED)
    assert PUBLISHED["vicuna-13b"].size == "26 GB" and PUBLISHED["pretrained_minigpt4.pth"].size == "47 MB"
    assert PUBLISHED["skingpt4_vicuna_v1.pth"].source.startswith("https://drive.google.com/file/d/")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("weights/vicuna-13b", "vicuna-13b"),
        ("/data/models/vicuna-13b/", "vicuna-13b"),
        ("https://storage.googleapis.com/x/eva_vit_g.pth", "eva_vit_g.pth"),
        ("lmsys/vicuna-7b-v1.5", "vicuna-7b-v1.5"),
        ("Vision-CAIR/vicuna", "vicuna-13b"),
        ("output/run", None),
        ("embedded/eva_vit_g.pth", None),
        ("", None),
    ],
)
def test_a_setting_is_known_by_its_last_part_or_its_repository(value: str, name: str | None) -> None:
    published = published_as(value)
    assert (published and published.name) == name


def test_any_decoder_of_the_hub_can_be_named() -> None:
    published = named("mistralai/Mistral-7B-v0.1")
    assert published is not None and (published.name, published.repository) == (
        "Mistral-7B-v0.1",
        "mistralai/Mistral-7B-v0.1",
    )
    assert named("no-such-name") is None and named("../../etc") is None


def test_what_a_model_needs() -> None:
    model = ModelSettings(ckpt="")
    assert list(needed(model)) == ["vit_weights", "q_former_model", "llama_model"]
    assert list(needed(ModelSettings(ckpt="x"), with_encoder=False)) == ["llama_model", "ckpt"]


def test_advice_names_the_command_and_the_source() -> None:
    text = advice("vit_weights", "weights/eva_vit_g.pth")
    assert "skingpt4 weights download eva_vit_g.pth --to weights" in text and "2 GB" in text
    assert advice("llama_model", "my-own").startswith("the decoder's Hugging Face directory")


def test_projections_and_decoders_that_do_not_belong_together() -> None:
    assert misfit("weights/pretrained_minigpt4.pth", "weights/vicuna-13b") == ""
    assert misfit("output/run", "weights/vicuna-13b") == misfit("weights/pretrained_minigpt4.pth", "my-own") == ""
    text = misfit("weights/pretrained_minigpt4.pth", "lmsys/vicuna-13b-v1.5")
    assert "MiniGPT-4's projection for Vicuna-13B v0" in text and "the decoder is Vicuna-13B v1.5" in text
    assert "set model.llama_model to vicuna-13b" in text


# Where files are looked for


def test_the_users_folders_are_looked_in_after_the_settings_own_place(own_home: Path) -> None:
    (own_home / "models" / "vicuna-13b").mkdir(parents=True)
    (own_home / "models" / "eva_vit_g.pth").touch()
    assert weights_path("weights/vicuna-13b") == Path("weights/vicuna-13b")
    assert find_file("weights/eva_vit_g.pth") is None
    file = use_weights([own_home / "models"])
    assert file == user_settings_file() and file.is_relative_to(own_home)
    assert weights_path("weights/vicuna-13b") == own_home / "models" / "vicuna-13b"
    assert find_file("weights/eva_vit_g.pth") == own_home / "models" / "eva_vit_g.pth"
    assert find_file("https://example.org/x/eva_vit_g.pth") == own_home / "models" / "eva_vit_g.pth"
    (own_home / "weights").mkdir()
    (own_home / "weights" / "eva_vit_g.pth").touch()
    assert find_file("weights/eva_vit_g.pth") == Path("weights/eva_vit_g.pth")


def test_an_empty_setting_is_no_folder_of_the_user(own_home: Path) -> None:
    use_weights([own_home])
    assert places_of("") == [Path()]


def test_a_repository_in_the_hubs_cache(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `huggingface_hub` lays it out: a name of a revision, and its snapshot."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(own_home / "hub"))
    assert weights_path("lmsys/vicuna-7b-v1.5") == Path("lmsys/vicuna-7b-v1.5")
    repository = own_home / "hub" / "models--lmsys--vicuna-7b-v1.5"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    assert weights_path("lmsys/vicuna-7b-v1.5") == snapshot


@pytest.mark.parametrize("name", ["lmsys/vicuna-7b-v1.5", "https://example.org/x/vicuna-7b-v1.5"])
def test_what_was_downloaded_is_found_by_its_repository_or_address(name: str, own_home: Path) -> None:
    (own_home / "weights" / "vicuna-7b-v1.5").mkdir(parents=True)
    assert weights_path(name) == Path("weights/vicuna-7b-v1.5")
    assert "skingpt4 weights download vicuna-7b-v1.5 --to weights`" in advice("llama_model", name)


def test_a_path_that_cannot_be_looked_at_is_told() -> None:
    """A name without a user stays as it is, as in a shell; one that no file can have says so."""
    assert weights_path("~no-such-user/vicuna") == Path("~no-such-user/vicuna")
    for path, why in {"a" * 5000: "File name too long", "a\0b": "null byte"}.items():
        with pytest.raises(WeightsError, match=f"cannot be looked at: .*{why}"):
            weights_path(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is closed to this user")
def test_a_folder_that_may_not_be_read(own_home: Path) -> None:
    (own_home / "closed").mkdir(mode=0)
    with pytest.raises(WeightsError, match=r"Permission denied\. Name a file that you may read"):
        weights_path(str(own_home / "closed" / "vicuna"))


def test_a_later_use_replaces_an_earlier_one(own_home: Path) -> None:
    for name in ("one", "two", "dr. müller"):
        (own_home / name).mkdir()
    use_weights([own_home / "one"])
    use_weights([Path("two"), Path("dr. müller")])  # relative ones are kept whole
    assert weights_folders() == [own_home / "two", own_home / "dr. müller"]


def test_a_folder_that_is_not_there(own_home: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere is no folder"):
        use_weights([own_home / "nowhere"])
    assert not user_settings_file().exists()


@pytest.mark.parametrize("content", ["weights: 3", "weights: [1]", "wieghts: [a]", "- a", "weights: [", "\x00"])
def test_a_settings_file_that_cannot_be_read(content: str) -> None:
    user_settings_file().parent.mkdir(parents=True)
    user_settings_file().write_text(content)
    with pytest.raises(SettingsError) as raised:
        places_of("weights/vicuna-13b")
    assert str(user_settings_file()) in str(raised.value) and "skingpt4 weights use DIR" in str(raised.value)


def test_an_empty_settings_file() -> None:
    user_settings_file().parent.mkdir(parents=True)
    user_settings_file().write_text("")
    assert weights_folders() == []


# Paths in YAML


def test_paths_of_yaml_files_may_name_the_environment(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative ones belong to the working folder, like those of the command line."""
    file = own_home / "settings.yaml"
    file.write_text(
        "model: {vit_weights: '${oc.env:MODELS}/eva.pth', llama_model: '${oc.env:LLM,llm}', ckpt: ../p.pth}"
    )
    with pytest.raises(SettingsError, match="MODELS"):
        load_settings(file)
    monkeypatch.setenv("MODELS", str(own_home / "models"))
    (own_home / "models").mkdir()
    for path in ("models/eva.pth", "p.pth"):
        (own_home / path).touch()
    (own_home / "work" / "llm").mkdir(parents=True)
    monkeypatch.chdir(own_home / "work")
    model = load_settings(file)[0].model
    assert find_file(model.vit_weights) == own_home / "models" / "eva.pth"
    assert find_file(model.ckpt) == Path("../p.pth") and weights_path(model.llama_model).is_dir()
    option = load_settings(file, ["model.q_former_model=${oc.env:MODELS}/q.pth"])[0].model.q_former_model
    assert option == str(own_home / "models" / "q.pth")
