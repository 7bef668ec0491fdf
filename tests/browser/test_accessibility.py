"""axe-core finds no serious fault in any state of the page: light and dark, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patient import PHONE, Patient, drawing, saved
from playwright.sync_api import expect

from skingpt4.demo.page import words

pytestmark = pytest.mark.slow
DESK = {"viewport": {"width": 1200, "height": 900}}


def faults(patient: Patient) -> list[str]:
    """Serious and critical ones, once everything that moves has come to rest."""
    from axe_playwright_python.sync_playwright import Axe

    patient.page.wait_for_timeout(500)
    found = Axe().run(patient.page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:120]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [DESK, PHONE], ids=["desk", "phone"])
def test_no_serious_fault(
    patients: Callable[..., Patient], tmp_path: Path, scheme: str, device: dict[str, Any]
) -> None:
    patient = patients(color_scheme=scheme, reduced_motion="reduce", **device)
    patient.open()
    found = {"welcome": faults(patient)}
    patient.accept()
    found["empty"] = faults(patient)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    patient.add(bad)
    found["refused"] = faults(patient)
    patient.add(saved(drawing(), tmp_path / "a.png"))
    expect(patient.at("photo_status")).to_have_text(words.READY)
    found["ready"] = faults(patient)
    patient.describe()
    found["answered"] = faults(patient)
    patient.ask("My mole is bleeding", 2)
    found["red flags"] = faults(patient)
    patient.at("report").click()
    expect(patient.at("downloads")).to_be_visible(timeout=30_000)
    patient.button(words.EXPERTS).click()
    patient.at("show_heatmap").click()
    expect(patient.at("heatmap")).to_be_visible(timeout=30_000)
    found["experts"] = faults(patient)
    assert {state: told for state, told in found.items() if told} == {}
