"""`multiloss init`: a configuration for a table, with every key, its default and its meaning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

COMMENT_COLUMN = 40


def init(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV or Parquet.")],
    outputs: Annotated[str, typer.Option(metavar="A,B", help="Columns to predict.")],
) -> None:
    """Print a complete, commented configuration for a table: multiloss init TABLE --outputs a,b > CONFIG.yaml."""
    from multiloss.config.load import listed_names, read_config
    from multiloss.data.infer import infer_columns
    from multiloss.data.table import read_table
    from multiloss.objective.defaults import DEFAULT_LOSSES, DEFAULT_METRICS

    names = listed_names(outputs)
    config = read_config({"table": str(table), "outputs": names}, "command line")
    plans = infer_columns(read_table(table), names)
    reasons = {plan.name: plan.reason for plan in plans}
    for plan in plans:
        if plan.role == "output":
            own = config.outputs[plan.name]
            own.kind = kind = plan.kind  # type: ignore[assignment]  # a kind that the plan has checked
            own.loss, own.metrics = DEFAULT_LOSSES[kind], list(DEFAULT_METRICS[kind])  # type: ignore[index]
    config.inputs = {plan.name: plan.kind for plan in plans if plan.role in ("input", "unused")}
    print("# multiloss fit THIS_FILE [key=value ...]    every key but table and outputs may be left out")
    print("\n".join(_lines(config, "", reasons)))


def _lines(part: BaseModel, indent: str, reasons: dict[str, str]) -> list[str]:
    from pydantic import BaseModel

    lines = []
    for name, field in type(part).model_fields.items():
        value, meaning = getattr(part, name), field.description or ""
        if isinstance(value, BaseModel):
            lines += [_line(f"{indent}{name}:", meaning), *_lines(value, f"{indent}  ", reasons)]
        elif name == "outputs" and not indent:
            lines.append(_line("outputs:", meaning))
            for output, own in value.items():
                lines.append(_line(f"  {_plain(output)}:", reasons[output]))
                lines += _lines(own, "    ", reasons)
        elif name == "inputs" and not indent:
            lines.append(_line("inputs:", meaning))
            lines += [_line(f"  {_plain(column)}: {kind}", reasons[column]) for column, kind in value.items()]
        else:
            lines.append(_line(f"{indent}{name}: {_plain(value)}", meaning))
    return lines


def _line(text: str, comment: str) -> str:
    comment = " ".join(comment.split())
    return f"{text:<{COMMENT_COLUMN}}# {comment}" if comment else text


def _plain(value: Any) -> str:
    """Return a value in one line of YAML."""
    from multiloss.config.yaml_text import to_yaml

    text = to_yaml([value], width=10**6).strip()
    return text.removeprefix("- ") if text.startswith("- ") else text[1:-1]
