"""`skingpt4 study new` on the embedded default: answers, times, blinded forms, and going on after a kill."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from studies import DISEASES, new, study

from skingpt4.errors import DataError, SettingsError
from skingpt4.study.asking import read_answers
from skingpt4.study.folder import Folder
from skingpt4.study.items import StudyError
from skingpt4.study.texts import read_texts
from skingpt4.vocabulary import CLINICAL_PROMPTS


def test_the_four_prompts_are_asked_in_one_conversation_and_timed(made: Path, data: Path):
    from skingpt4.chat.conversation import Chat
    from skingpt4.engines.sampling import Sampling
    from skingpt4.weights.build import load_model

    key, answers = Folder(made).read(), read_answers(Folder(made).answers)
    assert len(key.cases) == 4 and len(answers) == len(key.texts) == 8
    case = key.cases[0]
    conversation = Chat(*load_model()).start(data / case.name)
    said = [conversation.ask(prompt, Sampling(max_new_tokens=10)).strip() for prompt in CLINICAL_PROMPTS]
    answer = answers[case.id, "model"]
    assert list(answer.parts) == ["description", "features", "cause", "treatment"]
    assert list(answer.parts.values()) == said
    assert list(answer.seconds) == ["picture", *answer.parts] and min(answer.seconds.values()) > 0
    written = answers[case.id, "written"]
    number = int(Path(case.name).stem[-1])
    assert written.parts["text"].endswith(f"number {number}.") and written.total_seconds == 30 + number


def test_forms_say_nothing_of_labels_arms_and_file_names(made: Path):
    folder = Folder(made)
    key = folder.read()
    telling = [*DISEASES, *DISEASES.values(), "case-0", *(f"patient {n}" for n in range(6)), ".png"]
    answers = read_answers(folder.answers)
    said = " ".join(text for answer in answers.values() for text in answer.parts.values())
    for rater in key.raters:
        page = (folder.forms / f"rater-{rater.id}.html").read_text(encoding="utf-8")
        shown = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
        assert [entry["code"] for entry in shown["entries"]] == list(rater.order)
        assert len(shown["items"]) == (7 if rater.group == "dermatologist" else 2)
        assert all(len(entry["sections"]) == 1 and not entry["sections"][0][0] for entry in shown["entries"])
        outside = json.dumps({**shown, "pictures": None, "entries": [entry["code"] for entry in shown["entries"]]})
        table = (folder.forms / f"rater-{rater.id}.csv").read_text(encoding="utf-8-sig")
        names = [row["photograph"] for row in csv.DictReader(io.StringIO(table))]
        for word in telling:
            if word not in said:
                assert word not in re.sub(r'id="data">.*?</script>', "", page, flags=re.DOTALL)
            assert word not in outside and not any(word in name for name in names)
        assert len(shown["pictures"]) == 4 and len(set(names)) == 4
    assert len({rater.order for rater in key.raters}) > 1
    assert {file.name for file in folder.forms.parent.iterdir()} == {"forms", "leader"}
    for file in (folder.forms / "pictures").iterdir():
        with Image.open(file) as picture:
            assert picture.format == "JPEG" and not picture.getexif() and "comment" not in picture.info


def test_a_killed_study_goes_on_where_it_was(folder: Folder, data: Path):
    lines = folder.answers.read_text(encoding="utf-8").splitlines(keepends=True)
    model = [line for line in lines if '"model"' in line]
    folder.answers.write_text("".join(model[:2]) + model[2][:40], encoding="utf-8")
    key = folder.key.read_bytes()
    assert new(data, folder.root) == 0
    assert folder.key.read_bytes() == key
    now = folder.answers.read_text(encoding="utf-8").splitlines(keepends=True)
    assert now[:2] == model[:2]  # with their times: they were not asked again
    assert len(read_answers(folder.answers)) == 8
    assert json.loads(now[3])["parts"] == json.loads(model[2])["parts"]


def test_another_design_and_a_foreign_folder_are_refused(folder: Folder, data: Path, tmp_path: Path):
    with pytest.raises(StudyError, match="another design: its each is 2, and 1 was asked for"):
        new(data, folder.root, "--each", "1")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("ten years of work")
    with pytest.raises(StudyError, match="is not empty and holds no study"):
        new(data, tmp_path / "thesis")
    with pytest.raises(StudyError, match="at least one rater"):
        new(data, tmp_path / "none", "--raters", "0", "--lay-raters", "0")
    assert not (tmp_path / "none").exists()


def test_texts_of_an_arm_must_be_whole(data: Path, tmp_path: Path):
    table = tmp_path / "texts.csv"
    table.write_text("image,text\na.png,\nb.png,good\nb.png,again\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"2 errors(.|\n)*row 2: `text` is empty(.|\n)*row 4: b.png has a text"):
        read_texts(table, "doctor")
    table.write_text("image,text\nelsewhere.png,good\n", encoding="utf-8")
    with pytest.raises(StudyError, match="None of the 6 photographs has a text of doctor"):
        study("new", "--data", data, "--out", tmp_path / "out", "--arm", f"doctor={table}")
    with pytest.raises(SettingsError, match=r"--arm 'model=x\.csv': a new name"):
        study("new", "--data", data, "--out", tmp_path / "out", "--arm", "model=x.csv")
    with pytest.raises(StudyError, match="which is no file"):
        study("new", "--data", data, "--out", tmp_path / "out", "--arm", f"doctor={tmp_path / 'absent.csv'}")
