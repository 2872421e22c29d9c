"""`multiloss weights`: suggestions for a configuration and for a trained run, as words to paste."""

from __future__ import annotations

import re
from pathlib import Path

from cli.tables import Command, files


def test_suggestions_for_a_configuration_can_be_pasted(multiloss: Command, config: Path, tmp_path: Path) -> None:
    before = files(tmp_path)
    outcome = multiloss("weights", config)
    assert outcome.code == 0 and files(tmp_path) == before
    assert "gradient norms" in outcome.out and "loss scales" in outcome.out and "as it begins" in outcome.out
    line = next(line for line in outcome.out.splitlines() if line.startswith("    multiloss fit"))
    words = line.split()[2:]
    assert words[0] == str(config) and all(re.fullmatch(r"outputs\.\S+\.weight=\S+", word) for word in words[1:])
    assert multiloss("fit", *words, "training.epochs=1", "--out", tmp_path / "run").code == 0
    written = (tmp_path / "run" / "config.yaml").read_text()
    for word in words[1:]:
        assert f"weight: {word.partition('=')[2]}" in written


def test_a_run_is_measured_as_it_was_kept(multiloss: Command, config: Path, tmp_path: Path) -> None:
    assert multiloss("fit", config, "training.epochs=3", "--out", tmp_path / "run").code == 0
    begun, kept = multiloss("weights", config), multiloss("weights", tmp_path / "run")
    assert kept.code == 0 and "as it was kept" in kept.out
    assert begun.out.splitlines()[3] != kept.out.splitlines()[3]  # what was measured


def test_overrides_are_kept_in_the_line(multiloss: Command, config: Path) -> None:
    outcome = multiloss("weights", config, "model.trunk=[8]")
    assert outcome.code == 0 and f"multiloss fit {config} model.trunk=[8] outputs." in outcome.out


def test_a_file_that_is_not_there(multiloss: Command, tmp_path: Path) -> None:
    outcome = multiloss("weights", tmp_path / "none.yaml")
    assert outcome.code == 2 and "none.yaml" in outcome.err
