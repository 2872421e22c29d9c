from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from multiloss.config.load import load_config, read_config
from multiloss.config.schema import Config
from multiloss.config.yaml_text import parse_yaml
from multiloss.core.errors import ConfigError

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def read(*overrides: str, **keys: Any) -> Config:
    return read_config({"table": "t.csv", "outputs": ["price", "kind"], **keys}, "test", overrides)


def problems(*overrides: str, **keys: Any) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(*overrides, **keys)
    return error.value.problems


def test_a_list_of_outputs_is_a_mapping_of_defaults() -> None:
    assert read() == read(outputs={"price": {}, "kind": None})
    assert read().outputs["kind"].weight == 1.0 and read().training.epochs == 50


def test_overrides_reach_every_level() -> None:
    config = read(
        "training.epochs=10",
        "outputs.price.weight=2",
        "outputs.kind.loss={name: focal, gamma: 1}",
        "outputs.kind.weight={schedule: ramp, start: 0, end: 1, epochs: 3}",
        "model.trunk=[64, 32]",
        "training.lr={trunk: 1e-4, default: 1e-3}",
        "penalties.0.coefficient=0.5",
        "training.early_stopping.patience=3",
        "training.lr_schedule={name: StepLR, step_size: 3}",
        "inputs={a: unused}",
        penalties=[{"name": "l2", "coefficient": 0.1}],
    )
    assert config.training.epochs == 10 and config.model.trunk == [64, 32]
    assert config.outputs["price"].weight == 2.0 and config.outputs["kind"].loss == {"name": "focal", "gamma": 1}
    assert config.training.lr == {"trunk": 1e-4, "default": 1e-3} and config.penalties[0]["coefficient"] == 0.5
    assert config.training.early_stopping is not None and config.training.early_stopping.patience == 3
    assert config.training.early_stopping.monitor == "val_task_loss"


def test_a_later_override_wins() -> None:
    assert read("training.epochs=1", "training.epochs=2").training.epochs == 2


def test_the_written_configuration_is_read_back() -> None:
    config = read("training.precision=no", "penalties=[{name: l2, coefficient: 1e-3, on: trunk}]")
    raw, _ = parse_yaml(config.to_yaml(), "again")
    assert read_config(raw, "again") == config
    assert yaml.safe_load(config.to_yaml()) == config.model_dump(), "for any other reader too"
    written = yaml.safe_load(config.to_yaml())
    assert set(written) == set(Config.model_fields)
    assert set(written["training"]) == set(type(config.training).model_fields)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"training": {"epochs": "ten"}}, "training.epochs: expected a whole number, found 'ten'"),
        ({"training": {"epochs": 1.5}}, "training.epochs: expected a whole number, found 1.5"),
        ({"training": {"epochs": True}}, "training.epochs: expected a whole number, found True"),
        ({"training": {"lr": -1}}, "training.lr: expected a finite learning rate of 0 or more, found -1"),
        ({"training": {"lr": {"trunk": "x"}}}, "training.lr: trunk: expected a finite learning rate"),
        ({"training": {"clip": 0}}, "training.clip: expected a number > 0, found 0"),
        ({"training": {"keep": "all"}}, "training.keep: expected best or last, found 'all'"),
        ({"training": {"threads": 0}}, "training.threads: expected auto or a whole number above 0, found 0"),
        ({"training": {"optimizer": {"name": "sgd", "momentun": 1}}}, "unknown option of sgd 'momentun'. Did you mean"),
        ({"training": {"optimizer": {"name": "sgd", "lr": 1}}}, "training.optimizer: found lr in it"),
        ({"training": {"lr_schedule": "StepLR"}}, "training.lr_schedule: StepLR: expected step_size, found none"),
        ({"training": {"lr_schedule": "LambdaLR"}}, "training.lr_schedule: unknown schedule 'LambdaLR'"),
        (
            {"training": {"early_stopping": {"patienc": 1}}},
            "unknown key 'training.early_stopping.patienc'. Did you mean",
        ),
        ({"training": None}, "training: expected a mapping, found None"),
        ({"model": {"dropout": 1.0}}, "model.dropout: expected a number < 1, found 1.0"),
        ({"model": {"trunk": [0]}}, "model.trunk.0: expected a number >= 1, found 0"),
        ({"model": {"trunk": 64}}, "model.trunk: expected a list, found 64"),
        ({"model": {"norm": "group"}}, "model.norm: expected batch or layer, found 'group'"),
        ({"split": {"validation": 0.6, "test": 0.4}}, "split: expected validation + test below 1, found 1"),
        ({"split": {"method": "group"}}, "split: expected a column for method group or time alone"),
        ({"split": {"column": "day"}}, "split: expected a column for method group or time alone"),
        ({"outputs": []}, "outputs: expected at least one output, found none"),
        ({"outputs": ["a", "a"]}, "outputs: expected every output once, found a again"),
        ({"outputs": "price"}, "outputs: expected a mapping or a list of columns, found 'price'"),
        ({"outputs": {"price": "mse"}}, "outputs.price: expected a mapping, found 'mse'"),
        ({"outputs": {"kind": {"kind": "klass"}}}, "outputs.kind.kind: expected regression, binary"),
        ({"outputs": {"kind": {"kin": 1}}}, "unknown key 'outputs.kind.kin'. Did you mean 'kind'?"),
        ({"outputs": {"a": {"loss": {"name": "huber", "delta": -1}}}}, "delta: expected a number above 0, found -1"),
        ({"outputs": {"a": {"loss": {"name": "ce", "class_weight": "even"}}}}, "class_weight: expected balanced"),
        ({"outputs": {"a": {"loss": {"name": "mse", "class_weight": "balanced"}}}}, "unknown option 'class_weight'"),
        ({"penalties": [{"name": "l2"}]}, "penalties.0: penalty 'l2': expected 'coefficient', found none; add it"),
        ({"inputs": {"a": "numeric"}}, "inputs: a: unknown kind 'numeric'. Did you mean 'number'?"),
        ({"reduction": "mean"}, "reduction: expected labelled or batch, found 'mean'"),
        ({"tabel": "t.csv"}, "unknown key 'tabel'. Did you mean 'table'?"),
    ],
)
def test_one_mistake(keys: dict[str, Any], sentence: str) -> None:
    found = problems(**keys)
    assert len(found) == 1 and sentence in found[0], found


def test_a_missing_table_and_overrides_that_lead_nowhere_are_all_named() -> None:
    with pytest.raises(ConfigError) as error:
        read_config({"outputs": {"a": {}}}, "test", ["outputs.b.weight=1", "model.trunk.0.x=1", "x", "reduction.y=1"])
    found = error.value.problems
    assert "outputs.b.weight=1: no such output 'b'. Known: a." in found
    assert "expected key=value (training.epochs=10), found 'x'" in found
    assert "expected 'table', found none; add it" in found
    assert len(found) == 5 or any("unknown" in text for text in found)


def test_the_table_is_relative_to_the_file_and_an_override_to_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    file = tmp_path / "configs" / "c.yaml"
    file.write_text("table: ../t.csv\noutputs: [a]\n")
    monkeypatch.chdir(tmp_path)
    assert load_config("configs/c.yaml").table == str(tmp_path / "t.csv")
    assert load_config("configs/c.yaml", ["table=u.csv"]).table == str(tmp_path / "u.csv")


@pytest.mark.parametrize(("text", "found"), [("", "found an empty file"), ("- a", "found a list"), ("a", "found 'a'")])
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=found):
        load_config(tmp_path / "c.yaml")


def test_a_file_in_another_encoding_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"table: \xff\n")
    with pytest.raises(ConfigError, match="expected UTF-8"):
        load_config(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="expected a configuration, found: "):
        load_config(tmp_path)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_configurations(path: Path) -> None:
    assert len(load_config(path).outputs) >= 2
