"""How the next token is picked: what is refused before a model works for nothing."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

from skingpt4.engines.sampling import MOST_BEAMS, Sampling
from skingpt4.errors import SettingsError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 1e-5}, "temperature is 1e-05; it must be 0 .greedy., or 0.001 or more"),
        ({"temperature": "hot"}, "temperature is 'hot'; it must be a number"),
        ({"temperature": None}, "temperature is None; it must be a number"),
        ({"top_p": True}, "top_p is True; it must be a number"),
        ({"repetition_penalty": [1]}, r"repetition_penalty is \[1\]; it must be a number"),
        ({"num_beams": 10**9}, f"num_beams is 1000000000; it must be 1 .no beam search. to {MOST_BEAMS}"),
        ({"num_beams": 0}, "num_beams is 0"),
        ({"num_beams": 2.0}, "num_beams is 2.0; it must be a whole number"),
        ({"max_new_tokens": "300"}, "max_new_tokens is '300'; it must be a whole number"),
        ({"seed": 1.5}, "seed is 1.5; it must be a whole number"),
    ],
)
def test_what_no_engine_can_do_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Sampling(**values)


def test_numbers_of_other_libraries_and_the_bounds_themselves_are_taken() -> None:
    Sampling(numpy.int64(5), numpy.float32(0.5), 1, 1, numpy.int64(3), MOST_BEAMS)
    Sampling(temperature=0), Sampling(temperature=1e-3)
