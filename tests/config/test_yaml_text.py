from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from multiloss.config.yaml_text import parse_yaml, to_yaml
from multiloss.core.errors import ConfigError

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
words = st.one_of(
    texts, st.sampled_from(["on", "no", "yes", "null", "~", "true", "1e-3", "007", "1_0", "1:30", "0x1f"])
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.floats(allow_nan=False, allow_infinity=False), words
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=8,
)


@given(values)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert parse_yaml(to_yaml(value), "text")[0] == value


@given(st.dictionaries(words, words, max_size=4))
def test_other_readers_of_yaml_see_the_same_text(value: dict[str, str]) -> None:
    assert yaml.safe_load(to_yaml(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        (".5", 0.5),
        ("-2", -2),
        ("1_000", 1000),
        ("no", "no"),
        ("on", "on"),
        ("2024-01-31", "2024-01-31"),
        ("007", "007"),
        ("1e", "1e"),
        ("-1.5e+2", -150.0),
        ("1:30", "1:30"),
        ("null", None),
        ("true", True),
        (".inf", math.inf),
        ("", None),
    ],
)
def test_words_and_numbers(text: str, value: object) -> None:
    found = parse_yaml(f"key: {text}", "text")[0]["key"]
    assert found == value and type(found) is type(value)


def test_every_key_knows_its_line() -> None:
    _, lines = parse_yaml("a:\n  b: 1\n  c:\n    - 2\n    - d: 3\n", "text")
    assert lines == {("a",): 1, ("a", "b"): 2, ("a", "c"): 3, ("a", "c", 0): 4, ("a", "c", 1): 5, ("a", "c", 1, "d"): 5}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: [1\nb: 2", "line 2, column 2: expected YAML"),
        ("a: 1\nb: 2\na: 3", "line 3: key 'a' was given before, in line 1"),
        ("? [a, b]\n: 1", "line 1: expected a word as key"),
        ("a: !!python/object:os.system {}", "line 1: expected a plain mapping or list, found the tag"),
        ("a: !!python/name:os.system x", "could not determine a constructor"),
        ("a: &x [*x]", "expected at most 20 levels"),
        ("a: 1\n--- \nb: 2", "expected a single document"),
        ("a: \x00", "special characters are not allowed"),
    ],
)
def test_text_that_cannot_be_read(text: str, found: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_yaml(text, "c.yaml")
    assert str(error.value).startswith("c.yaml: ") and found in str(error.value)
