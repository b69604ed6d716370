"""Halcyonia, an invented country whose truth is known.

`write_country` writes raw files as providers would publish them. They come in through
`data_manifest.yaml` and the readers of `mobclip.sources`, as real data do. The country lies in
the open South Atlantic (22° W, 30.5° S), on real H3 cells, where there is no land: nobody can
take it for a real place. (Above about 40,000 cells of resolution 6 it is so large that it covers
Tristan da Cunha or Trindade; finer cells make a smaller country; above 218,000 cells resolution 7
or finer is required.) It is meant for teaching, tests and ablations. **It proves nothing about
real places**: a model that wins here has found what was planted. It was built from the literature
and is not changed to let a model win.

Files
-----
pois.parquet
    points. `lon`, `lat` (degrees), `name`, `category` (40, in `points.CATEGORIES`), `tags`
    ("group=food;price=2": 8 groups, price 1 to 4)
imagery.tif
    raster. 4 bands blue, green, red, nir; uint8; nodata 0 on the open sea and in a swath that was
    never recorded; about 500 m pixels at resolution 6; its own Lambert azimuthal equal-area CRS
    (metres)
districts.parquet
    zones (GeoParquet, EPSG:4326). `id` ("D0001"), `name`, `population`, and 40 counts of people
    named `<variable>_<bin>`: age, household, occupation, income, tenure, vehicles, dwelling
    (`bin_columns()` lists them). The bins of a variable sum to `population`. 6 % of the districts
    publish nothing: null counts
cities.parquet
    zones (GeoParquet, EPSG:4326). `id` ("C001"), `name`: city regions, each a union of districts
flows.parquet
    flows. `origin`, `destination` (H3 strings), `trips`; directed, self-flows included; the
    morning of a workday
targets_cells.csv
    `h3`, `POP`, `CRI`, `NTL`, `ELE`, `FOR`, `COS`; empty where not observed (CRI in the country,
    NTL outside its sample)
targets_districts.csv
    `id` (of districts.parquet), `EDU`, `ELD`, `HOU`, `HSR`
targets_cities.csv
    `id` (of cities.parquet), `ENE`
truth.parquet
    `h3`, `population`, `district`, `city`, `imaged`, `twin` (H3 string, or empty), and one column
    for each latent. Never an input
truth.json
    title, unit, level, transform, weights, noise and noise ceiling of each target; which modality
    shows which latent; `twins`: pairs of far-apart cells with the same latents
context.geojson
    lines of `kind` coast, border, river and road, and up to 30 points of `kind` city with `name`,
    `rank`, `role`, `population`; always below 300 kB
README.txt
    says that the country is invented

Generative model
----------------
Symbols: *h* distance between cell centres; *L* square root of the land area; z(·) standardised
over the cells; N(l) a smooth Gaussian field of length scale l (random Fourier features, Rahimi
and Recht 2007); ε white noise. All lengths are multiples of h or L, so the country scales with
`cells` and `resolution`. The constants stand in the code beside the equation.

Land. Height of an ellipse, less a gulf and plus a peninsula and islands, plus a fractal field;
the sea level leaves exactly `cells` cells dry. Elevation (m): ridged mountains along a bent line,
hills, plains near the coast. Rivers run down the smoothed height.

Settlements. Cities by Zipf's rank-size rule (exponent 1.02), placed one after another where
ground is low and near coast or rivers, apart from larger ones; each is known for one thing (port,
campus, logistics, industry, tourism, mining). Density falls as exp(-distance / radius) (Clark
1951), the largest have subcentres; towns gather along the roads; villages everywhere, lognormal.

Latents (`truth.parquet`), and the modalities that show them. A latent with one modality is
invisible to the others, but for what its place on the map gives away.

urban
    all four. log(1 + people/km²)
centre, logistics, port, tourism, campus
    poi, mobility. 0 to 1: 1 - exp(-strength); the strength falls with the distance from the
    cities known for it (centre: from any city; tourism: also along sunny coasts; logistics: also
    at road junctions), times lognormal patches
industry
    poi, imagery, demographics, mobility. The same, on the edges of cities and in some valleys
mining
    poi, imagery, demographics, and through `kin` trips mobility. The same, where ore fields meet
    high ground
affluence
    demographics, poi. z(N(.16 L), N(3 h), ε, campus, nearness of a centre)
retail_mix, nightlife
    poi only. z(N(.16 L), N(3 h), ε)
ageing, household
    demographics only. z(N(.16 L), N(3 h), ε)
commute
    mobility only. z(N(.16 L), N(3 h), ε, a ring around the city)
ties_1 to ties_4
    mobility only. A unit vector of four fields z(N(.16 L), N(3 h), ε)
elevation
    imagery only (and few people live high up). Metres
built, forest, farmland, bare, grass
    imagery only, but built follows urban. Shares of the cell that sum to 1: built from density,
    industry and port, the rest a softmax of moisture, height, woods and ε

Points. log-rate of a category = log base + elasticity · log people + Σ weight · latent
(`points.CATEGORIES`); counts negative binomial. A name is a word of the place's character, or of
its town, and a word of the category. The price follows affluence.

Imagery. Each pixel draws one land cover with the shares of its cell, in clumps; crops go by
parcel; bright roofs follow industry, pits mining, hill shade and snow elevation.

Demographics. In a cell, the shares of a variable are a softmax of log base + Σ tilt · z(latent) ·
position of the bin; a district's are their mean weighted by people, Dirichlet-scattered; counts
are multinomial. Education is not asked, and the oldest age bin is 55 and over: EDU and ELD are
not inputs.

Mobility. Trips from i to j for one purpose: T_ij ∝ O_i A_j (1 + d_ij / r_i)^-γ exp(like_i ·
like_j) with each origin's trips fixed (Wilson 1971, singly constrained); counts Poisson-gamma.
Work: O and r grow with exp(commute), A with jobs, so the morning is asymmetric. Kin: like = ties
and functions, so cells of equal ties or function exchange trips over long distances. Leisure and
study: A follows tourism and campus. Freight: logistics, ports and industry among themselves, far
away. Origins weigh all near cells and a sample of far ones (McFadden 1978). The default country
has about 1.8 M trips on 0.6 M pairs (0.15 % of all pairs, the paper about 3 %), so that a laptop
carries it.

Targets (`targets.RECIPES`). signal = mean + spread · z(Σ weight · z(latent)); value = signal +
normal noise, on the scale of log(1 + value) where `transform` is log1p. At district and city
level a latent is its plain mean over member cells. `ceiling` in truth.json is the R² of the true
signal on the units observed: no model can expect more.

Twins. For pairs of cells more than 0.35 L apart, all latents of the second are replaced by the
first's. Their surroundings differ, and with them districts and the ends of flows.

Examples
--------
>>> write_country("data/raw/halcyonia", cells=500, seed=0)  # doctest: +SKIP
"""

from mobclip.synthetic.country import write_country
from mobclip.synthetic.districts import bin_columns
from mobclip.synthetic.world import COUNTRY, NOTICE

__all__ = ["COUNTRY", "NOTICE", "bin_columns", "write_country"]
