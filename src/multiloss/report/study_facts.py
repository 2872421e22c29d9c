"""What several parts of a study's page need of its data: names, colours, links."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from multiloss.core.records import digits, tenths
from multiloss.report.figure_outputs import MOST_PANELS
from multiloss.report.labels import listed
from multiloss.report.parts import Key, Link, Option

FIRST = {"shared": "@run0", "separate": "@run5", "separate-narrow": "@run2"}
FURTHER = ("@run1", "@run3", "@run4")
BASE = "separate"
HIGHER = "accuracy"
"""The score of a row of which more is better."""


class Facts:
    """The data of a study, by what is asked of it.

    Args:
        study: As `multiloss.studies.page.study_data` returns it.
        base: What stands before every link, where the page does not lie in the study's folder.
    """

    def __init__(self, study: Mapping[str, Any], base: str = "") -> None:
        self.study, self.base = study, base
        self.settings: Mapping[str, Any] = study["settings"]
        self.verdict: Mapping[str, Any] = study["verdict"]
        self.outputs: list[str] = list(self.settings["outputs"])
        self.variants: list[str] = list(self.settings["variants"])

    @cached_property
    def colours(self) -> dict[str, str]:
        """A colour for each variant, the same in all figures."""
        rest = [variant for variant in self.variants if variant not in FIRST]
        return FIRST | {variant: FURTHER[i % len(FURTHER)] for i, variant in enumerate(rest)}

    def keys(self, variants: Sequence[str]) -> list[Key]:
        """Return the legend of some variants."""
        return [Key(variant, self.colours[variant], "line") for variant in variants]

    def links(self, variant: str, output: str) -> list[Link]:
        """Return a link to each run of a variant that trains an output, by its seed."""
        own = [run for run in self.study["runs"] if run["variant"] == variant and output in run["outputs"]]
        return [Link(str(run["seed"]), self.base + run["link"], _told(run)) for run in own]

    def models(self, variant: str) -> list[tuple[str, ...]]:
        """Return the outputs of each model of a variant."""
        return list(dict.fromkeys(tuple(run["outputs"]) for run in self.study["runs"] if run["variant"] == variant))

    def all_links(self, variants: Sequence[str] = ()) -> list[tuple[str, list[Link]]]:
        """Return the links of some variants or of all, those of single outputs apart."""
        return [
            (
                f"{variant}, {listed(names)}" if len(names) < len(self.outputs) else variant,
                self.links(variant, names[0]),
            )
            for variant in variants or self.variants
            for names in self.models(variant)
        ]

    def scored(self, output: str, measure: str, variant: str) -> Mapping[str, Any] | None:
        """Return mean, interval and seeds of one score."""
        return self._scores.get((output, measure, variant))

    @cached_property
    def _scores(self) -> dict[tuple[str, str, str], Mapping[str, Any]]:
        return {(own["output"], own["measure"], own["variant"]): own for own in self.study["scores"]}


def choices(panels: Mapping[str, list[int]]) -> list[Option]:
    """Return all panels as a choice, where they are not too many, then those of each output.

    Examples:
        >>> [option.label for option in choices({"price": [0], "kind": [1]})]
        ['all outputs', 'price', 'kind']
    """
    numbers = [number for own in panels.values() for number in own]
    options = [Option(output, own, "One output") for output, own in panels.items()]
    if len(numbers) > MOST_PANELS:
        first = [own[0] for own in panels.values()][:MOST_PANELS]
        return [Option(f"{len(first)} of {len(panels)} outputs", first), *options]
    return [Option("all outputs", numbers), *options]


def _told(run: Mapping[str, Any]) -> str:
    return f"run {run['name']}" + (", which diverged" if run["problem"] is not None else "")


def ends_of(own: Mapping[str, Any]) -> str:
    """Return the ends of an interval of a gain.

    Examples:
        >>> ends_of({"low": -1.24, "high": 4.66}), ends_of({"low": None, "high": None})
        ('-1.2 to 4.7', 'no interval')
    """
    if own["low"] is None or own["high"] is None:
        return "no interval"
    return f"{tenths(own['low'])} to {tenths(own['high'])}"


def score(own: Mapping[str, Any] | None) -> str:
    """Return a mean and its interval, with three digits, or two of what is uncertain.

    Examples:
        >>> score({"mean": 3.15432, "low": 2.93541, "high": 3.37323}), score({"mean": 0.5, "low": None, "high": None})
        ('3.15 (2.94 to 3.37)', '0.5000')
    """
    if own is None or own["mean"] is None:
        return "-"
    if own["low"] is None or own["high"] is None or own["low"] == own["high"]:
        return digits(own["mean"])
    half = (own["high"] - own["low"]) / 2
    places = max(1 - math.floor(math.log10(half)), 2 - math.floor(math.log10(max(abs(own["mean"]), half))))
    if not 0 <= places <= 6:
        return f"{digits(own['mean'])} ({digits(own['low'])} to {digits(own['high'])})"
    return f"{own['mean']:,.{places}f} ({own['low']:,.{places}f} to {own['high']:,.{places}f})"


def signed(value: float | None, unit: str) -> str:
    """Return a gain as it stands alone.

    Examples:
        >>> signed(23.79, "%"), signed(-0.012, "points"), signed(None, "%")
        ('+23.8 %', '-0.012 points', '-')
    """
    if value is None:
        return "-"
    return f"{'+' if value >= 0 else ''}{tenths(value)} {unit}".rstrip()
