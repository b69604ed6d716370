"""The app's map view through AppTest: colourings, clusters, comparison, selection, scatter."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")

from streamlit.testing.v1 import AppTest

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.place import Place
from mobclip.projection import Projection, aligned, oklab_colours, overlap
from pages import checked, sent

APP = Path(__file__).parents[1] / "app"


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What the map was given, run by run."""
    monkeypatch.syspath_prepend(str(APP))
    from views import frame

    given: list[dict] = []
    draw = frame.hex_map

    def hex_map(place, colours, **options):
        given.append({"colours": colours, **options})
        draw(place, colours, **options)

    monkeypatch.setattr(frame, "hex_map", hex_map)
    return given


@pytest.fixture
def open_app(app_data: Path, monkeypatch: pytest.MonkeyPatch, drawn):
    """Open the map with an address, in a tab of its panel, with cells selected."""
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(app_data))

    def run(tab: str = "Colour", area: tuple[str, ...] = (), **address: str) -> AppTest:
        from mobclip.session import Session

        app = AppTest.from_file(str(APP / "main.py"), default_timeout=60)
        for name, value in {"run": "demographics", **address}.items():
            app.query_params[name] = value
        app.session_state["panel"] = tab
        if area:
            app.session_state["session"] = Session(area=area)
        return checked(app.run())

    return run


@pytest.fixture(scope="module")
def place(app_data: Path) -> Place:
    return Place.load(app_data / "places" / "islands-r6")


@pytest.fixture(scope="module")
def embedded(app_data: Path) -> Embeddings:
    return Embeddings.load(app_data / "places/islands-r6/runs/demographics/embeddings.parquet")


def said(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.info, app.warning)
    texts = [str(one.value) for kind in kinds for one in kind]
    return "\n".join([*texts, *(one.proto.body for one in app.get("html"))])


def address(app: AppTest, name: str) -> str:
    value = app.query_params.get(name, "")
    return value if isinstance(value, str) else value[0]


def selected(app: AppTest) -> tuple[str, ...]:
    return app.session_state["session"].area


def west(place: Place) -> np.ndarray:
    return grid.centers(place.cells)[:, 0] < -30


# ---- colourings


def test_every_colouring_is_drawn_with_a_legend(open_app, place) -> None:
    app = open_app(cell=grid.to_strings(place.cells[[30]])[0])
    shown = {}
    for option in app.selectbox(key="colour").options:
        assert len(option) <= 45, "does not fit the panel"
    for colour in ("embedding", "clusters", "dim", "similarity", "target:visitors", "has:poi"):
        checked(app.selectbox(key="colour").set_value(colour).run())
        shown[colour] = sent(app)
        assert shown[colour]["legend"]["title"]
    assert len({one["colours"] for one in shown.values()}) == len(shown)
    # A target has two sides: what was measured, and what is predicted.
    checked(app.selectbox(key="colour").set_value("target:visitors").run())
    checked(app.segmented_control(key="side").set_value("predicted").run())
    assert address(app, "colour") == "predicted:visitors"
    assert sent(app)["legend"]["title"].startswith("Predicted: Visitors")
    assert app.selectbox(key="colour").value == "target:visitors"


def test_colours_follow_todays_rule_not_the_file(
    app_data, open_app, place, embedded, tmp_path, monkeypatch, drawn
) -> None:
    shutil.copytree(app_data / "places", tmp_path / "places")
    path = tmp_path / "places/islands-r6/runs/demographics/projection.parquet"
    found = Projection.load(path)
    from dataclasses import replace

    replace(found, rgb=np.zeros_like(found.rgb)).save(path)
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    app = AppTest.from_file(str(APP / "main.py"), default_timeout=60)
    app.query_params["run"] = "demographics"
    checked(app.run())
    np.testing.assert_array_equal(drawn[-1]["colours"], oklab_colours(found.xyz))


@pytest.mark.parametrize("colour", ["dim:999", "dim:x", "nonsense", "predicted:nothing", "overlap"])
def test_what_a_link_asks_for_in_vain_still_opens(open_app, colour) -> None:
    app = open_app(colour=colour)
    assert sent(app)["legend"]
    if colour == "overlap":
        assert "Choose another embedding" in said(app)


def test_one_number_is_shown_around_its_mean_with_what_goes_with_it(
    open_app, embedded, drawn
) -> None:
    app = open_app(colour="dim:1")
    values = drawn[-1]["values"]
    known = np.isfinite(values)
    wanted = embedded.vectors[:, 1] - embedded.vectors[:, 1].mean()
    np.testing.assert_allclose(values[known], wanted, atol=1e-5)
    (table,) = (one.value for one in app.dataframe if "r" in one.value)
    assert table["r"].abs().is_monotonic_decreasing
    assert table["What"].str.contains("aged").any()
    checked(app.slider(key="dim").set_value(0).run())
    assert address(app, "colour") == "dim:0"


# ---- clusters


def test_clusters_are_named_counted_and_found(open_app, place, drawn) -> None:
    app = open_app(colour="clusters", clusters="2", run="propagated")
    legend = sent(app)["legend"]
    assert legend["title"] == "2 clusters"
    names = [one["label"] for one in legend["items"]]
    # The fixture plants harbours and the young in the west, farms in the east.
    assert any("harbour" in name or "warehouse" in name or "young" in name for name in names)
    assert any("farm" in name or "barn" in name or "few" in name for name in names)
    colour = drawn[-1]["colours"][:, :3]
    on = west(place)
    for side in (on, ~on):
        _, sizes = np.unique(colour[side], axis=0, return_counts=True)
        assert sizes.max() > 0.9 * side.sum()
    assert not (np.median(colour[on], 0) == np.median(colour[~on], 0)).all()
    count = int(re.search(r"<b>([\d,]+)</b> cells", said(app))[1].replace(",", ""))
    assert 0 < count < len(place.cells)
    checked(app.slider(key="clusters").set_value(5).run())
    assert address(app, "clusters") == "5"
    assert len(sent(app)["legend"]["items"]) == 5


def test_the_card_of_a_cluster_flies_to_its_middle_and_selects_it(open_app, place, drawn) -> None:
    app = open_app(colour="clusters", clusters="3")
    checked(app.selectbox(key="cluster").set_value(1).run())
    labels = drawn[-1]["values"]
    (select,) = (one for one in app.button if one.label == "Select it")
    checked(select.click().run())
    inside = grid.from_strings(selected(app))
    np.testing.assert_array_equal(inside, place.cells[labels == 1])
    assert app.session_state["panel"] == "Selection"  # and what is telling of them is shown
    assert f"**{len(inside):,}** cells" in said(app)
    mask = drawn[-1]["area"]
    np.testing.assert_array_equal(mask, labels == 1)  # the map veils the others
    app.session_state["panel"] = "Colour"
    checked(app.run())
    checked(app.selectbox(key="cluster").set_value(1).run())
    (fly,) = (one for one in app.button if one.label == "Fly to its middle")
    checked(fly.click().run())
    middle = sent(app)["fly"]["cell"]
    assert middle == address(app, "cell")
    assert middle in selected(app)
    # Its cell is chosen now: its cluster's card stays open.
    assert app.selectbox(key="cluster").value == 1


def test_a_clicked_cell_opens_the_card_of_its_cluster(open_app, place, drawn) -> None:
    app = open_app(colour="clusters", clusters="4")
    labels = drawn[-1]["values"]
    for number in (3, 60):
        app.query_params["cell"] = grid.to_strings(place.cells[[number]])[0]
        checked(app.run())
        assert app.selectbox(key="cluster").value == labels[number]


def test_cluster_colours_can_be_told_apart_by_all(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(APP))
    import colours

    for count, least in ((8, 0.07), (20, 0.06)):
        apart = colours.apart(colours.CLUSTERS[:count]) + np.eye(count)
        assert apart.min() > least
    # Clusters with a long border do not get the two colours that are most alike.
    n = 8
    apart = colours.apart(colours.CLUSTERS[:n]) + np.eye(n)
    borders = np.zeros((n, n))
    borders[0, 1] = borders[1, 0] = 1000
    given = colours.of_clusters(borders)
    assert sorted(given) == sorted(colours.CLUSTERS[:n])
    one, other = colours.CLUSTERS.index(given[0]), colours.CLUSTERS.index(given[1])
    assert apart[one, other] > np.median(apart[apart < 1])


def test_many_clusters_have_short_names_in_the_legend(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(APP))
    import colours

    name = "wine bars, french restaurants · many professional (occupation)"
    names = [f"{name} {i}" for i in range(9)]
    made = colours.clusters(np.arange(-1, 9), names, colours.CLUSTERS[:9])
    assert made.legend.items[0][1] == "1 · wine bars, french restaurants"
    assert made.tip.labels[0] == f"1 · {name} 0"  # whole where there is room
    assert tuple(made.colours[0]) == colours.EMPTY
    assert np.isnan(made.values[0])
    few = colours.clusters(np.arange(8), names[:8], colours.CLUSTERS[:8])
    assert few.legend.items[0][1] == f"1 · {name} 0"


# ---- comparison


def test_two_embeddings_side_by_side_have_comparable_colours(
    open_app, app_data, embedded, drawn
) -> None:
    app = open_app(tab="Compare")
    checked(app.selectbox(key="against").set_value("run").run())
    checked(app.selectbox(key="other_run").set_value("coordinates").run())
    assert (address(app, "other"), address(app, "split")) == ("coordinates", "side")
    folder = app_data / "places/islands-r6/runs"
    one, other = (
        Projection.load(folder / run / "projection.parquet")
        for run in ("demographics", "coordinates")
    )
    header = sent(app)
    assert header["split"] == "side"
    assert "turned" in header["other"]["legend"]["note"]
    np.testing.assert_array_equal(drawn[-1]["colours"][:, :3], oklab_colours(one.xyz))
    np.testing.assert_array_equal(drawn[-1]["other"].colours, aligned(other, one).rgb)
    checked(app.segmented_control(key="split").set_value("swipe").run())
    assert sent(app)["split"] == "swipe"
    checked(app.selectbox(key="against").set_value("").run())
    assert sent(app)["other"] is None
    assert address(app, "other") == ""


def test_clusters_of_two_embeddings_have_the_colours_of_those_they_share(open_app, drawn) -> None:
    app = open_app(tab="Compare", colour="clusters", clusters="3", other="demographics|first:2")
    one, other = drawn[-1]["colours"][:, :3], drawn[-1]["other"].colours[:, :3]
    assert {stop for stop, _ in drawn[-1]["other"].legend.items} == {
        item["colour"] for item in sent(app)["legend"]["items"]
    }
    assert (one == other).all(axis=1).mean() > 0.5


def test_neighbours_that_another_embedding_keeps(open_app, app_data, embedded, drawn) -> None:
    app = open_app(tab="Compare", other="coordinates")
    (ask,) = (one for one in app.button if "nearest stay" in one.label)
    checked(ask.click().run())
    assert address(app, "colour") == "overlap"
    other = Embeddings.load(app_data / "places/islands-r6/runs/coordinates/embeddings.parquet")
    wanted = overlap(embedded, other)
    np.testing.assert_allclose(drawn[-1]["values"], wanted, atol=1e-6)
    assert app.metric[0].value == f"{20 * wanted.mean():.1f}"
    assert f"mean {wanted.mean():.2f}" in sent(app)["legend"]["note"]
    assert sent(app)["split"] == ""
    assert "By chance" in said(app)
    (back,) = (one for one in app.button if "Back" in one.label)
    assert sent(checked(back.click().run()))["split"] == "side"


def test_the_first_numbers_alone_keep_some_neighbours(open_app, embedded) -> None:
    app = open_app(tab="Compare")
    checked(app.selectbox(key="against").set_value("first").run())
    checked(app.slider(key="first").set_value(1).run())
    assert address(app, "other") == "demographics|first:1"
    assert "first 1" in sent(app)["other"]["legend"]["title"]
    # Without a projection by UMAP on both sides both are by PCA.
    assert "PCA" in sent(app)["legend"]["note"]


def test_another_colouring_stands_beside(open_app) -> None:
    app = open_app(tab="Compare", colour="target:visitors")
    checked(app.selectbox(key="against").set_value("colour").run())
    checked(app.selectbox(key="other_colour").set_value("predicted:visitors").run())
    header = sent(app)
    assert header["legend"]["title"].startswith("Visitors")
    assert header["other"]["legend"]["title"].startswith("Predicted: Visitors")
    assert address(app, "other") == "|predicted:visitors"


@pytest.mark.parametrize(
    "other", ["nothing", "nothing|first:2", "demographics", "demographics|first:0",
              "demographics|without:poi", "demographics|first:x", "|"],
)  # fmt: skip
def test_a_comparison_that_this_place_lacks_is_none(open_app, other) -> None:
    app = open_app(tab="Compare", other=other, split="side")
    if sent(app)["other"] is not None:
        pytest.fail(str(sent(app)["other"]))
    assert app.selectbox(key="against").value == ""


def test_a_model_is_asked_without_a_modality(country_data, monkeypatch, drawn) -> None:
    from mobclip.fusion import FUSION_FILE, GONE, Fusion

    monkeypatch.syspath_prepend(str(APP))
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(country_data))
    app = AppTest.from_file(str(APP / "main.py"), default_timeout=60)
    app.query_params["run"] = "mobclip"
    app.query_params["colour"] = "pca"
    app.session_state["panel"] = "Compare"
    checked(app.run())
    checked(app.selectbox(key="against").set_value("without").run())
    checked(app.multiselect(key="gone").set_value(["poi"]).run())
    assert address(app, "other") == "mobclip|without:poi"
    assert "without poi" in sent(app)["other"]["legend"]["title"]
    (ask,) = (one for one in app.button if "nearest stay" in one.label)
    checked(ask.click().run())
    (folder,) = country_data.glob("places/*")
    country = Place.load(folder)
    whole = Embeddings.load(folder / "runs/mobclip/embeddings.parquet")
    vectors = Fusion.load(folder / "runs/mobclip" / FUSION_FILE).embed(
        country, states={"poi": GONE}
    )
    wanted = overlap(whole, Embeddings(name="mobclip", cells=country.cells, vectors=vectors))
    np.testing.assert_allclose(drawn[-1]["values"], wanted, atol=1e-6)
    assert wanted.mean() < 1


# ---- selection


def test_nothing_selected_says_how(open_app) -> None:
    app = open_app(tab="Selection")
    assert "Draw" in said(app)
    assert sent(app)["area"] is None
    assert sent(app)["tools"] == ["click", "box", "polygon", "brush"]


def test_the_card_of_a_selection(open_app, place, drawn) -> None:
    inside = west(place)
    names = tuple(grid.to_strings(place.cells[inside]))
    elsewhere = grid.to_strings(
        grid.points_to_cells(lon=np.array([10.0]), lat=np.array([50.0]), resolution=6)
    )
    app = open_app(tab="Selection", area=(*names, *elsewhere))
    text = said(app)
    assert f"**{inside.sum():,}** cells" in text
    km2 = grid.areas_km2(place.cells[inside]).sum()
    assert f"**{km2:,.0f}** km²" in text
    assert re.search(r"harbours|warehouses", text)
    income = place.targets["income"].on_cells()
    here, everywhere = (f"{np.nanmean(one):.3g}" for one in (income[inside], income))
    row = re.search(r"Median income \(coins a year\)</td>(.*?)</tr>", text)[1]
    assert re.findall(r">([\d.,]+)<", row) == [here, everywhere]
    mask = drawn[-1]["area"]
    np.testing.assert_array_equal(mask, inside)
    checked(app.button(key="clear").click().run())
    assert selected(app) == ()
    assert sent(app)["area"] is None


def test_search_like_these_gives_the_most_central(open_app, place, embedded) -> None:
    names = tuple(grid.to_strings(place.cells[west(place)]))
    app = open_app(tab="Selection", area=names)
    (search,) = (one for one in app.button if one.label == "Search like these")
    search.click().run()
    like = address(app, "like").split(",")
    assert address(app, "view") == "similar"
    assert len(like) == 20
    assert set(like) <= set(names)
    unit = embedded.unit()
    rows = embedded.rows(grid.from_strings(names))
    scores = unit[rows] @ unit[rows].mean(0)
    taken = np.isin(names, like)
    assert scores[taken].min() >= scores[~taken].max() - 1e-6


def test_downloads_hold_the_cells_and_where_they_come_from(open_app, place, monkeypatch) -> None:
    import streamlit as st

    given = {}

    def download(self, label, data, **options):
        given[label] = (data, options)

    monkeypatch.setattr(st.delta_generator.DeltaGenerator, "download_button", download)
    names = tuple(grid.to_strings(place.cells[5:25]))
    open_app(tab="Selection", area=names)
    data, options = given["CSV"]
    text = (data() if callable(data) else data).decode()
    assert "# run: demographics" in text
    rows = list(csv.DictReader(io.StringIO("".join(
        line for line in text.splitlines(keepends=True) if not line.startswith("#")
    ))))  # fmt: skip
    assert [row["h3"] for row in rows] == list(names)
    visitors = place.targets["visitors"].on_cells()[5:25]
    np.testing.assert_allclose([float(row["visitors"]) for row in rows], visitors, rtol=1e-4)
    assert options["file_name"].endswith(".csv")
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(given["GeoParquet"][0]()))
    assert table["h3"].to_pylist() == list(names)
    assert "embedding" in table.column_names
    # Where nothing is selected: all cells.
    open_app(tab="Selection")
    table = pq.read_table(io.BytesIO(given["GeoParquet"][0]()))
    assert table["h3"].to_pylist() == grid.to_strings(place.cells)
    run = Embeddings.load(place.folder / "runs" / "demographics" / "embeddings.parquet")
    np.testing.assert_array_equal(np.stack(table["embedding"].to_numpy()), run.vectors)


def test_means_of_every_kind_of_target(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(APP))
    from types import SimpleNamespace

    from views.map_area import summary

    def of(kind, values, classes=()):
        return summary(SimpleNamespace(kind=kind, classes=classes), np.array(values, float))

    assert of("number", [1, 2, np.nan]) == "1.5"
    assert of("binary", [1, 0, 0, 0]) == "25 % yes"
    assert of("class", [2, 2, 0], ("bog", "city", "farm")) == "farm (67 %)"
    assert of("number", [np.nan]) == "–"


# ---- scatter


def test_the_scatter_shows_what_the_map_selects(open_app, place) -> None:
    inside = west(place)
    app = open_app(tab="Space", area=tuple(grid.to_strings(place.cells[inside])))
    (chart,) = app.get("plotly_chart")
    trace = json.loads(chart.proto.spec)["data"][0]
    found = trace["selectedpoints"]
    rows = np.flatnonzero(inside)
    if isinstance(found, dict):  # plotly sends arrays as base64
        import base64

        found = np.frombuffer(base64.b64decode(found["bdata"]), np.dtype(found["dtype"])).tolist()
    assert found == rows.tolist()
    assert len(trace["marker"]["color"]) == len(place.cells)


def test_a_lasso_selects_all_cells_in_it(open_app, place, app_data, monkeypatch) -> None:
    """The chart's event cannot be made in AppTest: its callback is taken and called."""
    import streamlit as st

    taken = {}
    draw = st.plotly_chart

    def plotly_chart(figure, **options):
        taken.update(options)
        return draw(figure, **options)

    monkeypatch.setattr(st, "plotly_chart", plotly_chart)
    open_app(tab="Space")
    assert taken["selection_mode"] == ("points", "lasso", "box")
    key = taken["key"]

    from types import SimpleNamespace

    import state
    from views import space

    made = Projection.load(app_data / "places/islands-r6/runs/demographics/projection.parquet")
    kept: dict = {}
    monkeypatch.setattr(space.st, "session_state", kept)
    monkeypatch.setattr(state, "set_area", lambda cells: kept.update(area=cells))
    monkeypatch.setattr(state, "choose_cell", lambda cell: kept.update(cell=cell))
    low, high = np.percentile(made.xy[:, 0], [10, 60])
    box = {"x": [float(high), float(low)], "y": [-10.0, 10.0]}
    kept[key] = SimpleNamespace(selection=SimpleNamespace(points=[], lasso=[], box=[box]))
    taken["on_select"]()
    within = (made.xy[:, 0] > low) & (made.xy[:, 0] < high)
    np.testing.assert_array_equal(grid.from_strings(kept["area"]), made.cells[within])
    ring = {"x": [low, high, high, low], "y": [-10, -10, 10, 10]}
    kept[key] = SimpleNamespace(selection=SimpleNamespace(points=[], lasso=[ring], box=[]))
    kept.pop("area")
    taken["on_select"]()
    np.testing.assert_array_equal(grid.from_strings(kept["area"]), made.cells[within])
    point = [{"point_index": 7, "curve_number": 0}]
    kept[key] = SimpleNamespace(selection=SimpleNamespace(points=point, lasso=[], box=[]))
    taken["on_select"]()
    assert kept["cell"] == grid.to_strings(place.cells[[7]])[0]
    kept[key] = SimpleNamespace(selection=SimpleNamespace(points=[], lasso=[], box=[]))
    taken["on_select"]()
    assert kept["area"] == ()


def test_of_many_cells_a_sample_is_drawn_with_all_that_are_selected(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(APP))
    from views import space

    assert len(space.dots(50_000, np.empty(0, int))) == 50_000
    area = np.array([1, 5, 299_999])
    rows = space.dots(300_000, area)
    assert 40_000 < len(rows) <= 50_003
    assert np.isin(area, rows).all()
    assert (np.diff(rows) > 0).all()


def test_with_umap_the_linear_colours_stay_on_offer(
    open_app, app_data, embedded, tmp_path, monkeypatch, drawn
) -> None:
    shutil.copytree(app_data / "places", tmp_path / "places")
    path = tmp_path / "places/islands-r6/runs/demographics/projection.parquet"
    from dataclasses import replace

    umap = replace(Projection.load(path), method="umap")
    replace(umap, xyz=umap.xyz[:, [2, 0, 1]]).save(path)
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    app = AppTest.from_file(str(APP / "main.py"), default_timeout=60)
    app.query_params["run"] = "demographics"
    checked(app.run())
    first = drawn[-1]["colours"][:, :3]
    assert "UMAP" in sent(app)["legend"]["note"]
    checked(app.selectbox(key="colour").set_value("pca").run())
    assert "PCA" in sent(app)["legend"]["note"]
    assert (drawn[-1]["colours"][:, :3] != first).any()
