"""Similar places through Streamlit's AppTest: the search box, examples, filters, weights, why."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")

from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from mobclip import grid
from mobclip.baselines import Features
from mobclip.cli import app as command_line
from mobclip.embeddings import Embeddings
from mobclip.explain import Agreements, answer, partners
from mobclip.place import Place
from mobclip.search import Query, SimilarityIndex
from mobclip.session import Selection, Session
from pages import checked, sent

APP = Path(__file__).parents[1] / "app"


@pytest.fixture
def open_app(open_app, pictured_data: Path):
    """Open the view with an address on the islands with all four kinds of evidence."""

    def run(**address: str) -> AppTest:
        given = {"view": "similar", "place": "islands-r6", "run": "mobclip"} | address
        return open_app(data=pictured_data, **given)

    return run


@pytest.fixture(scope="module")
def place(pictured_data: Path) -> Place:
    return Place.load(pictured_data / "places" / "islands-r6")


@pytest.fixture(scope="module")
def index(place: Place) -> SimilarityIndex:
    return SimilarityIndex(Embeddings.load(place.folder / "runs/mobclip/embeddings.parquet"))


@pytest.fixture(scope="module")
def cells(place: Place) -> list[str]:
    return grid.to_strings(place.cells)


@pytest.fixture(scope="module")
def whole(place: Place) -> list[int]:
    """Rows with every kind of evidence."""
    return np.flatnonzero(np.all(list(place.present.values()), axis=0)).tolist()


def words(app: AppTest) -> str:
    """Everything that the page says."""
    kinds = (app.markdown, app.caption, app.info, app.warning)
    return "\n".join(str(one.value) for kind in kinds for one in kind)


def address(app: AppTest, name: str) -> str:
    """One part of the page's address."""
    value = app.query_params[name]
    return value if isinstance(value, str) else value[0]


def results(app: AppTest) -> pd.DataFrame:
    """The list; the first table of the page."""
    return app.dataframe[0].value


def pressed(app: AppTest, key: str) -> AppTest:
    """The page after a button."""
    return checked(app.button(key=key).click().run())


def has(app: AppTest, key: str) -> bool:
    """Whether there is such a button."""
    return any(one.key == key for one in app.button)


def typed(app: AppTest, text: str) -> AppTest:
    """The page after something was typed into the search box."""
    return checked(app.text_input(key="ask").set_value(text).run())


# ---- asking


def test_a_cell_has_its_similar_places_listed(open_app, index, cells) -> None:
    app = open_app(cell=cells[40], count="10")
    table = results(app)
    expected = index.like_cell(int(cells[40], 16), 10)
    assert table["Cell"].tolist() == grid.to_strings(expected.cells)
    np.testing.assert_allclose(table["Score"], expected.scores)
    assert sent(app)["selected"] == cells[40]
    assert sent(app)["results"] == table["Cell"].tolist()
    assert "**Most like**" in words(app)


def test_with_nothing_chosen_the_ways_to_ask_are_named(open_app) -> None:
    app = open_app()
    assert "Click a hexagon" in words(app)
    assert "such as “Westport”" in words(app)
    assert not app.dataframe


@pytest.mark.parametrize("text", ["{cell}", "0x{cell}", "{lat}, {lon}", " {lat} {lon} "])
def test_search_by_cell_or_position(open_app, cells, text: str) -> None:
    lon, lat = grid.centers(grid.from_strings(cells[40:41]))[0]
    app = typed(open_app(), text.format(cell=cells[40], lat=lat, lon=lon))
    assert address(app, "cell") == cells[40]
    assert sent(app)["fly"]["cell"] == cells[40]
    assert len(results(app)) == 20


def test_search_by_a_name_on_the_map(open_app, place, cells) -> None:
    app = typed(open_app(), "westport")
    away = grid.distances_km(grid.centers(place.cells), np.array([[-30.35, -20.1]]))
    assert address(app, "cell") == cells[int(away.argmin())]


def test_search_by_words_finds_the_places_that_have_them(open_app) -> None:
    app = typed(open_app(run="propagated"), "harbour warehouse")
    found = grid.centers(grid.from_strings(results(app)["Cell"].tolist()))
    assert (found[:, 0] < -30).mean() > 0.9  # the western island
    assert "km away" not in results(app)
    assert "Searches for other words of this place reach" in words(app)
    assert "compared with the embedding alone" in words(app)


def test_words_behind_a_minus_are_taken_off(open_app, place) -> None:
    farm = place.tables["poi"].column("count_farm")
    having = dict(zip(place.tables["poi"].cells.tolist(), farm.tolist(), strict=True))

    def farms(text: str) -> float:
        found = results(typed(open_app(run="propagated"), text))["Cell"]
        return float(np.mean([having.get(int(one, 16), 0) for one in found]))

    assert farms("cafe -farm") < farms("cafe farm")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("862a1072fffffff", "has no cell there"),  # New York
        ("40.7, -74.0", "has no cell there"),
        ("140.7, -74.0", "no position on Earth"),
        ("86ffffffffffff0", "not an H3 cell"),
        ("harbor", "Known words like it: harbour"),
        ("-harbour", "needs something to look for"),
    ],
)
def test_what_cannot_be_found_is_said(open_app, text: str, said: str) -> None:
    app = typed(open_app(run="propagated"), text)
    assert said in words(app)
    assert not app.dataframe


def test_words_are_searched_in_every_embedding(open_app) -> None:
    """Also in one that has seen none: the direction of words is read off the cells."""
    assert len(results(open_app(run="coordinates", query="harbour"))) == 20


# ---- examples


def test_results_become_examples_and_can_be_taken_off(open_app, index, cells) -> None:
    app = open_app(cell=cells[40])
    third = results(app)["Cell"][2]
    checked(app.selectbox(key="result").set_value(third).run())
    assert sent(app)["fly"]["cell"] == third
    pressed(app, "more")
    assert address(app, "like") == third
    expected = index.ranked(Query(like=(int(cells[40], 16), int(third, 16)))).best(20)
    assert results(app)["Cell"].tolist() == grid.to_strings(expected.cells)
    assert sent(app)["marks"] == {third: "like"}

    fourth = results(app)["Cell"][3]
    checked(app.selectbox(key="result").set_value(fourth).run())
    pressed(app, "less")
    expected = index.ranked(
        Query(like=(int(cells[40], 16), int(third, 16)), unlike=(int(fourth, 16),))
    ).best(20)
    assert results(app)["Cell"].tolist() == grid.to_strings(expected.cells)
    assert "unlike 1" in words(app)

    pressed(app, f"drop:{third}")
    assert "like" not in app.query_params
    assert address(app, "unlike") == fourth
    pressed(app, "more")
    pressed(app, "clear_examples")
    assert results(app)["Cell"].tolist() == grid.to_strings(
        index.like_cell(int(cells[40], 16), 20).cells
    )


def test_the_chosen_cell_is_kept_when_another_is_clicked(open_app, index, cells) -> None:
    app = pressed(open_app(cell=cells[40]), "keep")
    assert address(app, "like") == cells[40]
    assert not has(app, "keep")
    app.query_params["cell"] = cells[90]  # as a click does
    checked(app.run())
    expected = index.ranked(Query(like=(int(cells[90], 16), int(cells[40], 16)))).best(20)
    assert results(app)["Cell"].tolist() == grid.to_strings(expected.cells)
    pressed(app, "from_here")
    assert "like" not in app.query_params
    assert address(app, "cell") == grid.to_strings(expected.cells)[0]


def test_like_a_cell_plus_words(open_app, place, index, cells) -> None:
    app = typed(pressed(open_app(cell=cells[40]), "keep"), "cafe")
    selection = Selection(run="mobclip", query="cafe", like=(cells[40],), cell=cells[40])
    assert results(app)["Cell"].tolist() == grid.to_strings(answer(place, selection).cells)
    assert "“cafe” and 1 marked cell" in words(app)


# ---- filters and weights


def test_filters_read_the_scores_that_are_there(
    open_app, cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []
    ranked = SimilarityIndex.ranked
    monkeypatch.setattr(
        SimilarityIndex, "ranked", lambda *a, **k: searched.append(1) or ranked(*a, **k)
    )
    app = open_app(cell=cells[41])
    assert len(searched) == 1
    best = results(app)["Score"]
    checked(app.slider(key="least").set_value(0.9).run())
    expected = int((best >= 0.9).sum())
    assert 0 < expected < 20
    assert results(app)["Score"].tolist() == best[:expected].tolist()
    checked(app.slider(key="least").set_value(-1.0).run())
    checked(app.slider(key="count").set_value(50).run())
    assert len(results(app)) == 50
    before = results(app)["km away"].min()
    checked(app.select_slider(key="apart").set_value(20.0).run())
    assert before < 20 < results(app)["km away"].min()
    assert len(searched) == 1

    checked(app.slider(key="least").set_value(1.0).run())
    assert "lower “Score at least” (the best is 0." in words(app)
    assert not app.dataframe


def test_only_in_the_area_that_was_drawn(open_app, place, cells) -> None:
    east = [c for c, (lon, _) in zip(cells, grid.centers(place.cells), strict=True) if lon > -29.9]
    app = open_app(cell=cells[40])
    assert app.toggle(key="inside").disabled
    from mobclip.session import Session

    app.session_state["session"] = Session(area=tuple(east))
    checked(app.run())
    checked(app.toggle(key="inside").set_value(True).run())
    assert set(results(app)["Cell"]) <= set(east)
    assert address(app, "inside") == "1"


def test_weights_rank_by_the_evidence(open_app, place, cells, whole) -> None:
    cell = cells[whole[4]]
    app = open_app(cell=cell)
    plain = results(app)["Cell"].tolist()
    for name in ("poi", "imagery", "mobility"):
        checked(app.slider(key=f"weight:{name}").set_value(0.0).run())
    assert set(address(app, "weights").split(",")) == {"poi:0", "imagery:0", "mobility:0"}
    of = Agreements(place).of(Query(like=(int(cell, 16),)))["demographics"]
    rows = [cells.index(one) for one in results(app)["Cell"]]
    np.testing.assert_allclose(results(app)["Score"], of[rows], atol=1e-6)
    assert results(app)["Score"].is_monotonic_decreasing
    assert "Embedding" in results(app)
    assert "Ranked by embedding and evidence" in words(app)
    pressed(app, "even")
    assert results(app)["Cell"].tolist() == plain
    assert app.slider(key="weight:poi").value == 1.0


def test_a_large_place_compares_its_evidence_when_it_is_asked_to(
    open_app, cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_app()
    from views import similar

    monkeypatch.setattr(similar, "LARGE", 100)
    app = open_app(cell=cells[40])
    assert "Evidence" not in results(app)
    assert app.slider(key="weight:poi").disabled
    assert "is not compared yet" in words(app)
    checked(app.toggle(key="compare").set_value(True).run())
    assert "Evidence" in results(app)
    assert not app.slider(key="weight:poi").disabled


def test_weights_wait_for_an_example(open_app) -> None:
    app = open_app(query="harbour", weights="poi:0")
    assert app.slider(key="weight:poi").disabled
    assert "Embedding" not in results(app)


# ---- why


def test_why_says_what_both_have(open_app, place, cells, whole) -> None:
    row = whole[4]
    app = open_app(cell=cells[row], apart="10")
    said = words(app)
    for part in ("before", "chance does as well in", "km from Westport", "People", "tied to"):
        assert part in said
    of = Agreements(place, Features(place)).of(Query(like=(int(cells[row], 16),)))
    listed = [cells.index(one) for one in results(app)["Cell"]]
    np.testing.assert_allclose(
        results(app)["Evidence"].tolist(),
        np.column_stack([np.nan_to_num(one[listed]) for one in of.values()]),
        atol=1e-3,
    )
    other = next(one for one in listed if partners(place.graph, np.array([row]), one))
    checked(app.selectbox(key="result").set_value(cells[other]).run())
    tied = partners(place.graph, np.array([row]), other)
    (flows,) = (one.value for one in app.dataframe[1:] if "Cell" in one.value)
    assert flows["Cell"].tolist() == [cells[one.row] for one in tied]
    np.testing.assert_allclose(flows["Here"], [100 * one.share for one in tied])
    np.testing.assert_allclose(flows["Asked"], [100 * one.asked for one in tied])
    drawn = sent(app)["flows"]
    from_result = [[cells[other], cells[one.row], 100 * one.share, 0] for one in tied]
    from_asked = [[cells[row], cells[one.row], 100 * one.asked, 1] for one in tied]
    assert len(drawn["lines"]) == 2 * len(tied) > 0
    for line, wanted in zip(drawn["lines"], [*from_result, *from_asked], strict=True):
        assert line == [*wanted[:2], pytest.approx(wanted[2], rel=1e-3), wanted[3]]
    assert drawn["kinds"][0]["label"] == f"from result {listed.index(other) + 1}"
    assert not drawn["arrows"]
    app = open_app(query="harbour")
    assert "it is tied to" in words(app)  # of words and a result, nothing is shared
    assert sent(app)["flows"] is None


def test_trust_is_the_overlap_with_another_run(open_app, place, index, cells) -> None:
    app = open_app(cell=cells[40])
    chosen = app.selectbox(key="result").value
    other = SimilarityIndex(Embeddings.load(place.folder / "runs/propagated/embeddings.parquet"))
    kept = np.intersect1d(*(one.like_cell(int(chosen, 16), 20).cells for one in (index, other)))
    assert f"{len(kept)} of 20 neighbours are the same under propagated" in words(app)


def test_evidence_as_stacked_bars(open_app, cells, whole) -> None:
    app = open_app(cell=cells[whole[4]])
    checked(app.segmented_control(key="as").set_value("Evidence").run())
    charts = app.get("arrow_vega_lite_chart") or app.get("vega_lite_chart")
    assert len(charts) == 2
    spec = json.loads(charts[0].proto.spec)
    assert spec["encoding"]["x"]["stack"] == "zero"
    assert spec["encoding"]["color"]["scale"]["domain"] == [
        "Mobility", "Points of interest", "Demographics", "Imagery",
    ]  # fmt: skip


def test_a_result_without_evidence_says_so(open_app, place, cells) -> None:
    row = int(np.flatnonzero(~place.present["imagery"])[5])
    app = open_app(cell=cells[row])
    assert "Imagery: not known of what you chose" in words(app)


# ---- images


def png(pixels: np.ndarray) -> bytes:
    from rasterio.io import MemoryFile

    bands, height, width = pixels.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="PNG", count=bands, height=height, width=width, dtype="uint8"
        ) as out:
            out.write(pixels.astype(np.uint8))
        return bytes(memory.read())


def checkers(bands: int = 3) -> np.ndarray:
    """As the western island looks from above."""
    across, down = np.meshgrid(np.arange(32), np.arange(32))
    grey = np.where((across // 8 + down // 8) % 2, 220.0, 40.0)
    shades = np.array([0.9, 1.0, 0.8])[:bands, None, None]
    noise = 10 * np.random.default_rng(1).normal(size=(bands, 32, 32))
    return np.clip(grey * shades + noise, 0, 255)


def uploader(app: AppTest) -> list:
    """Where an image is brought along."""
    return [one for one in app.file_uploader if str(one.key).startswith("image-")]


def uploaded(app: AppTest, data: bytes, name: str = "west.png") -> AppTest:
    """The page after an image was brought along."""
    return checked(uploader(app)[0].upload(name, data, "image/png").run())


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_saved_session_brings_the_image_along(open_app, place, tmp_path) -> None:
    app = uploaded(open_app(), png(checkers()))
    menu, image = sys.modules["views.session_menu"], app.session_state["image"]
    files = sys.modules["cache"].PlaceFiles(folder=place.folder)
    selection = Selection(view="similar", place=place.folder.name, run="mobclip")
    text = menu._file(Session(selection=selection), files, {}, image)
    said = [one["h3"] for one in json.loads(text)["said"]["similar"]]
    assert said == results(app)["Cell"].tolist()
    again = open_app()
    checked(again.file_uploader(key="open 0").upload("s.json", text.encode()).run())
    assert "the image west.png" in words(again)
    assert results(again)["Cell"].tolist() == said
    # A run that cannot be searched by an image is left without it, here as on the page.
    path = tmp_path / "s.json"
    other = Session(selection=replace(selection, run="propagated", like=(said[0],)))
    path.write_text(menu._file(other, files, {}, image))
    assert "similar" in json.loads(path.read_text())["said"]
    data = str(place.folder.parents[1])
    replayed = CliRunner().invoke(command_line, ["--data", data, "replay", str(path)])
    assert "These are the numbers that were saved" in replayed.output


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_an_image_finds_places_that_look_like_it(open_app, cells) -> None:
    app = uploaded(open_app(), png(checkers()))
    found = grid.centers(grid.from_strings(results(app)["Cell"].tolist()))
    assert (found[:, 0] < -30).all()
    assert "the image west.png" in words(app)
    assert "Searches for images of other cells reach" in words(app)

    checked(app.selectbox(key="run").set_value("propagated").run())
    assert "`propagated` has no place for an image by itself. Choose `mobclip`" in words(app)
    checked(app.selectbox(key="run").set_value("mobclip").run())
    pressed(app, "drop:image")
    assert "Click a hexagon" in words(app)

    uploaded(app, png(checkers()))
    app.query_params["cell"] = cells[40]  # a click starts anew
    checked(app.run())
    assert "west.png" not in words(app)
    assert app.dataframe[0].value["Cell"].tolist()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x80\x04cos\nsystem\n", "cannot be read as an image"),
        (lambda: png(checkers(1)), "has 1 bands, which is not what the imagery"),
        (lambda: png(np.zeros((3, 8, 1030))), "1030 × 8 pixels"),
    ],
)
def test_images_that_cannot_be_asked_are_said(open_app, data, said: str) -> None:
    app = uploaded(open_app(), data() if callable(data) else data)
    assert said in words(app)
    assert not app.dataframe


def test_where_an_image_cannot_be_a_query_it_is_said(open_app) -> None:
    app = open_app(run="coordinates")
    assert "Not here: `coordinates` has no place for an image by itself." in words(app)
    assert not uploader(app)


# ---- downloads


def test_downloads_say_how_they_were_made(open_app, place, cells, whole, tmp_path) -> None:
    cell = cells[whole[4]]
    open_app(cell=cell)
    import cache
    from views import similar, similar_results

    from mobclip.export import to_csv, to_geoparquet

    (files,) = cache.places()
    selection = Selection(
        view="similar", place="islands-r6", run="mobclip", cell=cell, apart=5.0,
        weights=("poi:0.5",),
    )  # fmt: skip
    weights = {name: selection.weight(name) for name in place.modalities}
    made = similar.answered(selection, files, weights)
    table = similar_results.table_of(made, selection, files)
    text = to_csv(table).decode()
    notes = [line for line in text.splitlines() if line.startswith("#")]
    for note in (
        "# place: islands-r6",
        "# run: mobclip",
        f"# query: {cell}",
        "# mobclip: ",
        '# weights: {"poi": 0.5}',
        "# at least km away: 5.0",
        "# embedding key: fitted",
    ):
        assert any(line.startswith(note) for line in notes), note
    assert any("CC0-1.0" in line for line in notes)
    read = pd.read_csv(io.StringIO(text), comment="#")
    assert read.columns.tolist() == [
        "h3", "lon", "lat", "rank", "score", "embedding_score", "rank_percentile", "chance",
        "km_away", "agreement_mobility", "agreement_poi", "agreement_demographics",
        "agreement_imagery", "where",
    ]  # fmt: skip
    np.testing.assert_array_equal(read["h3"], grid.to_strings(answer(place, selection).cells))
    (tmp_path / "found.parquet").write_bytes(to_geoparquet(table))
    assert len(geopandas.read_parquet(tmp_path / "found.parquet")) == 20
