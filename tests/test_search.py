"""Search against a naive loop; examples, exclusion, ties, text."""

import numpy as np
import pytest

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, CellError, ConfigError
from mobclip.search import Query, SimilarityIndex, TextQuery, asked, signed_words
from mobclip.session import Selection
from mobclip.textmap import TextMap


@pytest.fixture
def index(toy_place):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(toy_place.cells), 6)).astype(np.float32)
    return SimilarityIndex(Embeddings(name="run", cells=toy_place.cells, vectors=vectors))


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_equals_a_naive_loop(index):
    made = index.embeddings
    query = made.cells[17]
    expected = sorted(
        (
            (cosine(made.vectors[17], v), cell)
            for v, cell in zip(made.vectors, made.cells, strict=True)
            if cell != query
        ),
        key=lambda pair: -pair[0],
    )[:10]
    found = index.like_cell(query, 10)
    np.testing.assert_array_equal(found.cells, [cell for _, cell in expected])
    np.testing.assert_allclose(found.scores, [score for score, _ in expected], rtol=1e-5)


def test_length_does_not_matter_and_ties_go_to_the_smaller_cell(toy_place):
    vectors = np.tile([[1.0, 2.0]], (len(toy_place.cells), 1)).astype(np.float32)
    vectors *= np.linspace(1, 9, len(vectors))[:, None].astype(np.float32)
    rounded = SimilarityIndex(Embeddings(name="run", cells=toy_place.cells, vectors=vectors))
    found = rounded.like_vector(np.array([1, 2], np.float32), len(vectors))
    np.testing.assert_allclose(found.scores, 1, rtol=1e-6)
    assert len(found.cells) == len(vectors)


def test_nearby_cells_can_be_left_out(index):
    query = index.embeddings.cells[100]
    found = index.like_cell(query, 20, exclude_within_km=30.0)
    away = grid.distances_km(grid.centers(found.cells), grid.centers(np.array([query]))[0])
    assert away.min() > 30


def test_negative_examples_push_away(index):
    positive, negative = index.embeddings.cells[[3, 50]]
    plain = index.scores(index.vector_of([positive]))[50]
    pushed = index.scores(index.vector_of([positive], [negative]))[50]
    assert pushed < plain
    found = index.like([positive], [negative], 15)
    assert not {int(positive), int(negative)} & {int(cell) for cell in found.cells}


def test_more_answers_than_cells_gives_all(index):
    n = len(index.embeddings.cells)
    assert len(index.like_cell(index.embeddings.cells[0], 10 * n).cells) == n - 1


def test_unknown_cell_and_wrong_width_are_clear_errors(index):
    far = grid.points_to_cells(lon=np.array([10.0]), lat=np.array([10.0]), resolution=6)[0]
    with pytest.raises(CellError, match=r"not among the .* cells of 'run'"):
        index.like_cell(far, 5)
    with pytest.raises(ConfigError, match="6 numbers"):
        index.scores(np.ones(5, np.float32))
    with pytest.raises(ConfigError, match="at least one positive"):
        index.like([], [index.embeddings.cells[0]], 5)


def test_text_map_round_trip_and_damage(tmp_path):
    rng = np.random.default_rng(0)
    made = TextMap(weight=rng.normal(size=(4, 3)).astype(np.float32))
    text = rng.normal(size=(2, 4)).astype(np.float32)
    made.save(tmp_path / "text.safetensors")
    loaded = TextMap.load(tmp_path / "text.safetensors")
    np.testing.assert_array_equal(loaded(text), made(text))
    (tmp_path / "text.safetensors").write_bytes(b"12345678901234567890")
    with pytest.raises(ArtefactError, match="cannot be searched by text"):
        TextMap.load(tmp_path / "text.safetensors")
    assert not TextQuery(run=tmp_path / "none", featurizer=tmp_path).available


# ---- queries of several parts, filters, chance


def unit(vector):
    return vector / np.linalg.norm(vector)


def naive_scores(made, vector):
    return np.array([cosine(vector, one) for one in made.vectors])


def test_one_part_is_the_search_there_was(index):
    cells = index.embeddings.cells
    one = index.ranked(Query(like=(int(cells[17]),))).best(25, apart_km=20.0)
    same = index.like_cell(cells[17], 25, exclude_within_km=20.0)
    np.testing.assert_array_equal(one.cells, same.cells)
    np.testing.assert_array_equal(one.scores, same.scores)
    examples = Query(like=tuple(cells[[3, 9]].tolist()), unlike=(int(cells[50]),))
    pushed = index.ranked(examples).best(10)
    np.testing.assert_array_equal(pushed.cells, index.like(cells[[3, 9]], cells[[50]], 10).cells)
    words = np.arange(6, dtype=np.float32)
    np.testing.assert_array_equal(
        index.ranked(Query(towards=(words,))).best(10).cells, index.like_vector(words, 10).cells
    )


def test_parts_have_an_even_say_in_a_naive_loop(index):
    """Like A, minus B, plus words, minus words: each by how far its own scores spread."""
    made = index.embeddings
    plus, minus = np.eye(6, dtype=np.float32)[[1, 4]] * 7  # their length has no say
    query = Query(
        like=(int(made.cells[3]),), unlike=(int(made.cells[50]),), towards=(plus,), away=(minus,)
    )
    vectors = [unit(one) for one in made.vectors]
    examples = vectors[3] - 0.5 * vectors[50]
    expected = np.zeros(6)
    for weight, part in ((1, examples), (1, plus), (-0.5, minus)):
        spread = np.std([one @ part for one in vectors])
        expected += weight * part / spread
    np.testing.assert_allclose(index.vector(query), expected, rtol=1e-4)
    scores = index.ranked(query).scores
    np.testing.assert_allclose(scores, naive_scores(made, expected), atol=1e-5)


def test_filters_are_a_naive_loop_over_scores_that_are_there(index):
    made = index.embeddings
    example = made.cells[[100, 7]]
    ranked = index.ranked(Query(like=tuple(example.tolist())))
    inside = np.random.default_rng(3).random(len(made.cells)) < 0.5
    found = ranked.best(15, least=0.2, inside=inside, apart_km=15.0)
    centres = grid.centers(made.cells)
    expected = []
    for row in np.argsort(-ranked.scores, kind="stable"):
        km = min(
            grid.distances_km(centres[row][None], grid.centers(example[[i]]))[0] for i in (0, 1)
        )
        good = ranked.scores[row] >= 0.2 and inside[row] and km > 15
        if good and made.cells[row] not in example:
            expected.append((row, km))
    assert found.passed == len(expected)
    expected = expected[:15]
    assert len(expected) > 3
    assert found.rows.tolist() == [row for row, _ in expected]
    np.testing.assert_allclose(found.km, [km for _, km in expected])
    for row, rank, percentile in zip(found.rows, found.ranks, found.percentiles, strict=True):
        others = [s for r, s in enumerate(ranked.scores) if made.cells[r] not in example]
        better = sum(s > ranked.scores[row] for s in others)
        assert rank == better + 1
        assert percentile == pytest.approx(1 - better / (len(others) - 1))
    assert len(ranked.best(10, least=1.1).cells) == 0
    assert ranked.best(0).chance.shape == (0,)


def test_ranked_by_other_scores(index):
    ranked = index.ranked(Query(like=(int(index.embeddings.cells[5]),)))
    other = np.linspace(0, 1, len(ranked.scores)).astype(np.float32)
    other[-1] = np.nan  # not known: no answer
    found = ranked.by(other).best(3)
    assert found.rows.tolist() == [len(other) - 2, len(other) - 3, len(other) - 4]
    np.testing.assert_array_equal(found.own, ranked.scores[found.rows])


def test_chance_counts_random_queries_that_do_as_well(index):
    made = index.embeddings
    found = index.ranked(Query(like=(int(made.cells[17]),)), seed=4).best(5)
    null = index.ranked(Query(like=(int(made.cells[17]),)), seed=4).null
    for row, score, chance in zip(found.rows, found.own, found.chance, strict=True):
        as_good = sum(cosine(one, made.vectors[row]) >= score - 1e-6 for one in null.queries)
        assert chance == pytest.approx((1 + as_good) / (1 + len(null.queries)), abs=0.003)
    units = {tuple(np.round(one, 5)) for one in index.unit}
    assert all(tuple(np.round(one, 5)) in units for one in null.queries)  # cells, as many as asked
    worst = index.ranked(Query(like=(int(made.cells[17]),))).best(10_000).chance[-1]
    assert worst > 0.9 > 0.2 > found.chance.max()


def test_a_hub_is_found_by_chance_and_says_so(toy_place):
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(len(toy_place.cells), 16)).astype(np.float32)
    vectors += 3 * unit(np.ones(16, np.float32))
    vectors[60] = vectors.mean(0) * 1.0  # near to everything
    index = SimilarityIndex(Embeddings(name="run", cells=toy_place.cells, vectors=vectors))
    ranked = index.ranked(Query(like=(int(toy_place.cells[5]),)))
    chance = dict(
        zip(*(getattr(ranked.best(500), one).tolist() for one in ("rows", "chance")), strict=True)
    )
    percentile = dict(zip(ranked.best(500).rows, ranked.best(500).percentiles, strict=True))
    assert percentile[60] > 0.9
    assert chance[60] > 0.2


def test_words_are_put_beside_other_words(index):
    plus = np.eye(6, dtype=np.float32)[1]
    nobody = index.ranked(Query(towards=(plus,)))
    assert np.isnan(nobody.best(3).chance).all()
    assert np.isnan(nobody.best_by_chance)
    others = np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32)
    ranked = index.ranked(Query(towards=(plus,)), others=others)
    known = {tuple(np.round(unit(one), 5)) for one in others}
    assert all(tuple(np.round(one, 5)) in known for one in ranked.null.queries)
    best = [max(naive_scores(index.embeddings, one)) for one in ranked.null.queries[:99]]
    expected = (1 + sum(one >= ranked.scores.max() - 1e-6 for one in best)) / 100
    assert ranked.best_by_chance == pytest.approx(expected)
    assert ranked.km is None
    assert ranked.best(3).km is None


def test_only_things_to_be_unlike_is_no_search(index):
    with pytest.raises(ConfigError, match="something to look for"):
        index.vector(Query(unlike=(int(index.embeddings.cells[0]),)))
    with pytest.raises(ConfigError, match="something to look for"):
        index.vector(Query(away=(np.ones(6, np.float32),)))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("harbour warehouse", ("harbour warehouse", "")),
        ("cafe market -harbour", ("cafe market", "harbour")),
        ("drive-in -fast -food", ("drive-in", "fast food")),
        ("-harbour", ("", "harbour")),
        ("a - b", ("a - b", "")),
    ],
)
def test_words_behind_a_minus_are_taken_off(text, parts):
    assert signed_words(text) == parts


def test_a_selection_is_asked(index):
    cells = index.embeddings.cells
    a, b, c = grid.to_strings(cells[[4, 8, 15]])
    numbers = dict(zip((a, b, c), cells[[4, 8, 15]].tolist(), strict=True))
    assert asked(Selection(), None) is None
    both = asked(Selection(cell=a, like=(b,), unlike=(c, b, a)), None)
    assert both.like == (numbers[a], numbers[b])
    assert both.unlike == (numbers[c],)  # a cell cannot be both

    def words(text):
        return np.full(6, len(text), np.float32)

    found = asked(Selection(cell=a, query="cafe -bar", like=(b,)), words)
    assert found.like == (numbers[b],)  # the chosen cell is looked at, not asked for
    assert found.towards[0][0] == 4
    assert found.away[0][0] == 3
    image = asked(Selection(cell=a), None, image=np.ones(6, np.float32))
    assert (image.like, len(image.towards)) == ((), 1)
    with pytest.raises(ConfigError, match="cannot be searched by words"):
        asked(Selection(query="cafe"), None)


def test_other_words_of_the_place(app_data):
    folder = app_data / "places" / "islands-r6"
    query = TextQuery(run=folder / "runs" / "propagated", featurizer=folder / "featurizers" / "poi")
    found = query.others("harbour warehouse", size=30)
    singles = {"barn", "cafe", "farm", "market"}
    of_pairs = [query(f"{a} {b}") for a in singles for b in singles if a != b]
    assert found.shape == (30, len(of_pairs[0]))
    near = [min(np.abs(one - other).max() for other in of_pairs) for one in found]
    assert max(near) < 1e-4  # two words at a time, none of them asked for
