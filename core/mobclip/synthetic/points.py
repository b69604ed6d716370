"""Points of interest: counts by category, and names that tell of the place."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from mobclip.synthetic.fields import sigmoid
from mobclip.synthetic.latents import Latents
from mobclip.synthetic.names import PLACE_WORDS
from mobclip.synthetic.settlements import Settlements
from mobclip.synthetic.world import World

POINTS_PER_CELL = 15.0  # mean over the country


@dataclass(frozen=True, kw_only=True)
class Category:
    """A kind of venue: how common it is, what draws it, and how its names end."""

    name: str
    group: str
    rate: float  # relative frequency where nothing draws it
    people: float  # elasticity to the number of people
    draws: dict[str, float]  # latent -> log-rate per unit (functions 0 to 1, others z)
    nouns: tuple[str, ...]


def _c(name: str, group: str, rate: float, people: float, nouns: str, **draws: float) -> Category:
    return Category(
        name=name, group=group, rate=rate, people=people, draws=draws, nouns=tuple(nouns.split("|"))
    )


# ruff: noqa: E501 - the table reads better one category a line
# fmt: off
CATEGORIES: tuple[Category, ...] = (
    _c("restaurant", "food", 5.0, 0.9, "Restaurant|Kitchen|Grill", centre=1.0, tourism=1.2, affluence=0.2),
    _c("cafe", "food", 4.0, 0.9, "Cafe|Coffee House|Tea Room", centre=1.2, campus=1.0, retail_mix=0.3),
    _c("fast_food", "food", 3.5, 0.9, "Snack Bar|Burger Stop|Noodle Counter", retail_mix=0.6, affluence=-0.3),
    _c("bar", "food", 2.0, 0.85, "Bar|Tavern|Pub", nightlife=0.9, centre=0.6, campus=0.5),
    _c("nightclub", "food", 0.5, 0.9, "Nightclub|Dance Hall|Music Club", nightlife=1.1, centre=0.9),
    _c("fish_market", "food", 0.2, 0.5, "Fish Market|Fish Auction|Seafood Hall", port=2.8, tourism=0.4),
    _c("grocery", "retail", 5.0, 0.95, "Grocery|Food Store|Convenience Store", retail_mix=-0.5),
    _c("market_hall", "retail", 1.0, 0.8, "Market Hall|Street Market|Farmers Market", retail_mix=-0.9, centre=0.5),
    _c("supermarket", "retail", 2.0, 0.9, "Supermarket|Hypermarket", retail_mix=0.7),
    _c("shopping_mall", "retail", 0.5, 0.9, "Shopping Mall|Galleria|Outlet Centre", retail_mix=1.1, centre=0.8),
    _c("clothes_shop", "retail", 2.5, 0.95, "Clothes Shop|Fashion Store|Tailor", retail_mix=0.6, centre=1.2),
    _c("luxury_shop", "retail", 0.4, 0.95, "Jeweller|Boutique|Watch Gallery", affluence=0.9, centre=1.6, retail_mix=0.4),
    _c("repair_shop", "retail", 2.0, 0.85, "Repair Shop|Garage|Tyre Service", retail_mix=-0.5, industry=0.8, affluence=-0.3),
    _c("bank", "services", 1.8, 0.9, "Bank|Savings Bank|Credit Union", centre=1.4, affluence=0.2),
    _c("office", "services", 3.0, 1.0, "Offices|Business Centre|Law Office", centre=1.9, affluence=0.3),
    _c("hairdresser", "services", 3.0, 0.95, "Hairdresser|Barber|Beauty Salon"),
    _c("pharmacy", "services", 1.6, 0.9, "Pharmacy|Chemist"),
    _c("fuel_station", "services", 1.2, 0.6, "Filling Station|Fuel Stop", logistics=0.9),
    _c("town_hall", "civic", 0.4, 0.5, "Civic Office|Register Office|Council House", centre=0.8),
    _c("clinic", "civic", 1.2, 0.85, "Clinic|Medical Centre|Surgery"),
    _c("hospital", "civic", 0.25, 0.9, "Hospital|Infirmary", centre=0.7, campus=0.5),
    _c("temple", "civic", 1.5, 0.6, "Chapel|Temple|Church|Shrine"),
    _c("park", "civic", 1.2, 0.7, "Park|Gardens|Playground", affluence=0.3),
    _c("school", "education", 1.6, 0.85, "Primary School|Secondary School|Academy"),
    _c("kindergarten", "education", 1.0, 0.9, "Kindergarten|Nursery"),
    _c("university", "education", 0.12, 0.5, "Faculty of Science|Lecture Hall|Institute of Medicine", campus=3.6),
    _c("bookshop", "education", 0.4, 0.8, "Bookshop|Stationers|Library", campus=2.2, centre=0.5),
    _c("student_hall", "education", 0.15, 0.6, "Student Residence|Hall of Residence", campus=3.2),
    _c("factory", "industry", 0.6, 0.4, "Works|Factory|Assembly Plant", industry=2.8),
    _c("workshop", "industry", 1.0, 0.5, "Machine Shop|Metal Workshop|Joinery", industry=2.0),
    _c("warehouse", "industry", 0.5, 0.35, "Warehouse|Storage Hall|Cold Store", logistics=2.4, port=1.8, industry=0.8),
    _c("logistics_depot", "industry", 0.25, 0.3, "Logistics Depot|Distribution Centre|Truck Terminal", logistics=3.2, port=1.0),
    _c("container_terminal", "industry", 0.05, 0.2, "Container Terminal|Shipping Office|Customs House", port=4.2),
    _c("mine", "industry", 0.05, 0.1, "Mine|Ore Works|Quarry", mining=3.6),
    _c("hotel", "leisure", 0.7, 0.6, "Hotel|Guest House|Inn", tourism=2.4, centre=0.8),
    _c("beach_resort", "leisure", 0.08, 0.2, "Beach Resort|Holiday Village|Surf School", tourism=4.0),
    _c("museum", "leisure", 0.3, 0.6, "Museum|Art Gallery|Monument", tourism=1.5, centre=0.9),
    _c("stadium", "leisure", 0.2, 0.7, "Stadium|Sports Hall|Swimming Pool", campus=0.5),
    _c("farm_shop", "countryside", 1.0, 0.2, "Farm Shop|Farm Supplies|Grain Store", urban=-0.3),
    _c("vineyard", "countryside", 0.4, 0.15, "Vineyard|Cider Press|Creamery", urban=-0.3, affluence=0.3),
)
# fmt: on
GROUPS = tuple(dict.fromkeys(category.group for category in CATEGORIES))


def rates(latents: Latents) -> Float[np.ndarray, "cells categories"]:
    """Expected points per cell and category; `POINTS_PER_CELL` on average."""
    people = np.log((latents.population + 15) / 1000)
    out = np.empty((len(people), len(CATEGORIES)))
    for column, category in enumerate(CATEGORIES):
        log_rate = np.log(category.rate) + category.people * people
        for name, weight in category.draws.items():
            plain = name in (
                "centre",
                "industry",
                "logistics",
                "port",
                "tourism",
                "campus",
                "mining",
            )
            log_rate = log_rate + weight * (latents[name] if plain else latents.z(name))
        out[:, column] = np.exp(log_rate)
    return out * (POINTS_PER_CELL * len(people) / out.sum())


def make_points(
    rng: np.random.Generator, world: World, towns: Settlements, latents: Latents
) -> pa.Table:
    """Columns lon, lat, name, category, tags; rows in no particular order."""
    expected = rates(latents)
    # One over-dispersion per cell and one per cell and category: negative binomial counts.
    expected = expected * rng.gamma(4.0, 1 / 4.0, (len(expected), 1))
    expected = rng.gamma(3.0, expected / 3.0)
    counts = rng.poisson(expected)
    cell, kind = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), len(CATEGORIES))
    order = rng.permutation(len(cell))
    cell, kind = cell[order], kind[order]
    n = len(cell)

    radius = 0.8 * world.spacing_km / 2 * np.sqrt(rng.random(n))
    angle = rng.uniform(0, 2 * np.pi, n)
    lat = world.lonlat[cell, 1] + radius * np.sin(angle) / 111.2
    lon = world.lonlat[cell, 0] + radius * np.cos(angle) / (111.2 * np.cos(np.radians(lat)))

    price = 1 + np.digitize(latents.z("affluence")[cell] + rng.normal(0, 1.0, n), (-1.0, 0.3, 1.4))
    first = _first_words(rng, latents, towns, cell)
    return pa.table(
        {
            "lon": np.round(lon, 6),
            "lat": np.round(lat, 6),
            "name": _joined(first, _last_words(rng, kind)),
            "category": pa.array(np.array([c.name for c in CATEGORIES], object)[kind]),
            "tags": pa.array(_tags()[kind, price - 1]),
        }
    )


def _first_words(
    rng: np.random.Generator, latents: Latents, towns: Settlements, cell: np.ndarray
) -> np.ndarray:
    """Word of the place's character, drawn in proportion to its functions, or the town's name."""
    characters = list(PLACE_WORDS)
    affluence = latents.z("affluence")
    # Squared: the leading function of a place wins most of its names.
    score = np.column_stack(
        [
            3.0 * latents["port"] ** 2,
            1.2 * latents["logistics"] ** 2,
            1.0 * latents["industry"] ** 2,
            2.0 * latents["campus"] ** 2,
            2.0 * latents["tourism"] ** 2,
            1.5 * latents["mining"] ** 2,
            0.6 * latents["centre"] ** 2,
            0.3 * sigmoid(2 * affluence - 1),
            0.3 * sigmoid(-2 * affluence - 1),
            0.4 * sigmoid(-2 * latents.z("urban")),
        ]
    )
    # The name of the town is used for about one venue in four.
    share = np.cumsum(score / (score.sum(axis=1, keepdims=True) * 4 / 3), axis=1)
    drawn = (rng.random(len(cell))[:, None] > share[cell]).sum(axis=1)
    widths = np.array([len(PLACE_WORDS[name]) for name in characters] + [1])
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    words = np.array([w for name in characters for w in PLACE_WORDS[name]] + [*towns.names], object)
    pick = starts[drawn] + (rng.random(len(cell)) * widths[drawn]).astype(np.int64)
    of_town = drawn == len(characters)
    pick[of_town] = starts[-1] + towns.city_of_cell[cell[of_town]]
    return words[pick]


def _last_words(rng: np.random.Generator, kind: np.ndarray) -> np.ndarray:
    widths = np.array([len(category.nouns) for category in CATEGORIES])
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    nouns = np.array([noun for category in CATEGORIES for noun in category.nouns], object)
    return nouns[starts[kind] + (rng.random(len(kind)) * widths[kind]).astype(np.int64)]


def _joined(first: np.ndarray, last: np.ndarray) -> pa.Array:
    return pa.array((first + " ") + last, pa.string())


def _tags() -> np.ndarray:
    return np.array(
        [[f"group={c.group};price={price}" for price in (1, 2, 3, 4)] for c in CATEGORIES], object
    )
