"""Halcyonia, an invented country whose truth is known.

`write_country` writes raw files as providers would publish them. They come in through
`data_manifest.yaml` and the readers of `mobclip.sources`, as real data do. The country lies in
the open South Atlantic (22° W, 30.5° S), on real H3 cells, where there is no land: nobody can
take it for a real place. (Above about 40,000 cells of resolution 6 it is so large that it covers
Tristan da Cunha or Trindade; finer cells make a smaller country; above 218,000 cells resolution 7
or finer is required.) It is meant for teaching, tests and ablations. **It proves nothing about
real places**: a model that wins here has found what was planted.

It was built from the literature and frozen on 2026-11-21, before any model was tuned on it. It is
never changed to let a model win.

Sizes
-----
500 to 1,000,000 cells; 20,000 is the default. Below 500 (100 at least) there are too few districts
and cities for probes of five folds. On 2 cores: 20,000 cells of resolution 6 take 9 s and 0.6 GB,
300,000 of resolution 7 take 2¼ minutes and 2.9 GB (a million: expect about 3.5 times both; not
measured). Districts: one for 133 cells, 32 to 3,000 (150 at 20,000 cells). City regions: one for
333 cells, 24 to 300 (60 at 20,000).

Files
-----
pois.parquet
    points. `lon`, `lat` (degrees), `name`, `category` (40, in `points.CATEGORIES`), `tags`
    ("group=food;price=2": 8 groups, price 1 to 4)
imagery.tif
    raster. 4 bands blue, green, red, nir; uint8; nodata 0 on the open sea and in a swath that was
    never recorded; tiled; its own Lambert azimuthal equal-area CRS (metres). A chip as wide as a
    cell has 64 pixels of its own in countries of up to 5,000 cells (123 m at resolution 6), 32 up
    to 50,000 (247 m; with 64 the default country would be a file of 120 MB), 16 above
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

Land. Height of an ellipse, less a gulf and plus a peninsula and islands, plus a fractal field:
octaves of falling strength (Mandelbrot 1982). The sea level leaves exactly `cells` cells dry.
Elevation (m): ridged mountains (Musgrave et al. 1989) along a bent line, hills, plains near the
coast. Rivers run down the smoothed height. The climate is one field, moisture.

Settlements. Cities by Zipf's rank-size rule (Zipf 1949; exponent 1.02), placed one after another
where ground is low and near coast or rivers, apart from larger ones; each is known for one thing
(port, campus, logistics, industry, tourism, mining). Density falls as exp(-distance / radius)
(Clark 1951), the largest have subcentres (Anas, Arnott and Small 1998); towns gather along the
roads; villages everywhere, lognormal (Eeckhout 2004).

Districts. Voronoi regions, with wandering borders, of seeds that follow the people. Each city has
a district of its own; the others belong to a city by distance and size, and a city region is the
union of its districts.

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
    poi, imagery, demographics, and through freight and kin mobility. The same, where ore fields
    meet high ground
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
parcel; bright roofs follow industry, pits mining, hill shade (Horn 1981) and snow elevation; roads
and rivers are drawn where they run.

Demographics. In a cell, the shares of a variable are a softmax of log base + Σ tilt · z(latent) ·
position of the bin; a district's are their mean weighted by people, and its counts are drawn
Dirichlet-multinomial (Mosimann 1962). Education is not asked, and the oldest age bin is 55 and
over: EDU and ELD are not inputs.

Mobility. Trips from i to j for one purpose: T_ij = a_i b_j (1 + d_ij / r_i)^-γ exp(like_i ·
like_j), with a and b such that Σ_j T_ij = O_i and Σ_i T_ij = D_j: the doubly constrained gravity
model (Wilson 1971), solved by scaling rows and columns in turn (Furness 1965; Deming and Stephan
1940). Counts are negative binomial with variance T + T²/2 (Davies and Guy 1987). O and D differ
by function, so that places complement each other. Work, from homes to jobs: O and r grow with
exp(commute), D with centre, industry, logistics, campus and port, so the morning is asymmetric.
School: D follows campus. Leisure: D follows tourism. Freight, far away: from works, mines, ports
and depots to depots, ports and centres. Kin: like = ties and functions, so cells of equal ties or
function exchange trips over long distances. Origins weigh all cells within 4 steps and a sample
of those farther off (McFadden 1978). The default country has about 3.3 M trips on 1.07 M directed
pairs: **0.27 % of all pairs, where the paper's graph has about 3 %** (and the plan of this country
asked for 1 to 3 %). At 20,000 cells 1 % would be 4 M edges, and every layer of the model passes
over each of them: the main job would no longer fit into four minutes on two cores.

Targets (`targets.RECIPES`). signal = mean + spread · z(Σ weight · z(latent)); value = signal +
normal noise, on the scale of log(1 + value) where `transform` is log1p. At district and city
level a latent is its plain mean over member cells. `ceiling` in truth.json is the R² of the true
signal on the units observed: no model can expect more.

Twins. For pairs of cells more than 0.35 L apart, all latents of the second are replaced by the
first's. Their surroundings differ, and with them districts and the ends of flows.

References
----------
Anas, Arnott and Small (1998), Urban spatial structure, J. Econ. Lit. 36.
Clark (1951), Urban population densities, J. R. Stat. Soc. A 114.
Davies and Guy (1987), The statistical modeling of flow data when the Poisson assumption is
violated, Geogr. Anal. 19.
Deming and Stephan (1940), On a least squares adjustment of a sampled frequency table, Ann. Math.
Stat. 11.
Eeckhout (2004), Gibrat's law for (all) cities, Am. Econ. Rev. 94.
Furness (1965), Time function iteration, Traffic Eng. Control 7.
Horn (1981), Hill shading and the reflectance map, Proc. IEEE 69.
Mandelbrot (1982), The Fractal Geometry of Nature.
McFadden (1978), Modelling the choice of residential location.
Mosimann (1962), On the compound multinomial distribution, Biometrika 49.
Musgrave, Kolb and Mace (1989), The synthesis and rendering of eroded fractal terrains, SIGGRAPH.
Rahimi and Recht (2007), Random features for large-scale kernel machines, NIPS.
Wilson (1971), A family of spatial interaction models, Environ. Plan. 3.
Zipf (1949), Human Behavior and the Principle of Least Effort.

Examples
--------
>>> write_country("data/raw/halcyonia", cells=500, seed=0)  # doctest: +SKIP
"""

from mobclip.synthetic.country import write_country
from mobclip.synthetic.districts import bin_columns
from mobclip.synthetic.world import COUNTRY, NOTICE

__all__ = ["COUNTRY", "NOTICE", "bin_columns", "write_country"]
