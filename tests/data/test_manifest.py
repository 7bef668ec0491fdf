"""The manifest: what is written is what is read, whole, at random and in parts; foreign files are refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manifests import draw_data_set

from skingpt4.data.manifest import open_manifest, relative_name, row_of, write_manifest
from skingpt4.data.manifest_files import COLUMNS, ROWS_PER_GROUP
from skingpt4.data.records import PackedImage, Record
from skingpt4.errors import DataError

FORMS = pytest.mark.parametrize("name", ["manifest.parquet", "manifest.jsonl"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LISTS = st.lists(TEXTS, max_size=3).map(tuple)
NAMES = st.from_regex(r"[A-Za-z0-9é_-]{1,6}(/[A-Za-z0-9 é_-]{1,6})?\.jpg", fullmatch=True)


@st.composite
def records(draw: st.DrawFn) -> Record:
    texts = {name: draw(TEXTS) for name in ("disease", "disease_class", "group", "source", "site", "licence")}
    return Record(
        Path("root") / draw(NAMES),
        questions=draw(LISTS),
        answers=draw(LISTS),
        concepts=draw(LISTS),
        skin_type=draw(st.integers(-1, 6)),
        age=draw(st.integers(-1, 120)),
        sex=draw(st.sampled_from(["", "female", "male"])),
        split=draw(st.sampled_from(["", "train", "validation", "test"])),
        sha256=draw(st.sampled_from(["", "0" * 64])),
        phash=draw(st.sampled_from(["", "0" * 16])),
        **texts,
    )


def rows_of(given_records: list[Record]) -> list[dict[str, Any]]:
    return [row_of(record, relative_name(Path(str(record.image)), Path("root"))) for record in given_records]


def plain_rows(count: int) -> list[dict[str, Any]]:
    made = [Record(Path(f"{n}.jpg"), ("q?",), (f"answer {n}",), split="train", age=n % 100) for n in range(count)]
    return [row_of(record, str(record.image)) for record in made]


@FORMS
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_records=st.lists(records(), min_size=1, max_size=5))
def test_what_is_written_is_read(name: str, given_records: list[Record], tmp_path: Path) -> None:
    path = tmp_path / name
    assert write_manifest(path, rows_of(given_records)) == len(given_records)
    manifest = open_manifest(path, Path("root"))
    assert list(manifest) == given_records
    assert [manifest[number] for number in range(len(manifest))] == given_records
    assert list(manifest.table_rows()) == rows_of(given_records)
    assert list(manifest.images()) == [record.image for record in given_records]
    for column in ("disease", "age", "split"):
        assert manifest.column(column) == [getattr(record, column) for record in given_records]
    assert manifest.column("answers") == [list(record.answers) for record in given_records]


@FORMS
def test_rows_of_several_groups_are_found_by_number_slice_and_value(name: str, tmp_path: Path) -> None:
    count = 2 * ROWS_PER_GROUP + 7
    write_manifest(tmp_path / name, iter(plain_rows(count)))
    manifest = open_manifest(tmp_path)
    if name.endswith("parquet"):
        assert pq.ParquetFile(tmp_path / name).num_row_groups == 3
    answers = [f"answer {n}" for n in range(count)]
    assert [record.answers[0] for record in manifest] == answers
    shuffled = np.random.default_rng(0).permutation(count)
    assert [record.answers[0] for record in manifest.select(shuffled)] == [answers[n] for n in shuffled]
    assert manifest.select(shuffled).column("age") == [n % 100 for n in shuffled]
    assert (manifest[-1].answers, manifest[ROWS_PER_GROUP].answers) == ((answers[-1],), (answers[ROWS_PER_GROUP],))
    assert [record.answers[0] for record in manifest[500:530:3]] == answers[500:530:3]
    assert [record.answers[0] for record in manifest[::-1][:3]] == answers[:-4:-1]
    of_age = manifest[10:].where("age", 7)
    assert [record.answers[0] for record in of_age] == [a for n, a in enumerate(answers) if n % 100 == 7 and n >= 10]
    assert len(of_age.where("split", "train")) == len(of_age) and not of_age.where("split", "test")
    assert list(of_age.images()) == [record.image for record in of_age]
    for beyond in (count, -count - 1):
        with pytest.raises(IndexError):
            manifest[beyond]


@FORMS
def test_a_packed_image_is_read_by_its_place(name: str, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "0.tar").write_bytes(b"...PHOTO...")
    row = plain_rows(1)[0] | {"image": "a/b.jpg", "shard": "shards/0.tar", "offset": 3, "size": 5}
    write_manifest(tmp_path / name, [row])
    image = open_manifest(tmp_path)[0].image
    assert image == PackedImage(tmp_path / "shards" / "0.tar", "a/b.jpg", 3, 5)
    assert image.read_bytes() == b"PHOTO"
    assert not open_manifest(tmp_path).missing_images().any()
    assert open_manifest(tmp_path / name, tmp_path / "elsewhere").missing_images().all()
    write_manifest(tmp_path / name, [row | {"size": 50}])
    with pytest.raises(DataError, match=r"a/b\.jpg in .*0\.tar is cut off"):
        open_manifest(tmp_path)[0].image.read_bytes()


@FORMS
def test_an_exception_in_the_rows_leaves_the_old_file_and_nothing_else(name: str, tmp_path: Path) -> None:
    def torn() -> Iterator[dict[str, Any]]:
        yield from plain_rows(3)
        raise RuntimeError("the source broke")

    write_manifest(tmp_path / name, plain_rows(2))
    before = (tmp_path / name).read_bytes()
    with pytest.raises(RuntimeError, match="the source broke"):
        write_manifest(tmp_path / name, torn())
    assert (tmp_path / name).read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_values_that_do_not_fit_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not fit its column: .*200"):
        write_manifest(tmp_path / "m.parquet", [plain_rows(1)[0] | {"skin_type": 200}])
    for name in ("m.parquet", "m.jsonl"):
        with pytest.raises(DataError, match="is not UTF-8; rename the file"):
            write_manifest(tmp_path / name, [plain_rows(1)[0] | {"image": "caf\udce9.jpg"}])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no Parquet file"),
        (b"image,disease\na.jpg,eczema\n", "is no Parquet file"),
        ({"image": ["a.jpg"], "disease": ["x"]}, r"no column `questions`, `answers`. Its columns: `image`, `disease`"),
        ({"image": ["a"], "questions": [["q"]], "answers": ["a"]}, "`answers` holds string, not list<"),
        ({"image": [b"a"], "questions": [["q"]], "answers": [["a"]]}, "`image` holds binary, not string"),
        ({"image": ["a"], "questions": [["q"]], "answers": [["a"]], "age": ["old"]}, "`age` holds string, not int16"),
    ],
)
def test_a_foreign_parquet_file_is_said_to_be_one(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(pa.table(content), path)
    with pytest.raises(DataError, match=message):
        open_manifest(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"image": "a.jpg", "disease": "x"}'], r"no column `questions`, `answers`. Its columns: `image`, `disease`"),
        (["{", "[]"], r"(?s)2 errors in its rows:.*row 1: .*row 2: "),
        (
            ['{"image": "a", "questions": ["q"], "answers": "a"}', '{"image": "b", "questions": ["q"]}'],
            r'(?s)2 errors in its rows:.*row 1: `answers` is "a"; a list of texts.*row 2: `answers` is missing',
        ),
        (
            ['{"image": 1, "questions": [2], "answers": [], "age": 1.5}'],
            r"(?s)3 errors.*`image`.*`questions`.*`age` is",
        ),
    ],
)
def test_a_foreign_jsonl_file_is_said_to_be_one(lines: list[str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        open_manifest(path)


def test_a_manifest_that_another_tool_has_written_is_read(tmp_path: Path) -> None:
    """pandas, polars and `datasets` write other widths, categories and nulls; what is not there is unknown."""
    lists = pa.large_list(pa.large_string())
    columns = {
        "image": pa.array(["a.jpg", "b.jpg"], pa.large_string()),
        "questions": pa.array([["q"], ["q"]], lists),
        "answers": pa.array([["a"], ["b"]], lists),
        "split": pa.array(["train", None]).dictionary_encode(),
        "age": pa.array([None, 40], pa.int64()),
        "sex": pa.nulls(2),
        "weight_kg": pa.array([70.5, 60.0]),
    }
    pq.write_table(pa.table(columns), tmp_path / "manifest.parquet")
    manifest = open_manifest(tmp_path)
    assert list(manifest) == [
        Record(tmp_path / "a.jpg", ("q",), ("a",), split="train"),
        Record(tmp_path / "b.jpg", ("q",), ("b",), age=40),
    ]
    assert (manifest.column("age"), manifest.column("sex"), manifest.column("site")) == ([-1, 40], ["", ""], ["", ""])
    for column, value, found in (
        ("split", "train", 1),
        ("split", "", 1),
        ("sex", "", 2),
        ("site", "", 2),
        ("age", 3, 0),
    ):
        assert len(manifest.where(column, value)) == found, column


def test_a_file_damaged_after_its_footer_was_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    write_manifest(path, plain_rows(40))
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"manifest\.parquet is damaged"):
        list(open_manifest(path))


@FORMS
def test_workers_get_it_by_pickle(name: str, tmp_path: Path) -> None:
    write_manifest(tmp_path / name, plain_rows(20))
    chosen = open_manifest(tmp_path)[3:9]
    assert chosen[0].answers == ("answer 3",)  # its cache of rows is not sent along
    assert list(pickle.loads(pickle.dumps(chosen))) == list(chosen)


def test_where_there_is_no_manifest_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no manifest\.parquet; `skingpt4 data build"):
        open_manifest(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        open_manifest(tmp_path / "none.parquet")
    (tmp_path / "table.csv").write_text("image\n")
    with pytest.raises(DataError, match=r"its suffix must be \.parquet or \.jsonl"):
        open_manifest(tmp_path / "table.csv")


def test_every_column_is_a_field_of_the_record_or_the_place_of_a_packed_image(tmp_path: Path) -> None:
    """A field that is added to `Record` must round trip: its default is what an older manifest reads as."""
    record = draw_data_set(tmp_path, 1)[0]
    row = row_of(record, "a/0.png")
    assert tuple(row) == COLUMNS
    required = {name: row[name] for name in ("image", "questions", "answers")}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(required))
    assert open_manifest(tmp_path)[0] == Record(tmp_path / "a/0.png", record.questions, record.answers)
