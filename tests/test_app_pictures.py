"""Pictures of the imagery in the views Similar places and Modalities, through AppTest."""

import base64
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")

from PIL import Image
from streamlit.testing.v1 import AppTest

from mobclip import grid
from mobclip.baselines import Features
from mobclip.chips import EMPTY, Chips
from mobclip.explain import nearest_examples
from mobclip.place import Place
from pages import checked

APP = Path(__file__).parents[1] / "app"
Open = Callable[..., AppTest]


@pytest.fixture
def open_islands(open_app: Open, pictured_data: Path) -> Open:
    """Open a view of the islands with an address; `data`: of another copy of them."""

    def run(data: Path = pictured_data, **address: str) -> AppTest:
        return open_app(data=data, **{"place": "islands-r6", "run": "mobclip", **address})

    return run


@pytest.fixture(scope="module")
def place(pictured_data: Path) -> Place:
    return Place.load(pictured_data / "places" / "islands-r6")


@pytest.fixture(scope="module")
def chips(place: Place) -> Chips:
    assert place.chips is not None
    return place.chips


@pytest.fixture(scope="module")
def cells(place: Place) -> list[str]:
    return grid.to_strings(place.cells)


@pytest.fixture(scope="module")
def whole(place: Place) -> list[int]:
    """Rows with every kind of evidence."""
    return np.flatnonzero(np.all(list(place.present.values()), axis=0)).tolist()


@pytest.fixture
def without(pictured_data: Path, tmp_path: Path) -> Path:
    """The islands as they were tokenized before there were pictures."""
    data = tmp_path / "data"
    shutil.copytree(pictured_data, data)
    shutil.rmtree(data / "places" / "islands-r6" / "chips")
    return data


def words(app: AppTest) -> str:
    """Everything that the page says."""
    return "\n".join(str(one.value) for kind in (app.markdown, app.caption) for one in kind)


def rows(app: AppTest) -> list[list[tuple[str, str, np.ndarray | None]]]:
    """Every row of pictures: what stands under each, its alt text and its pixels."""
    found = []
    for html in (one.proto.body for one in app.get("html")):
        figures = re.findall(r"<figure.*?</figure>", html, re.S)
        if figures:
            found.append([figure(one) for one in figures])
    return found


def figure(html: str) -> tuple[str, str, np.ndarray | None]:
    label = re.sub("<.*?>", "", re.search("<figcaption.*?>(.*)</figcaption>", html)[1])
    alt = re.search("(?:alt|aria-label)='(.*?)'", html)[1]
    data = re.search("src='data:image/png;base64,(.*?)'", html)
    if data is None:
        return label, alt, None
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))
    assert pixels.shape[2] == 4
    empty = (pixels[..., :3] == EMPTY).all(axis=2)
    np.testing.assert_array_equal(pixels[..., 3], np.where(empty, 0, 255))
    return label, alt, pixels[..., :3]


def assert_of(found: list[tuple[str, str, np.ndarray | None]], chips: Chips, cells: list[str]):
    """Pictures are those of these cells, in this order; none where there is none."""
    expected, known = chips.of(grid.from_strings(cells))
    assert [one[2] is not None for one in found] == known.tolist()
    for (_, alt, pixels), picture, cell in zip(found, expected, cells, strict=True):
        assert cell in alt
        if pixels is not None:
            np.testing.assert_array_equal(pixels, picture)


# ---- Similar places


def test_why_shows_what_was_chosen_beside_the_result(
    open_islands: Open, chips: Chips, cells: list[str], whole: list[int]
) -> None:
    app = open_islands(view="similar", cell=cells[whole[4]], apart="10")
    (pair,) = rows(app)
    assert [label for label, _, _ in pair] == ["chosen", "the result"]
    listed = app.dataframe[0].value["Cell"].tolist()
    assert_of(pair, chips, [cells[whole[4]], listed[0]])
    said = words(app)
    assert "7.4 km of ground from side to side" in said
    assert "32 × 32 pixels of 230 m" in said
    assert "Bands 1, 2, 3 as red, green and blue" in said
    assert "Chequered" not in said
    other = next(one for one in listed[1:] if one in grid.to_strings(chips.cells))
    checked(app.selectbox(key="result").set_value(other).run())
    assert_of(rows(app)[0], chips, [cells[whole[4]], other])


def test_of_several_examples_those_that_look_most_alike(
    open_islands: Open, place: Place, chips: Chips, cells: list[str], whole: list[int]
) -> None:
    like = [whole[3], whole[-3], whole[20], whole[-20]]
    app = open_islands(view="similar", like=",".join(cells[one] for one in like))
    result = app.selectbox(key="result").value
    order = nearest_examples(
        Features(place), "imagery", np.array(like), cells.index(result)
    ).tolist()
    vectors = Features(place).of("imagery").values

    def cosine(one: int) -> float:
        return float(vectors[one] @ vectors[cells.index(result)] / np.linalg.norm(vectors[one]))

    naive = sorted(like, key=lambda one: -cosine(one))
    assert order == naive
    (three,) = rows(app)
    assert_of(three, chips, [*(cells[one] for one in order[:2]), result])
    assert "Of 4 examples the 2 that look most like the result" in words(app)


def test_all_results_side_by_side(
    open_islands: Open, chips: Chips, cells: list[str], whole: list[int]
) -> None:
    app = open_islands(view="similar", cell=cells[whole[4]], count="15")
    listed = app.dataframe[0].value
    checked(app.segmented_control(key="as").set_value("Pictures").run())
    every, _pair = rows(app)
    assert_of(every, chips, [cells[whole[4]], *listed["Cell"]])
    scores = [f"{i} · {one:.2f}" for i, one in enumerate(listed["Score"], 1)]
    assert [label for label, _, _ in every] == ["chosen", *scores]
    missing = sum(pixels is None for _, _, pixels in every)
    assert ("No picture covers" in words(app)) == (missing > 0)


def test_words_have_only_the_picture_of_the_result(
    open_islands: Open, chips: Chips, place: Place
) -> None:
    app = open_islands(view="similar", query="market")
    result = app.selectbox(key="result").value
    has = grid.locate(chips.cells, grid.from_strings([result]))[1][0]
    if has:
        (alone,) = rows(app)
        assert_of(alone, chips, [result])
    else:
        assert rows(app) == []


def test_a_cell_without_a_picture_has_a_frame(
    open_islands: Open, place: Place, chips: Chips, cells: list[str]
) -> None:
    bare = cells[int(np.flatnonzero(~place.present["imagery"])[0])]
    app = open_islands(view="similar", cell=bare)
    result = app.selectbox(key="result").value
    seen = rows(app)
    if seen:
        assert_of(seen[0], chips, [bare, result])
        assert seen[0][0][1] == f"No picture covers cell {bare}"
    app = open_islands(view="modalities", cell=bare)
    assert rows(app) == []
    assert "No picture covers this cell" in words(app)


def test_a_place_without_pictures_says_how_to_get_them(
    open_islands: Open, without: Path, cells: list[str], whole: list[int]
) -> None:
    for view in ("similar", "modalities"):
        app = open_islands(without, view=view, cell=cells[whole[4]])
        assert rows(app) == []
        assert "`mobclip tokenize islands --resolution 6`" in words(app)
        if view == "similar":
            assert "Pictures" not in app.segmented_control(key="as").options


def test_pictures_are_seen_once_they_are_there(
    open_islands: Open, without: Path, pictured_data: Path, cells: list[str], whole: list[int]
) -> None:
    # `mobclip tokenize` adds them while the app is open: place.yaml stays as it is.
    app = open_islands(without, view="modalities", cell=cells[whole[4]])
    folder = Path("places") / "islands-r6" / "chips"
    shutil.copytree(pictured_data / folder, without / folder)
    assert rows(checked(app.run()))


def test_damaged_pictures_do_not_stop_the_view(
    open_islands: Open, without: Path, cells: list[str], whole: list[int]
) -> None:
    (without / "places" / "islands-r6" / "chips").mkdir()
    for view in ("similar", "modalities"):
        app = open_islands(without, view=view, cell=cells[whole[4]])
        assert rows(app) == []
        assert "are damaged" in words(app)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_an_image_that_was_brought_along_stands_beside_the_result(
    open_islands: Open, chips: Chips
) -> None:
    brought = chips.pixels[7].repeat(2, axis=0).repeat(2, axis=1)  # each pixel as four
    file = io.BytesIO()
    Image.fromarray(brought).save(file, "PNG")
    app = open_islands(view="similar")
    (uploader,) = [one for one in app.file_uploader if str(one.key).startswith("image-")]
    checked(uploader.upload("here.png", file.getvalue(), "image/png").run())
    (label, _, mine), result = rows(app)[0]
    assert label == "your image"
    # As it was, in the colours of the place: pictures here are of values from 0 to 255.
    assert np.abs(mine.astype(int) - chips.pixels[7]).max() <= 1
    assert_of([result], chips, [app.selectbox(key="result").value])


# ---- Modalities


def test_the_card_shows_the_cell_and_what_is_like_it(
    open_islands: Open, chips: Chips, cells: list[str], whole: list[int]
) -> None:
    app = open_islands(view="modalities", cell=cells[whole[4]])
    one, alike = rows(app)
    assert_of(one, chips, [cells[whole[4]]])
    (pills,) = (
        group for group in app.button_group if group.label == "Most alike by the image alone"
    )
    assert [label for label, _, _ in alike] == [one.split(" ·")[0] for one in pills.options]
    assert len(alike) == 5
    assert "the line is the cell" in words(app)


def test_a_real_picture_is_not_called_invented(
    open_islands: Open, without: Path, pictured_data: Path, cells: list[str], whole: list[int]
) -> None:
    folder = Path("places") / "islands-r6"
    shutil.copytree(pictured_data / folder / "chips", without / folder / "chips")
    header = without / folder / "place.yaml"
    text = header.read_text("utf-8")
    assert "generated: true" in text
    header.write_text(text.replace("generated: true", "generated: false"), "utf-8")
    for view in ("similar", "modalities"):
        app = open_islands(without, view=view, cell=cells[whole[4]])
        assert rows(app)[0][0][1] == f"Imagery of cell {cells[whole[4]]}, seen from above"
        assert "Invented" not in words(app)


def test_an_invented_picture_is_called_invented(
    country_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(APP))
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(country_data))
    place = Place.load(country_data / "places" / "synthetic-600-r6")
    chips = place.chips
    assert chips is not None
    holes = np.flatnonzero((chips.pixels[:] == EMPTY).all(axis=3).any(axis=(1, 2)))
    cell = grid.to_strings(chips.cells[holes[:1]])[0]
    for view in ("similar", "modalities"):
        app = AppTest.from_file(str(APP / "main.py"), default_timeout=60)
        address = {"view": view, "place": "synthetic-600-r6", "run": "mobclip", "cell": cell}
        for name, value in address.items():
            app.query_params[name] = value
        checked(app.run())
        assert rows(app)[0][0][1] == f"Invented imagery of cell {cell}, seen from above"
        assert "Invented, like the place." in words(app)
        assert "In the image's own red, green and blue" in words(app)
        assert "Chequered: no data" in words(app)
