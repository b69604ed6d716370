import html
import itertools
import json
import math
import re
import xml.etree.ElementTree as ET
from copy import deepcopy
from html.parser import HTMLParser

import numpy as np
import pytest

from mobclip.evaluation import document, figures
from mobclip.evaluation.document import Cell, Code, Column, Paragraph, Strong, Table
from mobclip.evaluation.report import (
    _SECTIONS,
    differences,
    head,
    retrieval,
    summary,
    write_report,
)
from mobclip.evaluation.report.results import Results
from mobclip.evaluation.report.words import finite, fixed, signed

RUNS = ("propagated", "pca", "mobclip-paper", "coordinates")
NUMBERS = {"POP": 0.9, "INC": 0.8, "AGE": 0.7, "ENE": 0.6}


def made():
    """A results.json with a bit of everything, as `mobclip evaluate` writes it."""
    targets = {
        name: {
            "title": f"Title of {name}",
            "unit": "people",
            "level": "cell" if name == "POP" else "tracts",
            "kind": "number",
            "classes": [],
            "n": 400 if name == "POP" else 90,
            "transform": "log1p",
            "ceiling": ceiling,
            "note": "",
        }
        for name, ceiling in NUMBERS.items()
    }
    other = {"binary": "auc", "class": "f1", "composition": "skill"}
    for kind in other:
        targets[kind] = {**targets["INC"], "title": f"A {kind}", "kind": kind, "ceiling": None}
    targets["class"]["classes"] = ["rural", "urban", "other"]
    scores = []
    for place, run in enumerate(RUNS):
        for protocol, shift in (("blocks", 0.0), ("random", 0.1), ("regions", -0.05)):
            row = {"run": run, "probe": "ridge", "protocol": protocol, "n": 90, "spread": 0.01}
            for number, name in enumerate(NUMBERS):
                mean = 0.7 - 0.25 * place - 0.1 * number + shift
                interval = {"low": mean - 0.1, "high": mean + 0.1}
                scores.append({**row, "target": name, "metric": "r2", "mean": mean, **interval})
                scores.append({**row, "target": name, "metric": "rmse", "mean": 1234.5})
            scores += [
                {**row, "target": kind, "metric": metric, "mean": 0.9 - 0.2 * place}
                for kind, metric in other.items()
            ]
    ladder = []
    for place, run in enumerate(RUNS):
        line = {"run": run, "dims": 128}
        for protocol, shift in (("blocks", 0.0), ("random", 0.1), ("regions", -0.05)):
            mean = 0.55 - 0.25 * place + shift
            line |= {
                protocol: mean,
                f"{protocol}_spread": 0.01,
                f"{protocol}_low": mean - 0.02,
                f"{protocol}_high": mean + 0.02,
            }
        ladder.append(line)
    differences = [
        {"run": run, "against": against, "protocol": "blocks", "difference": d, "low": d - 0.05,
         "high": d + 0.05}
        for run, against, d in (
            ("propagated", "pca", 0.25), ("pca", "propagated", -0.25),
            ("mobclip-paper", "propagated", -0.5), ("coordinates", "propagated", -0.75),
        )
    ]  # fmt: skip
    curve = [[share, share**0.3] for share in (0, 0.001, 0.01, 0.1, 0.5, 1)]
    change = {"blocks": -0.1, "random": -0.1, "low": -0.15, "high": -0.05}
    point = {"spread": 0.01, "seconds": 1.5, "peak_mb": 300.0, "parameters": 1000}
    law = {"a": 2.0, "b": 0.25, "c": 0.0, "low": 0.2, "high": 0.3, "ceiling": 1.0,
           "form": "a * x^(-b)", "verdict": "the error falls"}  # fmt: skip
    return {
        "place": "somewhere",
        "title": "Somewhere",
        "resolution": 8,
        "cells": 1234,
        "generated": True,
        "seeds": [0, 1, 2],
        "folds": 5,
        "mobclip": "9.9",
        "targets": targets,
        "left_out": {"tiny": "12 labelled units; 5 folds need 20"},
        "runs": {
            run: {
                "dims": 128,
                "about": f"about {run}",
                "training_free": run != "mobclip-paper",
                "probe": "ridge",
                "external": False,
            }
            for run in RUNS
        },
        "scores": scores,
        "ladder": ladder,
        "differences": differences,
        "warnings": ["`propagated`, which is not trained, beats `mobclip-paper`."],
        "probes": [
            {"run": run, "probe": probe, "target": name, "protocol": "blocks", "metric": "r2",
             "mean": mean, "spread": 0.0}
            for run in RUNS[:2] for probe, mean in (("ridge", 0.5), ("neighbours", 0.4))
            for name in NUMBERS
        ],
        "paper": [{"run": "pca", "target": "POP", "level": "grid", "probe": "lightgbm",
                   "r2": 0.77, "rmse": 3.0, "n": 400}],
        "conformal": [{"run": "pca", "target": name, "level": 0.9, "coverage": 0.88, "width": 2.0,
                       "n": 90} for name in NUMBERS],
        "flows": [{"run": run, "task": "flows", "r2": r2, "ndcg10": 0.5, "cpc": 0.6, "n": 777,
                   "spread": {"r2": 0.02, "ndcg10": None, "cpc": None}}
                  for run, r2 in (("pca", 0.4), ("gravity", 0.3))],
        "retrieval": {
            "text": [
                {"query": query, "run": run, "area_under": under, "area_under_share": 0.9,
                 "null": 0.61, "null_share": None, "curve": curve}
                for query, run, under in (("harbour", "pca", 0.77), ("farm", "pca", 0.79),
                                          ("harbour", "mobclip-paper", 0.88))
            ],
            "ways": [{"run": "pca", "way": "direction, cosine", "area_under": 0.87,
                      "area_under_share": 0.9, "null": 0.6, "null_share": 0.5, "n": 2}],
            "own": [
                {"run": run, "of": "words", "way": "towers", "seen": True, "recall1": 0.1,
                 "recall10": recall, "recall100": 0.9, "null10": 0.05, "chance10": 0.04, "n": 50,
                 "candidates": 240}
                for run, recall in (("pca", 0.625), ("mobclip-paper", 0.125))
            ],
            "not_applicable": [{"run": "coordinates", "of": "words", "why": "it has no map"}],
            "twins": [{"run": "pca", "recall1": 0.1, "recall10": 0.5, "recall100": 0.9, "n": 40}],
            "hierarchy": [{"run": "pca", "map": 0.25, "chance": 0.01, "n": 1000}],
        },
        "leakage": [{"target": "POP", "column": "people", "modality": "demographics",
                     "near_copy": True, "r2_column": 0.85, "r2": 0.9, "r2_without": 0.6,
                     "removed": [f"demographics: hist {i}" for i in range(9)]}],
        "ablation": {"pca": {"rows": [
            {"study": "full", "what": "pca", "blocks": 0.5, "blocks_spread": 0.01, "random": 0.6,
             "random_spread": 0.01},
            {"study": "modality-removed", "what": "poi", "blocks": 0.4, "blocks_spread": 0.01,
             "random": 0.5, "random_spread": 0.01, "difference": change},
        ], "gains": [{"modality": "poi", "first": 0.2, "last": 0.1}]}},
        "subsets": subsets(),
        "scaling": {"pca": {"axes": {"cells": {
            "unit": "cells", "law": law,
            "points": [{**point, "x": x, "blocks": 1 - 2 * x**-0.25} for x in (100, 1000, 10000)],
        }}}},
        "transfer": [{"source": "elsewhere", "place": "somewhere", "run": "shared", "target": "POP",
                      "r2": -0.2, "r2_shifted": 0.1, "r2_within": 0.6, "n": 400}],
        "licences": {"census": "CC-BY <4.0>"},
        "a key of tomorrow": {"is": "ignored"},
    }  # fmt: skip


def subsets():
    """A subsets.json of one modality."""
    lost = {"against": "unseen", "blocks": -0.05, "low": -0.09, "high": -0.01}
    row = {"blocks_spread": 0.01, "per_seed": [0.4], "difference": lost, "cosine_spread": 0.01,
           "recall1": 0.3, "recall10": 0.7, "recall100": 0.95, "chance10": 0.04, "n": 649,
           "candidates": 238}  # fmt: skip
    return {
        "recipe": "mobclip",
        "seeds": [0, 1],
        "folds": 5,
        "targets": ["POP", "INC"],
        "random_cosine": 0.12,
        "cells": [
            {"what": "seen", "blocks": 0.42, "blocks_spread": 0.01},
            {"what": "unseen", "blocks": 0.4, "blocks_spread": 0.01,
             "difference": {**lost, "blocks": -0.02}},
        ],
        "missing": [
            {**row, "modality": "poi", "state": state, "network": network, "cosine": cosine,
             "blocks": blocks}
            for state, network, cosine, blocks in (
                ("hidden", True, 0.93, 0.39), ("hidden", False, 0.94, 0.36),
                ("gone", True, 0.9, 0.38), ("gone", False, 0.91, 0.385),
                ("only", True, 0.61, 0.2), ("only", False, 0.5, 0.06),
            )
        ],
        "tokens": [{"run": "mobclip", "of": "words", "way": "towers", "seen": False,
                    "recall1": 0.4, "recall10": 0.75, "recall100": 0.99, "null10": 0.06,
                    "chance10": 0.04, "n": 649, "candidates": 238}],
    }  # fmt: skip


SECTIONS = {
    "ladder": "ladder",
    "scores": "targets",
    "differences": "differences",
    "probes": "probes",
    "conformal": "conformal",
    "flows": "flows",
    "retrieval": "retrieval",
    "leakage": "leakage",
    "ablation": "ablation",
    "subsets": "subsets",
    "scaling": "scaling",
    "transfer": "transfer",
    "paper": "paper",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "evaluation"
    write_report(json.loads(json.dumps(made())), folder)
    return (folder / "report.html").read_text("utf-8"), (folder / "tables.md").read_text("utf-8")


@pytest.fixture
def undrawn(monkeypatch):
    """Without figures, which take most of the time."""
    blank = figures.Drawing(wide="<svg></svg>")
    monkeypatch.setattr(figures, "dot_plot", lambda *args, **settings: blank)
    monkeypatch.setattr(figures, "curve_plot", lambda *args, **settings: blank)


class Page(HTMLParser):
    """Tags of a page, and whether each that opens is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "path", "use"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in ("path", "use"):
            assert self.open.pop() == tag


def written(results, folder):
    write_report(results, folder)
    return (folder / "report.html").read_text("utf-8"), (folder / "tables.md").read_text("utf-8")


def said(name, results):
    """One section as Markdown, without the page around it; the titles of its figures too."""
    blocks = next(make for one, _, make in _SECTIONS if one == name)(Results(results))
    lines = [document.block_markdown(one) for one in blocks]
    flat = itertools.chain.from_iterable(getattr(one, "blocks", [one]) for one in blocks)
    titles = [document.plain(one.title) for one in flat if isinstance(one, document.Figure)]
    return "\n\n".join([*titles, *lines])


def sections(page):
    return [attrs["id"] for tag, attrs in Page(page).tags if tag == "section"]


# ---- the page --------------------------------------------------------------------------------


def test_the_page_needs_nothing_but_itself(report):
    page = Page(report[0])
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "image", "foreignobject"}
    for _, attrs in page.tags:
        assert not {name for name in attrs if name.startswith("on")} - {"onset"}
        for name in ("src", "href", "xlink:href"):
            assert attrs.get(name, "#").startswith("#")
    outside = re.sub(r'xmlns(:xlink)?="[^"]*"', "", report[0])
    assert "//" not in outside  # no address, in the styles neither
    assert "@import" not in outside


def test_names_within_the_page_are_unique_and_links_lead_somewhere(report):
    page = Page(report[0])
    names = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(names) == len(set(names))
    links = {attrs[key][1:] for _, attrs in page.tags for key in ("href", "xlink:href")
             if key in attrs}  # fmt: skip
    links |= set(re.findall(r"url\(#([^)]+)\)", report[0]))
    assert links <= set(names)


def test_figures_are_whole_and_leave_the_colours_to_the_page(report):
    drawings = re.findall(r"<svg.*?</svg>", report[0], re.DOTALL)
    assert len(drawings) > 15  # wide and narrow
    style = report[0].split("<style>")[1].split("</style>")[0]
    for svg in drawings:
        ET.fromstring(svg)
        assert not re.search(r"#[0-9a-f]{6}\b", svg)
        for name in re.findall(r"var\(--(\w+)\)", svg):
            assert f"--{name}:" in style
    described = re.findall(r'role="img" aria-label="([^"]*)"', report[0])
    assert len(described) == len(drawings)
    assert all(len(one) > 30 for one in described)


def test_every_figure_says_n_folds_and_seeds(report):
    for figure in re.findall(r"<figure>.*?</figure>", report[0], re.DOTALL):
        note = re.search(r'<p class="note">(.*?)</p>', figure)[1]
        assert re.search(r"n = [\d,]+", note), note
        assert "seed" in note, note
        assert "fold" in note or "all of them tested" in note, note


def test_sections_stand_in_the_order_of_the_questions(report):
    found = sections(report[0])
    assert found == [
        "ladder", "targets", "differences", "classes", "probes", "conformal", "flows", "retrieval",
        "leakage", "ablation", "subsets", "scaling", "transfer", "paper", "methods",
    ]  # fmt: skip
    numbers = re.findall(r"<h2>(\d+)\. ", report[0])
    assert numbers == [str(i + 1) for i in range(len(found))]


@pytest.mark.parametrize("key", SECTIONS)
def test_each_section_needs_its_own_list_and_no_other(key, undrawn):
    results, name = made(), SECTIONS[key]
    empty = type(results[key])()
    assert said(name, {**results, key: empty}) == ""
    assert said(name, {one: value for one, value in results.items() if one != key}) == ""
    assert said(name, {key: results[key]})


def test_nothing_at_all_is_still_a_report(tmp_path):
    page, tables = written({}, tmp_path)
    assert sections(page) == ["methods"]
    assert "a place" in tables


def test_numbers_that_are_none_or_nan_are_dashes(undrawn):
    results = made()
    for row in results["scores"] + results["conformal"][:1] + results["flows"][:1]:
        row.update(dict.fromkeys(("low", "spread", "coverage", "r2"), math.nan))
    results["scores"][0]["mean"] = None
    for line in results["ladder"]:
        line.update(blocks_low=None, blocks_high=None, random=None)
    for name, _, _ in _SECTIONS:
        found = said(name, results)
        assert not re.search(r"\b(nan|None)\b", found), name
    assert "| 0.550 ± 0.010 |" in said("ladder", results)  # where there is no interval


def test_the_old_report_stays_when_the_new_one_fails(tmp_path, undrawn, monkeypatch):
    before = written({"title": "Before"}, tmp_path)
    monkeypatch.setattr(figures, "dot_plot", lambda *args, **settings: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(made(), tmp_path)
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == {
        "report.html": before[0],
        "tables.md": before[1],
    }


def test_the_same_numbers_give_the_same_drawing():
    def draw():
        return figures.dot_plot(["a"], [figures.Dots(label="one", values=[0.5])], xlabel="R²")

    assert draw() == draw()


# ---- what it says ----------------------------------------------------------------------------


def test_the_headline_is_computed_from_the_numbers(report):
    for text in report:
        words = re.sub(r"<[^>]+>|`|\*\*", "", text)
        assert "propagated, which needs no training, predicts best" in words
        assert "55.0 % of the differences between places" in words
        assert "R² 0.550 [0.530, 0.570]" in words
        assert "propagated is clearly better than pca" in words
        assert "+0.250 [+0.200" not in words  # ends of an interval have no plus
        assert "difference in mean R² +0.250 [0.200, 0.300] (95 % interval, paired)" in words
        assert "best for Title of POP (0.700) and Title of INC (0.600)" in words
        assert "weakest for Title of ENE (0.400) and Title of AGE (0.500)" in words
        assert "allows no more than 0.750 on average" in words
        assert "best trained run, mobclip-paper, reaches R² 0.050" in words
        assert "1,234 H3, resolution 8" in words
        assert "5 folds, 3 seeds (0, 1, 2)" in words
        assert "tiny: 12 labelled units" in words
        assert "mobclip 9.9" in words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.4, "clearly better than"),
        (-0.01, 0.4, "not clearly different from"),
        (-0.4, -0.01, "clearly worse than"),
        (None, None, "to be compared with"),
    ],
)
def test_a_difference_is_claimed_only_where_its_interval_leaves_zero_out(low, high, words, undrawn):
    results = made()
    results["differences"][0].update(low=low, high=high)
    sentence = document.plain(differences.lead_over(Results(results)))
    assert f"`propagated` is {words} `pca`" in sentence
    title = said("differences", results).splitlines()[0]
    if low is not None and low > 0:
        assert title == "`propagated` clearly better than the best training-free run beside it"
    else:
        assert title == "No run is clearly better than the best training-free run beside it"


def test_warnings_and_the_synthetic_stamp_are_boxes(report):
    assert 'class="stamp"' in report[0]
    assert re.search(r'class="warning".*?<code>propagated</code>, which is not trained', report[0])
    assert "> **Warning.** `propagated`, which is not trained" in report[1]
    blocks = head(Results({**made(), "generated": False, "warnings": []}))
    kinds = {one.kind for one in blocks if isinstance(one, Paragraph)}
    assert kinds == {"plain"}


def test_the_ladder_is_ranked_by_blocks_however_the_rows_stand(undrawn):
    results = made()
    results["ladder"].reverse()
    ladder = said("ladder", results)
    assert ladder.startswith("`propagated` is highest on spatial blocks; random folds flatter")
    assert "flatter runs by 0.100 (median)" in ladder.splitlines()[0]
    assert re.findall(r"^\| `([\w-]+)`", ladder, re.MULTILINE) == list(RUNS)
    for line in results["ladder"]:
        line["random"] = line["blocks"] - 0.01
    assert "random folds flatter none here" in said("ladder", results)
    assert (
        "| 0.550 [0.530, 0.570] | 0.650 [0.630, 0.670] | 0.500 [0.480, 0.520] | +0.100 | 128 |"
        in ladder
    )


def test_the_heat_table_has_lightness_numbers_hatching_and_the_ceiling(report):
    heat = report[0].split('id="targets"')[1].split("<tbody>")[1].split("</tbody>")[0]
    rows = [re.findall(r'<t[dh][^>]*class="([^"]*)"[^>]*>([^<]*)', row)
            for row in heat.split("</tr>")[:-1]]  # fmt: skip
    assert [row[0][1] for row in rows] == [f"Title of {name}" for name in NUMBERS]
    for row, (number, ceiling) in zip(rows, enumerate(NUMBERS.values()), strict=True):
        assert row[1][1] == f"{ceiling:.3f}"
        values = [0.7 - 0.25 * place - 0.1 * number for place in range(len(RUNS))]
        assert [text for _, text in row[2:]] == [fixed(value) for value in values]
        for (style, _), value in zip(row[2:], values, strict=True):
            if value < 0:
                assert "below" in style
            else:
                assert f"shade{round(10 * value)}" in style.split()
            assert ("best" in style) == (value == max(values))


def test_shades_grow_with_the_score(report):
    light = report[0].split("<style>")[1]
    light = light.split("@media (prefers-color-scheme: dark) {\n  .shade")[0]
    mixed = re.findall(r"\.shade(\d+) \{ background: color-mix\(.*?(\d+)%", light)
    shares = [int(share) for _, share in mixed]
    assert [int(level) for level, _ in mixed] == list(range(1, 10))
    assert shares == sorted(set(shares))


def test_a_run_made_elsewhere_is_not_the_best_trained_run(undrawn):
    results = made()
    results["runs"]["pca"].update(training_free=False, external=True)
    found = "\n".join(map(document.block_markdown, head(Results(results))))
    assert "best trained run, `mobclip-paper`" in found
    assert re.search(r"\| `pca` \(about pca\) \|.*\| made elsewhere \|", said("ladder", results))


def test_probes_are_compared_on_the_targets_that_all_of_them_scored(undrawn):
    results = made()
    # The one probe skips the hard targets: its mean must not gain by it.
    results["probes"] = [
        {"run": "pca", "probe": probe, "target": name, "protocol": "blocks", "metric": "r2",
         "mean": mean}
        for probe, name, mean in (("ridge", "POP", 0.6), ("ridge", "ENE", 0.2),
                                  ("boosting", "POP", 0.5))
    ]  # fmt: skip
    tables = said("probes", results)
    assert "| run | `ridge` | `boosting` |" in tables
    assert "| `pca` | **0.600** | 0.500 |" in tables
    assert "1 target; n = 400 units; 5 folds, 1 seed (0)" in tables


def test_mean_of_recall_curves_is_that_of_their_interpolation():
    one, other = [[0, 0], [0.01, 0.5], [1, 1]], [[0, 0], [0.1, 0.8], [1, 1]]
    curve = retrieval._curve("pca", [{"curve": one}, {"curve": other}, {}])
    for x, y in zip(curve.x, curve.y, strict=True):
        expected = [np.interp(x, *np.transpose(each)) for each in (one, other)]
        assert y == pytest.approx(np.mean(expected))
    assert curve.x[0] == pytest.approx(0.001)
    assert retrieval._curve("pca", [{}]) is None


def test_words_are_shown_by_points_and_by_share_beside_any_other_prompt(undrawn):
    found = said("retrieval", made())
    head = "| run | by points | any other prompt, by points | by share |"
    assert head in found  # no column for what no row has
    assert "| `mobclip-paper` | **0.880** | 0.610 | **0.900** |" in found
    assert "| `pca` | 0.780 | 0.610 | **0.900** |" in found
    assert "| “farm” | – | **0.790** |" in found
    assert "| `pca` | direction, cosine | 0.870 | 0.600 | 0.900 | 0.500 | 2 |" in found


def test_a_cell_by_its_words_is_asked_of_runs_that_saw_it_and_of_models_that_did_not(undrawn):
    found = said("retrieval", made())
    lines = [line for line in found.splitlines() if "towers |" in line]
    assert [re.findall(r"`([\w-]+)`", line)[0] for line in lines] == [
        *("mobclip", "pca", "mobclip-paper"),  # best first
    ]
    assert "| no | 40.0 % | 75.0 % | 99.0 % | 6.0 % | 4.0 % | 649 | 238 |" in lines[0]
    assert "| yes |" in lines[1]
    assert "Not asked. words, coordinates: it has no map." in found


def test_new_cells_and_missing_evidence(undrawn):
    found = said("subsets", made())
    assert "`mobclip` changes by −0.020 R² where it has not seen them" in found
    assert "the network helps in 2 of 3 cases" in found
    assert "| all but its own poi; that of its neighbours | yes | 0.930 ± 0.010 |" in found
    assert "two different cells have 0.120 in the mean" in found
    assert "2 targets; n = 90 to 400 units each; 5 folds, 2 seeds (0, 1)." in found


def test_a_law_without_an_interval_above_zero_is_no_scaling(undrawn):
    results = made()
    axis = results["scaling"]["pca"]["axes"]["cells"]
    assert said("scaling", results).startswith("More cells: the error falls")
    axis["law"]["low"] = -0.1
    assert said("scaling", results).startswith("More cells: no scaling seen")
    axis.update(law=None, why="too few points")
    assert said("scaling", results).startswith("More cells: no scaling seen")
    assert "too few points" in said("scaling", results)


# ---- escaping --------------------------------------------------------------------------------

NASTY = "<script>alert('x')</script>|`$a_b$` & \\"


def renamed(value, names):
    """Every string of a nested value that is one of `names`, replaced."""
    if isinstance(value, dict):
        return {renamed(k, names) if k in names else k: renamed(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [renamed(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value


def test_strings_of_the_results_cannot_change_the_page_or_the_tables(tmp_path):
    plain = made()
    results = renamed(deepcopy(plain), {"pca": NASTY + "run", "POP": NASTY + "target"})
    results["title"] = NASTY
    results["warnings"] = [NASTY]
    results["targets"][NASTY + "target"].update(title=NASTY, unit=NASTY, note=NASTY)
    results["left_out"] = {NASTY: NASTY}
    results["licences"] = {NASTY: NASTY}
    results["retrieval"]["text"][0]["query"] = NASTY
    for row in results["ablation"][NASTY + "run"]["rows"]:
        row["what"] = NASTY
    page, tables = written(results, tmp_path)
    assert "script" not in {tag for tag, _ in Page(page).tags}
    assert html.escape("<script>alert('x')</script>") in page
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(svg)
    assert "<script" not in re.sub(r"`[^`]*`", "", tables).replace("\\<", "")
    for block in re.findall(r"(?:^\|.*\n)+", tables, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_blocks_become_the_same_markdown():
    table = Table(
        title="t",
        columns=[Column(title="run", align="left"), Column(title="R²")],
        rows=[[Code("a|b`c"), Cell(text="0.5", best=True, under="± 0.1")], ["*x* a_b _y_", "–"]],
    )
    assert document.table_markdown(table) == [
        "| run | R² |",
        "|---|---:|",
        "| `a\\|b'c` | **0.5** (± 0.1) |",
        "| \\*x\\* a_b \\_y\\_ | – |",
    ]
    text = ["see ", Code("pca"), ", ", Strong("now")]
    assert document.block_markdown(Paragraph(text=text)) == "see `pca`, **now**"


# ---- figures ---------------------------------------------------------------------------------


def marks(svg, count):
    """(x, y) of the marks of every series, in the order in which they are drawn."""
    found = []
    for group in ET.fromstring(svg).findall(".//{*}g"):
        uses = group.findall("{*}use")
        if len(uses) == count:
            found.append([(float(one.get("x")), float(one.get("y"))) for one in uses])
    return found


@pytest.mark.parametrize("which", ["wide", "narrow"])
def test_dots_stand_where_their_values_are(which):
    values = [0.7, 0.35, -0.1, 0.05, 0.2]
    other = [0.1, 0.2, 0.3, 0.4, 0.5]
    drawing = figures.dot_plot(
        list("abcde"),
        [figures.Dots(label="one", values=values), figures.Dots(label="two", values=other)],
        xlabel="R²",
        reference=0.0,
        reference_label="none",
    )
    one, two = [np.array(each) for each in marks(getattr(drawing, which), 5)]
    slope, intercept = np.polyfit(values, one[:, 0], 1)
    assert slope > 0
    np.testing.assert_allclose(slope * np.array(values) + intercept, one[:, 0], atol=0.01)
    np.testing.assert_allclose(slope * np.array(other) + intercept, two[:, 0], atol=0.01)
    assert (np.diff(one[:, 1]) > 10).all()  # the first row on top
    assert (two[:, 1] - one[:, 1] > 2).all()  # marks of a row side by side


def test_a_value_below_the_floor_is_an_arrow_with_its_number():
    drawing = figures.dot_plot(
        ["a", "b", "c"],
        [figures.Dots(label="one", values=[0.5, -7.25, 0.3])],
        xlabel="R²",
        floor=-0.25,
    )
    assert len(marks(drawing.wide, 2)) == 1
    assert "◀ −7.25" in drawing.wide
    ticks = [float(one) for one in re.findall(r">−?(\d\.\d+)<", drawing.wide)]
    assert max(ticks) < 1


def test_series_differ_in_marker_or_filling():
    styles = {(marker, filled) for marker, filled, _, _ in figures._STYLES}
    assert len(styles) == figures.SERIES
    lines = [str(line) for _, _, line, _ in figures._STYLES]
    assert len(set(lines)) == figures.SERIES


def test_curves_on_log_axes_are_straight_for_a_power_law():
    x = [10.0, 20.0, 80.0, 640.0]
    y = [3 * one**-0.5 for one in x]
    drawing = figures.curve_plot(
        [figures.Curve(label="law", x=x, y=y)], xlabel="x", ylabel="y", xlog=True, ylog=True
    )
    points = next(np.array(each) for each in marks(drawing.wide, 4)
                  if np.ptp([p[1] for p in each]) > 50)  # fmt: skip
    np.testing.assert_allclose(
        np.diff(points[:, 0]) / np.diff(np.log(x)), np.ptp(points[:, 0]) / np.log(64), rtol=1e-3
    )
    slopes = np.diff(points[:, 1]) / np.diff(points[:, 0])
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-3)
    for tick in ("10", "20", "80", "640"):  # the amounts that were tried
        assert f">{tick}<" in drawing.wide


def test_long_and_foreign_names_are_drawn_without_a_warning():
    name = "嵌入向量 " + "x" * 60 + "$\\alpha$ end"
    drawing = figures.dot_plot([name], [figures.Dots(label=name, values=[None])], xlabel="R² " * 40)
    for svg in (drawing.wide, drawing.narrow):
        ET.fromstring(svg)
        assert "嵌入向量" in svg
        assert "…" in svg
        assert "$ end" in svg  # not read as a formula


# ---- words -----------------------------------------------------------------------------------


def test_numbers_have_three_decimals_and_a_true_minus():
    assert (fixed(-0.0354), fixed(1), fixed(None), fixed(math.nan)) == ("−0.035", "1.000", "–", "–")
    assert (signed(0.01), signed(-0.01)) == ("+0.010", "−0.010")
    assert [finite(one) for one in (math.inf, True, "0.5", None, 2)] == [
        None,
        None,
        None,
        None,
        2.0,
    ]


def test_the_probe_a_run_is_judged_by_wins_over_others():
    results = made()
    results["runs"]["pca"]["probe"] = "neighbours"
    row = {"run": "pca", "target": "POP", "protocol": "blocks", "metric": "r2"}
    rows = [{**row, "probe": "neighbours", "mean": 0.9}, {**row, "probe": "ridge", "mean": 0.1}]
    for order in itertools.permutations(rows):
        results["scores"] = list(order)
        assert Results(results).primary("pca", "POP") == 0.9


def test_the_summary_of_a_place_is_a_table_a_sentence_and_the_warnings():
    text = summary(made())
    assert text == summary({k: v for k, v in made().items() if k not in ("scores", "probes")})
    first, table, sentence, warning = text.split("\n\n")
    assert first.startswith("**Somewhere**: 1,234 cells of resolution 8; 4 numeric targets")
    assert "n = 90 to 400 units each" in first
    assert table.splitlines()[0] == (
        "| run | dims | R² on spatial blocks [95 % interval] | R² on random folds "
        "| R² on whole regions |"
    )
    assert table.splitlines()[2] == (
        "| `propagated` | 128 | 0.550 [0.530, 0.570] | 0.650 ± 0.010 | 0.500 ± 0.010 |"
    )
    assert len(table.splitlines()) == 2 + len(RUNS)
    assert "+0.250 [0.200, 0.300]" in sentence
    assert warning == "> **Warning.** `propagated`, which is not trained, beats `mobclip-paper`."
