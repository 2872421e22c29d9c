"""The numbers in the figures are those of the records."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from report_records import account, broken, flow, flow_of, run

from multiloss.core.flow import LayerFlow
from multiloss.core.records import LedgerRecord, TermRecord
from multiloss.objective.metric_registry import ALIASES, METRICS
from multiloss.report.bands import Band, bands, stages
from multiloss.report.curves import FALLING, RISING, Digest
from multiloss.report.figure_conflicts import conflicts
from multiloss.report.figure_contributions import MOST_EPOCHS, contributions, stack
from multiloss.report.figure_equation import MOST_ADDENDS, equation, waterfall
from multiloss.report.figure_flow import flow_figure, palette, sankey, shares_figure
from multiloss.report.figure_outputs import outputs
from multiloss.report.figure_weights import label_counts, labels, weight_curves, weights
from multiloss.report.parts import Figure
from multiloss.report.thin import spaced, thin

NAMES = ["price", "kind", "rooms"]


def test_every_bar_of_the_waterfall_begins_where_the_one_before_ended() -> None:
    record = account({"price": 0.5, "kind": 2.0}, weights={"price": 3.0, "kind": 0.2}, penalty=0.1)
    bars = waterfall(record, {"price": "@0", "kind": "@1"}).data[0]
    assert bars["text"] == ["price", "kind", "l2/trunk.0.weight", "total"]
    assert bars["x"] == pytest.approx([1.5, 0.4, 0.1, 2.0])
    assert bars["base"] == pytest.approx([0.0, 1.5, 1.9, 0.0])
    assert bars["x"][-1] == record.total and math.fsum(bars["x"][:-1]) == pytest.approx(record.total, abs=1e-15)
    assert bars["marker"]["color"] == ["@0", "@1", "@penalty", "@ink"]
    assert bars["marker"]["pattern"]["shape"] == ["", "", "/", ""], "a penalty is told apart without its colour"


def test_a_waterfall_of_many_outputs_adds_up_the_smallest() -> None:
    record = account({f"o{i}": float(i) for i in range(1, 41)})
    bars = waterfall(record, {}).data[0]
    assert bars["text"][0] == "o40" and bars["text"][-2] == "28 other outputs" and len(bars["x"]) == MOST_ADDENDS + 2
    assert bars["x"][-2] == sum(range(1, 29)) and bars["x"][-1] == sum(range(1, 41))


def test_a_remainder_and_an_absent_label_are_in_the_waterfall() -> None:
    terms = (
        TermRecord("a", "loss", -0.5, 1.0, 1.0, -0.5, -0.5, 3),
        TermRecord("b", "loss", None, 1.0, 1.0, 0.0, 0.0, 0),
        TermRecord("unexplained", "unexplained", None, 1.0, 1.0, 1.5, 1.5, None),
    )
    panel = waterfall(LedgerRecord(1.0, terms, 1, epoch=1, split="train"), {"a": "@0", "b": "@1"})
    assert panel.data[0]["x"] == [-0.5, 0.0, 1.5, 1.0] and panel.data[0]["base"] == [0.0, -0.5, -0.5, 0.0]
    assert panel.data[0]["marker"]["color"][2] == "@unexplained"
    assert panel.layout["xaxis"]["range"] == [-0.5, 1.0], "negative contributions are in sight"
    assert any("no label" in note["text"] for note in panel.layout["annotations"])


def test_what_is_not_a_number_has_no_bar_and_no_zero() -> None:
    own = Digest(broken(run(NAMES, 4), "kind", 3))
    figure = equation(own)
    bars, notes = figure.panels[0].data[0], [note["text"] for note in figure.panels[0].layout["annotations"]]
    known = own.splits["train"][-1]["rooms"].contribution
    assert bars["text"][:3] == ["kind", "rooms", "price"] and bars["x"][:2] == [None, known] and bars["x"][-1] is None
    assert bars["base"][1:3] == [0.0, known], "the others begin where they would without it"
    assert notes.count("<b>not a number</b>") == 2, "of the term and of the total"
    assert "<b>kind</b>  1 × not a number" in notes and not [text for text in notes if "0.0000" in text]
    assert "total not a number: kind not a number (-)" in figure.panels[0].alt
    assert figure.table is not None
    line = figure.table.rows[1]
    assert line == ["kind", "training", "not a number", "1", "1", "not a number", "-", "100"]


def test_epochs_that_are_not_a_number_are_not_in_the_stack() -> None:
    figure = contributions(Digest(broken(run(NAMES, 6), "kind", 5)))
    *areas, total = figure.panels[0].data
    assert [area["name"] for area in areas] == [*NAMES, "penalties"]
    assert all(area["x"] == [1, 2, 3, 4] and None not in area["y"] for area in areas)
    assert total["x"] == [1, 2, 3, 4, 5, 6] and total["y"][4:] == [None, None]
    assert figure.notes == ["Epochs that are not a number in training, and are not drawn: 2."]
    assert figure.table is not None and figure.table.rows[1][0] == "kind" and figure.table.rows[1][2] == "not a number"
    assert "not a number at epoch 6" in figure.panels[0].alt


def test_a_waterfall_beside_another_has_its_order() -> None:
    first, other = account({"a": 1.0, "b": 3.0}), account({"a": 4.0, "b": 2.0, "c": 1.0})
    assert waterfall(other, {}).data[0]["text"] == ["a", "b", "c", "total"]
    assert waterfall(other, {}, like=first).data[0]["text"] == ["b", "a", "c", "total"]


def test_the_first_equation_is_that_of_the_last_epoch_and_the_kept_one_can_be_chosen() -> None:
    figure = equation(Digest(run(NAMES, 30, facts={"kept": {"epoch": 17, "why": "best"}})))
    assert figure.options[0].label == "epoch 30, training"
    assert "epoch 17 (kept), training" in [option.label for option in figure.options]
    assert len({option.label for option in figure.options}) == len(figure.options)


@pytest.mark.parametrize("count", [3, 8, 9, 40])
def test_the_stack_adds_up_to_the_total_at_every_epoch(count: int) -> None:
    own = Digest(run([f"o{i}" for i in range(count)], 60, moving=True))
    totals = {record.epoch: record.total for record in own.splits["train"]}
    panel = stack(own.splits["train"], own.colours, shares=False)
    *areas, line = panel.data
    assert len(areas) == min(count, 8) + (count > 8) + 1  # the penalties are one layer
    for i, epoch in enumerate(line["x"]):
        assert math.fsum(area["y"][i] for area in areas) == pytest.approx(totals[epoch], rel=1e-12)
        assert line["y"][i] == totals[epoch]
    shares = stack(own.splits["train"], own.colours, shares=True).data
    assert all(sum(area["y"][i] for area in shares) == pytest.approx(1.0) for i in range(60))


def test_a_long_stack_says_that_it_is_thinned_and_keeps_ends_and_extremes() -> None:
    made = run(["a"], 3000, steps=0)
    spike = account({"a": 99.0}, epoch=1234)
    made = replace(made, ledgers=[spike if r.epoch == 1234 and r.split == "train" else r for r in made.ledgers])
    figure = contributions(Digest(made))
    epochs = figure.panels[0].data[0]["x"]
    assert len(epochs) <= MOST_EPOCHS and {1, 1234, 3000} <= set(epochs) and "Of 3,000 epochs" in figure.notes[0]


def test_thinning() -> None:
    wave = [math.sin(i / 50) for i in range(10_000)]
    kept = thin(wave, 300)
    assert len(kept) <= 300 and kept[0] == 0 and kept[-1] == 9999 and kept == sorted(set(kept))
    assert max(wave) in [wave[i] for i in kept] and min(wave) in [wave[i] for i in kept]
    assert max(b - a for a, b in pairwise(kept)) < 3 * 10_000 / 149, "no stretch is left out"
    assert thin([None] * 50, 10) == [0, 49] and thin([], 10) == []
    assert spaced(1000, 5) == [0, 250, 500, 749, 999]


def into(links: list[Band], end: tuple[str, str]) -> float:
    return math.fsum(link.width for link in links if link.target == end and link.loss != "penalty")


def out_of(links: list[Band], end: tuple[str, str]) -> float:
    return math.fsum(link.width for link in links if link.source == end)


def test_the_bands_into_a_layer_are_the_shares_of_the_norms_there() -> None:
    one = flow(["a", "b"])  # norms 1 and 2 in layer 0, 2 and 4 in layer 2
    links = bands(one, {"a", "b"})
    assert {(link.source, link.target): link.width for link in links} == pytest.approx(
        {
            (("loss", "a"), ("head", "a")): 1 / 3,
            (("loss", "b"), ("head", "b")): 2 / 3,
            (("head", "a"), ("layer", "1")): 1 / 3,
            (("head", "b"), ("layer", "1")): 2 / 3,
            # both losses go on from layer 1 to layer 0: the same ends, so that the sum of this key is not checked here
            (("layer", "1"), ("layer", "0")): 2 / 3,
        }
    )
    assert [link.width for link in links if link.target == ("layer", "0")] == pytest.approx([1 / 3, 2 / 3])


def test_what_enters_a_layer_leaves_it_also_where_layers_are_partly_shared() -> None:
    one = flow_of(
        [
            LayerFlow("stem", 10, ("a", "b", "c"), {"a": 1.0, "b": 2.0, "c": 5.0}),
            LayerFlow("left", 10, ("a", "b"), {"a": 3.0, "b": 1.0}),
            LayerFlow("right", 10, ("b", "c"), {"b": 0.5, "c": 0.5, "penalty": 0.25}),
        ]
    )
    links = bands(one, {"a", "b", "c"})
    for end in [("layer", "1"), ("head", "a"), ("head", "b"), ("head", "c")]:
        assert into(links, end) == pytest.approx(out_of(links, end)) and into(links, end) > 0
    assert into(links, ("layer", "0")) == pytest.approx(1.0)
    for i, shares in enumerate([{"a": 1 / 8, "b": 2 / 8, "c": 5 / 8}, {"a": 0.75, "b": 0.25}, {"b": 0.5, "c": 0.5}]):
        widths = {link.loss: link.width for link in links if link.target == ("layer", str(i))}
        total = into(links, ("layer", str(i)))
        assert {name: widths[name] / total for name in shares} == pytest.approx(shares)
        assert {link.loss: link.share for link in links if link.target == ("layer", str(i))} == pytest.approx(
            shares | ({"penalty": 0.2} if i == 2 else {})
        )


def test_a_penalty_acts_on_a_layer_and_passes_nothing_on() -> None:
    links = bands(flow(["a", "b"], penalty=True), {"a", "b"})
    own = [link for link in links if link.loss == "penalty"]
    assert [link.target for link in own] == [("layer", "0"), ("layer", "1")]
    assert [link.width for link in own] == pytest.approx([0.5 / 3, 0.5 / 6]), "beside losses of width 1"
    assert [link.share for link in own] == pytest.approx([0.5 / 3.5, 0.5 / 6.5])
    assert into(links, ("layer", "1")) == pytest.approx(out_of(links, ("layer", "1")))


def test_many_layers_are_drawn_in_groups_and_many_losses_together() -> None:
    names = [f"o{i}" for i in range(12)]
    one = flow(names, layers=[f"block.{i}" for i in range(20)])
    drawn = set(names[4:])
    line = stages(one, drawn)
    assert len(line) == 8 and line[0].name == "block.0 to block.1" and sum(stage.parameters for stage in line) == 21000
    first = {name: math.hypot(one.layers[0].norms[name], one.layers[1].norms[name]) for name in names}
    assert line[0].norms == pytest.approx(
        {name: first[name] for name in drawn} | {"other losses": sum(first[name] for name in names[:4])}
    )
    links = bands(one, drawn)
    assert into(links, ("layer", "0")) == pytest.approx(1.0)
    assert not [link for link in links if link.target == ("head", "other losses")]


def test_a_layer_without_any_gradient_is_not_drawn() -> None:
    one = flow_of([LayerFlow("dead", 5, ("a", "b"), {"a": 0.0, "b": 0.0}), LayerFlow("live", 5, ("a",), {"a": 1.0})])
    assert [stage.name for stage in stages(one, {"a", "b"})] == ["live"]


def test_the_sankey_draws_the_bands_in_the_colours_of_the_outputs() -> None:
    own = Digest(run(NAMES, 5))
    links = bands(own.flows[-1], palette(own))
    panel = sankey(own.flows[-1], palette(own))
    node, link = panel.data[0]["node"], panel.data[0]["link"]
    assert link["value"] == [one.width for one in links]
    assert "head of price" in node["label"] and "trunk.layers.0" in node["label"] and "penalties" in node["label"]
    assert link["color"][0] == "@0/45" and node["color"][node["label"].index("kind")] == own.colours["kind"] == "@1"
    assert panel.upright is not None and set(panel.upright["labels"]) == {"", "trunk.layers.0", "trunk.layers.2"}


def test_the_shares_over_the_steps_fill_the_height() -> None:
    own = Digest(run(NAMES, 5, steps=9))
    areas = shares_figure(own).panels[0].data
    assert areas[0]["x"] == [100 * i for i in range(9)] and [area["name"] for area in areas] == [*NAMES, "penalties"]
    for i, one in enumerate(own.flows):
        assert [area["y"][i] for area in areas] == pytest.approx(list(one.norm_shares.values()))
        assert sum(area["y"][i] for area in areas) == pytest.approx(1.0)


def test_first_and_last_shares_are_in_a_table_and_the_keys_have_the_fill_of_their_areas() -> None:
    own = Digest(run(["a", "b"], 5, steps=2, penalty=0))  # norms 1 and 2 in each layer, later 0.1 more
    figure = shares_figure(own)
    assert figure.table is not None and figure.table.columns == ["loss", "step 0 (epoch 1)", "step 100 (epoch 2)"]
    a, b = (math.hypot(n + 0.1, 2 * n + 0.1) for n in (1, 2))
    assert figure.table.rows[0] == ["a", "33.3\xa0%", f"{100 * a / (a + b):.1f}\xa0%"]
    both = Digest(run(["a", "b"], 5))
    assert [key.style for key in flow_figure(both).keys] == ["area", "area", "area"], "its bands are plain"
    assert [key.style for key in shares_figure(both).keys] == ["area", "area", "hatched"]


def test_the_flow_can_be_chosen_by_step_the_last_first() -> None:
    figure = flow_figure(Digest(run(NAMES, 5, steps=30)))
    assert figure.options[0].label == "step 2,900 (epoch 30)" and figure.options[-1].label == "step 0 (epoch 1)"
    assert figure.notes == ["8 of 30 watched steps can be chosen."]


def test_curves_are_the_records() -> None:
    made = run(NAMES, 20)
    figure = outputs(Digest(made))
    assert [figure.panels[i].title for i in figure.options[0].panels] == [
        f"{name} · {measure}" for name in NAMES for measure in ("loss", "mae")
    ]
    loss, mae = figure.panels[2].data, figure.panels[3].data
    train = [float(f"{record['kind'].value:.7g}") for record in made.split("train")]
    assert loss[0]["y"] == train and loss[0]["line"]["dash"] == "solid" and loss[1]["line"]["dash"] == "dash"
    assert mae[1]["y"] == [float(f"{row['val_kind_mae']:.7g}") for row in made.history]
    assert loss[0]["line"]["color"] == mae[1]["line"]["color"] == "@1"


def test_many_outputs_show_the_largest_first_and_offer_all() -> None:
    names = [f"o{i}" for i in range(40)]
    figure = outputs(Digest(run(names, 12)))
    first = [figure.panels[i].title for i in figure.options[0].panels]
    assert first[0] == "o39 · loss" and len(first) == 12 and len(figure.options) == 41
    assert any("12 of 40 outputs are shown at first" in note for note in figure.notes)


def test_a_name_that_begins_like_another_keeps_its_own_metrics() -> None:
    made = run(["a", "a_b"], 3)
    for row in made.history:
        row |= {"a_b_acc": 0.5, "val_a_acc": 0.25, "other": 1.0}
    found = Digest(made).measures
    assert set(found["a"]) == {"loss", "mae", "acc"} and set(found["a_b"]) == {"loss", "mae", "acc"}
    assert found["a"]["acc"]["validation"].values == [0.25] * 3 and found["a_b"]["acc"]["train"].values == [0.5] * 3


def test_the_heat_map_holds_the_cosines_and_a_gap_where_a_loss_was_absent() -> None:
    made = run(["a", "b", "c"], 3, steps=2)
    only = flow(["a", "b"], step=200)
    figure = conflicts(Digest(replace(made, flows=[*made.flows, only])))
    assert figure is not None
    heat = figure.panels[0].data[0]
    assert heat["x"] == [0, 100, 200] and heat["zmin"] == -1 and heat["zmax"] == 1
    rows = dict(zip([note["text"] for note in figure.panels[0].layout["annotations"]], heat["z"], strict=True))
    assert rows == {"a · c": [-0.5, -0.5, None], "a · b": [0.5, 0.5, 0.5], "b · c": [0.5, 0.5, None]}
    assert [option.label for option in figure.options] == ["all pairs", "pairs of a", "pairs of c", "pairs of b"]
    assert conflicts(Digest(run(["a"], 3))) is None


def test_weights_are_the_products() -> None:
    own = Digest(run(["a", "b"], 12, weights={"a": 2.0}, moving=True))
    figure = weights(own, weight_curves(own))
    assert figure.panels[0].data[0]["y"] == pytest.approx([2.0 * (1 + epoch / 10) for epoch in range(1, 13)])
    assert figure.panels[0].data[1]["y"] == pytest.approx([1 + epoch / 11 for epoch in range(1, 13)])


def test_label_counts() -> None:
    ledgers = [
        account({"a": 1.0, "b": 1.0}, counts={"a": 90, "b": 4}),
        account({"a": 1.0, "b": 1.0}, counts={"a": 30, "b": 1}, split="validation"),
    ]
    own = Digest(replace(run(["a"], 1), ledgers=ledgers))
    assert label_counts(own) == {"train": {"a": 90, "b": 4}, "validation": {"a": 30, "b": 1}}
    figure = labels(own)
    assert figure.panels[1].data[0]["x"] == [30, 1] and figure.options[1].label == "validation"


def colours_in(value: Any, found: dict[str, set[str]], names: list[str]) -> None:
    for trace in value:
        name = trace.get("name")
        if name in names:
            found.setdefault(name, set()).add(trace["line"]["color"].split("/")[0])


@pytest.mark.parametrize("count", [3, 30])
def test_an_output_has_one_colour_in_all_figures(count: int) -> None:
    names = [f"o{i}" for i in range(count)]
    own = Digest(run(names, 12, moving=True))
    figures: list[Figure] = [contributions(own), shares_figure(own), weights(own, weight_curves(own))]
    found: dict[str, set[str]] = {}
    for figure in figures:
        for panel in figure.panels:
            colours_in(panel.data, found, names)
    for figure in (outputs(own),):
        for option in figure.options[1:]:
            if own.colours[option.label] != "@other":
                drawn = {trace["line"]["color"] for i in option.panels for trace in figure.panels[i].data}
                found.setdefault(option.label, set()).update(drawn)
    assert len(found) == min(count, 8)
    assert all(colours == {own.colours[name]} for name, colours in found.items())
    assert len({own.colours[name] for name in found}) == len(found)


def test_which_measures_should_fall_is_what_the_metrics_say() -> None:
    rising = {name: METRICS[ALIASES.get(name, name)].rising for name in [*METRICS, *ALIASES]}
    assert {name for name, up in rising.items() if not up} | {"loss"} == FALLING
    assert {name for name, up in rising.items() if up} == RISING
