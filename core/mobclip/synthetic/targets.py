"""The eleven targets: known functions of the latents, plus noise of known size."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from mobclip.synthetic.districts import Districts
from mobclip.synthetic.fields import standardised
from mobclip.synthetic.latents import Latents
from mobclip.synthetic.world import World

Level = Literal["cell", "district", "city"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """signal = mean + spread * z(sum of weight * z(latent)); value = signal + noise.

    z is standardisation over the units of the level (over all cells, districts or cities). With
    `log`, signal and noise live on the scale of log(1 + value).
    """

    name: str
    title: str
    unit: str
    level: Level
    weights: dict[str, float]  # latent -> weight
    mean: float
    spread: float
    ceiling: float  # share of the variance that is signal: the largest reachable R²
    log: bool = False
    lowest: float = 0.0  # values are cut here, as counts and shares are


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="POP",
        title="Population density",
        unit="people/km²",
        level="cell",
        weights={"urban": 1.0},
        mean=2.9,
        spread=1.5,
        ceiling=0.92,
        log=True,
    ),
    Recipe(
        name="CRI",
        title="Crime cases",
        unit="cases/year",
        level="cell",
        weights={"urban": 0.6, "nightlife": 0.5, "ties_2": 0.4, "affluence": -0.4, "commute": -0.2},
        mean=4.2,
        spread=0.9,
        ceiling=0.75,
        log=True,
    ),
    Recipe(
        name="NTL",
        title="Night-time light",
        unit="nW/cm²/sr",
        level="cell",
        weights={"urban": 0.75, "industry": 0.3, "tourism": 0.2, "affluence": 0.25, "port": 0.15},
        mean=1.6,
        spread=0.65,
        ceiling=0.80,
        log=True,
    ),
    Recipe(
        name="ELE",
        title="Elevation",
        unit="m",
        level="cell",
        weights={"elevation": 1.0},
        mean=400.0,
        spread=380.0,
        ceiling=0.95,
        lowest=-1000.0,
    ),
    Recipe(
        name="FOR",
        title="Forest cover",
        unit="%",
        level="cell",
        weights={"forest": 1.0},
        mean=40.0,
        spread=20.0,
        ceiling=0.88,
        lowest=-50.0,
    ),
    Recipe(
        name="COS",
        title="Off-line consumption",
        unit="1,000 crowns/year",
        level="cell",
        weights={
            "urban": 0.65,
            "retail_mix": 0.4,
            "affluence": 0.35,
            "ties_1": 0.4,
            "centre": 0.15,
        },
        mean=6.5,
        spread=1.2,
        ceiling=0.80,
        log=True,
    ),
    Recipe(
        name="EDU",
        title="Mean years of education",
        unit="years",
        level="district",
        weights={"affluence": 0.6, "campus": 0.45, "urban": 0.3, "ageing": -0.2, "commute": 0.35},
        mean=9.6,
        spread=1.1,
        ceiling=0.85,
    ),
    Recipe(
        name="ELD",
        title="Share aged 65 and over",
        unit="%",
        level="district",
        weights={"ageing": 0.7, "urban": -0.35, "forest": 0.3, "commute": -0.35, "ties_4": 0.2},
        mean=15.0,
        spread=3.6,
        ceiling=0.80,
    ),
    Recipe(
        name="HOU",
        title="Housing area per head",
        unit="m²",
        level="district",
        weights={
            "household": 0.6,
            "urban": -0.4,
            "farmland": 0.25,
            "affluence": 0.3,
            "ties_3": 0.3,
        },
        mean=37.0,
        spread=5.5,
        ceiling=0.75,
    ),
    Recipe(
        name="HSR",
        title="Share living away from their registered home",
        unit="%",
        level="district",
        weights={"commute": 0.6, "ties_2": 0.45, "industry": 0.35, "urban": 0.3},
        mean=21.0,
        spread=6.0,
        ceiling=0.80,
    ),
    Recipe(
        name="ENE",
        title="Energy consumption",
        unit="GWh/year",
        level="city",
        weights={"urban": 0.7, "industry": 0.5, "mining": 0.35, "port": 0.3, "affluence": 0.2},
        mean=7.0,
        spread=0.8,
        ceiling=0.85,
        log=True,
    ),
)
URBAN_DENSITY = 60.0  # people/km²: crime is recorded above it
NTL_SAMPLE = 0.25  # share of cells where night light was measured


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A target as published, and what it is made of."""

    recipe: Recipe
    values: Float[np.ndarray, " units"]  # NaN where not observed
    signal: Float[np.ndarray, " units"]  # on the scale of the noise
    noise: Float[np.ndarray, " units"]

    @property
    def reachable(self) -> float:
        """R² of the true signal on the units observed: the noise ceiling of this draw."""
        seen = np.isfinite(self.values)
        observed = self.values[seen]
        if self.recipe.log:
            observed = np.log1p(observed)
        return float(1 - np.mean((observed - self.signal[seen]) ** 2) / observed.var())


def make_outcomes(
    rng: np.random.Generator, world: World, latents: Latents, districts: Districts
) -> tuple[Outcome, ...]:
    """Draw the targets, in the order of `RECIPES`."""
    outcomes = []
    density = np.expm1(latents["urban"])
    seen = {
        "CRI": density > URBAN_DENSITY,
        "NTL": rng.random(len(density)) < max(NTL_SAMPLE, 60 / len(density)),
    }
    for recipe in RECIPES:
        signal = signal_of(recipe, latents, districts)
        noise = rng.normal(
            0, recipe.spread * np.sqrt((1 - recipe.ceiling) / recipe.ceiling), len(signal)
        )
        values = np.maximum(
            np.expm1(signal + noise) if recipe.log else signal + noise, recipe.lowest
        )
        if recipe.name in seen:
            values = np.where(seen[recipe.name], values, np.nan)
        outcomes.append(Outcome(recipe=recipe, values=values, signal=signal, noise=noise))
    return tuple(outcomes)


def signal_of(
    recipe: Recipe, latents: Latents, districts: Districts
) -> Float[np.ndarray, " units"]:
    """The part of a target that the latents determine."""
    total = sum(
        weight * standardised(unit_means(latents[name], recipe.level, districts))
        for name, weight in recipe.weights.items()
    )
    return np.asarray(recipe.mean + recipe.spread * standardised(np.asarray(total)))


def unit_means(
    values: Float[np.ndarray, " cells"], level: Level, districts: Districts
) -> Float[np.ndarray, " units"]:
    """Plain mean over the member cells; the values themselves at cell level."""
    if level == "cell":
        return values
    members = districts.of_cell if level == "district" else districts.city_of_cell
    return np.asarray(np.bincount(members, values) / np.bincount(members))
