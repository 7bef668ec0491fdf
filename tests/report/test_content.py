"""The report as JSON: what it says about itself, and that it can be read again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

import skingpt4.report
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import SettingsError
from skingpt4.report.content import Exchange, Report, ReportError, readable, schema, schema_text

PUBLISHED = Path(skingpt4.report.__file__).with_name("report.schema.json")


def test_the_published_schema_is_that_of_the_types():
    write = "from skingpt4.report.content import schema_text; open('skingpt4/report/report.schema.json', 'w')"
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text(), f'run python -c "{write}.write(schema_text())"'
    jsonschema.Draft202012Validator.check_schema(schema())


def test_a_report_fits_the_published_schema_and_a_changed_one_does_not(report: Report):
    validator = jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))
    value = json.loads(report.to_json())
    validator.validate(value)
    validator.validate(json.loads(replace(report, heatmap=None, conversation=(), red_flags=()).to_json()))
    for wrong in ({"diagnosis": "cancer"}, {"sections": []}, {"format": "skingpt4-report-2"}, {"picture": {}}):
        assert not validator.is_valid({**value, **wrong}), wrong


def test_json_reads_back_equal(report: Report):
    assert Report.from_json(report.to_json()) == report
    sampled = replace(report, sampling=Sampling(temperature=0.7, seed=3), heatmap=None)
    assert Report.from_json(sampled.to_json()) == sampled


def test_what_is_no_report_is_told_with_the_place(report: Report):
    with pytest.raises(ReportError, match=r"no report of this package.*the file"):
        Report.from_json(b"hello")
    value = json.loads(report.to_json())
    value["sections"][2]["name"] = "prognosis"
    with pytest.raises(ReportError, match=r"sections\.2\.name.*skingpt4 report --format json"):
        Report.from_json(json.dumps(value))
    value = json.loads(report.to_json())
    value["red_flags"][0]["hidden"] = "more"
    with pytest.raises(ReportError, match=r"red_flags\.0\.hidden"):
        Report.from_json(json.dumps(value))
    value = json.loads(report.to_json())
    value["sampling"]["top_p"] = 0
    with pytest.raises(SettingsError, match="top_p"):
        Report.from_json(json.dumps(value))


def test_texts_lose_what_no_record_can_hold():
    assert readable("a\x00b\x1b[31mc\r\nd\te\x7f\u202ef\u2066g\ufffeh\ud83d") == "ab[31mc\nd\tefgh"
    assert readable("Ωμέγα Кожа 皮膚 😀 é \u200d") == "Ωμέγα Кожа 皮膚 😀 é \u200d"
    assert Exchange("\x00Is it?", "yes\x1b").question == "Is it?"
