"""Invented place names and the words that names of venues are made of."""

import numpy as np

# fmt: off
_HEADS = (
    "Val", "Cor", "Mar", "Tor", "Ald", "Bren", "Cas", "Dun", "Est", "Fen", "Gal", "Hal", "Isk",
    "Kel", "Lor", "Mir", "Nor", "Ost", "Pel", "Quen", "Ros", "Sel", "Tal", "Ulv", "Ver", "Wyn",
    "Yar", "Zel", "Ash", "Bel", "Cal", "Dor", "Elm", "Far", "Gren", "Hol", "Ivar", "Jor",
    "Lind", "Mont", "Thorn", "Win",
)
_INLAND = (
    "dale", "ford", "holm", "wick", "stead", "field", "combe", "ance", "ena", "oria", "ara",
    "mere", "ton", "bury", "leigh", "worth",
)
_COASTAL = (
    "haven", "mouth", "port", "bay", "sound", "ness", "strand", "quay", "cove",
)
# fmt: on

PLACE_WORDS: dict[str, tuple[str, ...]] = {
    # The words that tell of a place's character. None of them depends on the latents that only
    # flows, imagery or demographics may show.
    "port": ("Old Harbour", "Dockside", "Quayside", "Harbour", "Anchor Wharf", "Lighthouse Pier"),
    "logistics": ("Freight Park", "Junction", "Crossroads", "Cargo Gate", "Interchange"),
    "industry": ("Foundry", "Millworks", "Ironbridge", "Steelyard", "Furnace Lane", "Forge"),
    "campus": ("College", "University", "Scholars", "Campus Gate", "Library Square"),
    "tourism": ("Seaview", "Sunset", "Golden Sands", "Beachfront", "Promenade", "Lagoon"),
    "mining": ("Pithead", "Quarry Road", "Miners", "Slate Hill", "Copper Row"),
    "centre": ("Central", "Market Square", "Cathedral", "Exchange", "Grand Avenue", "Town Hall"),
    "affluent": ("Royal", "Rosewood", "Crown Gardens", "Orchard Heights", "Belvedere"),
    "modest": ("Corner", "Penny Lane", "Union Street", "Station Road", "Budget", "Chapel Row"),
    "rural": ("Village", "Old Mill", "Meadow", "Harvest", "Crossing", "Green Lane", "Brook"),
}


def town_names(rng: np.random.Generator, *, coastal: np.ndarray) -> list[str]:
    """Distinct invented names, one for each town; `coastal` (n,) picks endings of the sea."""
    taken: set[str] = set()
    names = []
    for by_sea in coastal:
        endings = _COASTAL if by_sea and rng.random() < 0.6 else _INLAND
        name = ""
        for attempt in range(1000):
            name = str(rng.choice(_HEADS)) + str(rng.choice(endings))
            if attempt > 20:  # short names run out in large countries
                name = f"{rng.choice(_HEADS)}en {name.lower().capitalize()}"
            if name not in taken:
                break
        taken.add(name)
        names.append(name)
    return names
