"""The view Modalities through AppTest: what it says of a cell, and what if it were otherwise."""

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")

from streamlit.testing.v1 import AppTest

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.fusion import GONE, Fusion
from mobclip.place import Place
from mobclip.whatif import Bench, Edits, telling_cell, trips_seen
from pages import checked, sent

PLACE = "synthetic-600-r6"


@pytest.fixture(scope="module")
def folder(country_data: Path) -> Path:
    """A country with a trained mobclip."""
    return country_data / "places" / PLACE


@pytest.fixture(scope="module")
def place(folder: Path) -> Place:
    return Place.load(folder)


@pytest.fixture(scope="module")
def bench(folder: Path, place: Place) -> Bench:
    run = folder / "runs" / "mobclip"
    fusion = Fusion.load(run / "fusion.safetensors")
    return Bench(fusion, place, Embeddings.load(run / "embeddings.parquet"))


@pytest.fixture
def open_view(open_app, country_data: Path, monkeypatch: pytest.MonkeyPatch):
    """Open the view on the country."""
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(country_data))

    def run(**address: str) -> AppTest:
        return open_app(**{"view": "modalities", "place": PLACE, "run": "mobclip", **address})

    return run


@pytest.fixture(scope="module")
def cell(place: Place) -> str:
    return grid.to_strings(place.cells[[telling_cell(place)]])[0]


def words(app: AppTest) -> str:
    """Everything that the page says."""
    kinds = (app.markdown, app.caption, app.info, app.warning, app.code)
    return "\n".join(str(one.value) for kind in kinds for one in kind)


def address(app: AppTest, name: str) -> str:
    """One part of the page's address; empty where it is not there."""
    value = app.query_params.get(name, "")
    return value if isinstance(value, str) else value[0]


def number(app: AppTest, label: str) -> str:
    (found,) = [one.value for one in app.metric if one.label == label]
    return found


def test_without_a_cell_a_telling_one_is_a_click_away(open_view, place: Place, cell: str) -> None:
    app = open_view()
    assert "Click a hexagon" in words(app)
    checked(app.button(key="telling_cell").click().run())
    assert address(app, "cell") == cell
    assert sent(app)["selected"] == cell
    assert sent(app)["fly"]["cell"] == cell
    row = telling_cell(place)
    assert all(mask[row] for mask in place.present.values())


def test_cards_say_what_is_known(open_view, place: Place, cell: str) -> None:
    app = open_view(cell=cell)
    row = telling_cell(place)
    seen = trips_seen(place.graph, row, most=30)
    said = words(app)
    assert f"**{seen.out.here:,.0f}** trips leave" in said
    total = np.expm1(place.tables["poi"].aligned(place.cells[[row]])[0][0, -1])
    assert f"**{total:.3g}** points of interest" in said
    partners = grid.to_strings(place.cells[[one.row for one in seen.partners]])
    flows = sent(app)["flows"]
    wanted = [
        line
        for name, one in zip(partners, seen.partners, strict=True)
        for line in ([cell, name, one.to, 0], [name, cell, one.come, 1])
        if line[2]
    ]
    assert flows["lines"] == wanted
    assert [one["label"] for one in flows["kinds"]] == ["from here", "to here"]
    carried = sum(one.to + one.come for one in seen.partners) / seen.all.here
    if seen.tied > 30:
        assert f"the 30 cells with most trips, of {seen.tied}" in said
        assert f"carry {100 * carried:.0f} % of" in said
    else:
        assert "every cell with trips" in said
    assert len(app.get("vega_lite_chart") or app.get("arrow_vega_lite_chart")) == 2


def test_what_is_not_there_is_said(open_view, place: Place) -> None:
    none = {name: np.flatnonzero(~mask) for name, mask in place.present.items()}
    for name, what in (("poi", "No point of interest"), ("demographics", "Nobody is counted")):
        app = open_view(cell=grid.to_strings(place.cells[none[name][:1]])[0])
        assert what in words(app)
        app.segmented_control(key="modalities_mode").set_value("What if")
        checked(app.run())
    app.segmented_control(key="what_if_kind").set_value("people")
    checked(app.run())
    assert "no shares to move" in words(app)


def test_twenty_more_move_the_cell_as_the_model_says(
    open_view, place: Place, bench: Bench, cell: str
) -> None:
    app = open_view(cell=cell)
    app.segmented_control(key="modalities_mode").set_value("What if")
    checked(app.run())
    assert "The cell is as it is" in words(app)
    assert not app.metric
    assert sent(app)["results"] == []
    app.segmented_control(key="what_if_kind").set_value("points")
    checked(app.run())
    kind = bench.points.categories[3]
    checked(app.selectbox(key="points_of").select(kind).run())
    assert not address(app, "edits")  # of a choice alone nothing changes
    checked(app.number_input(key="points_more").set_value(20).run())
    assert address(app, "edits") == f"points:20:{kind}"
    assert f"+20 {kind.replace('_', ' ')}" in words(app)
    found = bench.what_if(int(grid.from_strings([cell])[0]), Edits(points={kind: 20.0}))
    assert number(app, "Cosine to before") == f"{found.cosine:.3f}"
    assert sent(app)["results"] == grid.to_strings(found.nearest_after.cells)
    table = app.table[0].value
    assert list(table.columns) == ["Target", "Now", "Then"]
    assert len(table) == len(found.predictions)
    most = max(found.predictions, key=lambda one: one.moved)
    assert table["Target"][0].startswith(most.target.title.split(",")[0])
    assert (table["Now"] != table["Then"]).any()
    checked(app.button(key="what_if_reset").click().run())
    assert not address(app, "edits")
    assert not app.metric


def test_a_modality_is_left_out_here_or_around_too(open_view, bench: Bench, cell: str) -> None:
    app = open_view(cell=cell)
    app.segmented_control(key="modalities_mode").set_value("What if")
    checked(app.run())
    checked(app.pills(key="left_out").set_value(["mobility"]).run())
    assert address(app, "edits") == "hide:mobility"
    checked(app.toggle(key="left_out_around").set_value(True).run())
    assert address(app, "edits") == "drop:mobility"
    found = bench.what_if(int(grid.from_strings([cell])[0]), Edits(states={"mobility": GONE}))
    assert number(app, "Cosine to before") == f"{found.cosine:.3f}"
    checked(app.pills(key="left_out").set_value([]).run())
    assert not address(app, "edits")
    assert app.toggle(key="left_out_around").value


def test_a_link_carries_the_edits_and_far_off_is_warned_of(open_view, cell: str) -> None:
    edits = "flows:10,points:900:office,share:0.9:hist_age_0_4,points:3:unheard of,drop:smell"
    app = open_view(cell=cell, edits=edits)
    assert app.number_input(key="points_more").value == 900
    said = words(app)
    assert "+900 office; age 0 4 90 %; trips ×10" in said
    assert "unheard" not in said
    assert "The model has seen nothing like this" in said
    assert "office: the most at any cell of this place is" in said
    app.segmented_control(key="what_if_kind").set_value("trips")
    checked(app.run())
    checked(app.select_slider(key="flows_times").set_value(1.0).run())
    assert address(app, "edits") == "points:900:office,share:0.9:hist_age_0_4"
    app.segmented_control(key="what_if_kind").set_value("people")
    checked(app.run())
    assert app.slider(key=f"share of {cell} hist_age_0_4").value == 90
    checked(app.slider(key=f"share of {cell} hist_age_0_4").set_value(20).run())
    assert "share:0.2:hist_age_0_4" in address(app, "edits")


def test_maps_of_influence_and_disagreement(open_view, cell: str) -> None:
    app = open_view()
    checked(app.selectbox(key="modalities_colour").select("influence:mobility").run())
    assert address(app, "colour") == "influence:mobility"
    assert sent(app)["legend"]["title"] == "Influence of mobility (%)"
    before = sent(app)["colours"]
    app = open_view(colour="disagree:poi:mobility")  # either order
    assert sent(app)["legend"]["title"].startswith("Mobility and points of interest disagree")
    assert sent(app)["colours"] != before
    app = open_view(colour="target:POP")  # of another view
    assert sent(app)["legend"]["title"] == "Kinds of evidence"


def test_another_embedding_is_shown_for_the_model_that_there_is(open_view, cell: str) -> None:
    app = open_view(cell=cell, run="coordinates")
    assert "Shown for “mobclip”" in words(app)


def test_without_the_model_the_command_is_named(
    open_app, app_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(app_data / "places", tmp_path / "places")
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    place = Place.load(tmp_path / "places" / "islands-r6")
    app = open_app(view="modalities", place="islands-r6")
    assert "mobclip train islands --resolution 6" in words(app)
    there = Place.load(tmp_path / "places" / "islands-r6")
    cell = grid.to_strings(there.cells[[int(there.present["poi"].argmax())]])[0]
    known = open_app(view="modalities", place="islands-r6", cell=cell)
    assert "Points of interest**" in words(known)
    assert "mobclip train islands" in words(known)
    assert "modalities_mode" not in [one.key for one in known.segmented_control]
    assert "Influence: points of interest" not in app.selectbox(key="modalities_colour").options
    # A model of tokens without categories, shares or flows offers what there is.
    run = tmp_path / "places" / "islands-r6" / "runs" / "mobclip"
    shutil.copytree(run.with_name("propagated"), run)
    from mobclip.config import FusionConfig

    fusion = Fusion.fit([place], FusionConfig(dims=8))
    fusion.save(run / "fusion.safetensors")
    one = Embeddings.load(run / "embeddings.parquet")
    Embeddings(
        name="mobclip", cells=one.cells, vectors=fusion.embed(place), provenance=one.provenance
    ).save(run / "embeddings.parquet")
    cell = grid.to_strings(place.cells[[40]])[0]
    app = open_app(view="modalities", place="islands-r6", run="mobclip", cell=cell)
    assert "points of interest" in words(app)
    app.segmented_control(key="modalities_mode").set_value("What if")
    checked(app.run())
    assert app.segmented_control(key="what_if_kind").options == ["Leave out", "Points"]
