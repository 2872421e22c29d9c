"""The public face: what is exported, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import multiloss as ml
from multiloss import api

HEAVY = {
    *("torchmetrics", "accelerate", "polars", "sklearn", "pandas", "scipy", "safetensors", "pydantic", "yaml"),
    *("typer", "rich", "plotly", "jinja2", "lightning", "transformers", "torch._dynamo", "matplotlib"),
}


def modules_after(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after running `code`."""
    script = f"import sys\n{code}\nprint(*sys.modules, sep='\\n')"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_what_is_exported_is_what_is_there() -> None:
    public = {name for name, value in vars(api).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    assert public | {"__version__"} == set(ml.__all__) == set(api.__all__)
    assert len(ml.__all__) == len(set(ml.__all__)) and set(ml.__all__) <= set(dir(ml))


def test_a_function_is_not_hidden_by_the_module_of_its_name() -> None:
    script = "import multiloss, multiloss.backward, multiloss.training.fit\nassert callable(multiloss.backward)"
    assert "torch" in modules_after(script)


def test_what_stands_above_is_loaded_when_it_is_named() -> None:
    loaded = modules_after("import multiloss\nassert multiloss.compare.__module__ == 'multiloss.studies.compare'")
    assert "multiloss.studies.compare" in loaded and "multiloss.integrations" not in loaded
    loaded = modules_after("import multiloss\nmultiloss.integrations")
    assert "multiloss.integrations" in loaded and not {"keras", "lightning", "torch"} & loaded


def test_every_public_thing_has_a_docstring() -> None:
    undocumented = [name for name in ml.__all__ if callable(getattr(ml, name)) and not getattr(ml, name).__doc__]
    assert not undocumented


def test_import_loads_nothing_and_its_names_load_torch_and_nothing_heavier() -> None:
    plain = modules_after("import torch")
    assert "torch" not in modules_after("import multiloss")
    ours = modules_after("from multiloss import *")
    assert "torch" in ours
    assert not HEAVY & (ours - plain)
