"""`data_manifest.yaml`: which files make a place, and what their columns mean.

A new city comes in by writing YAML, never by writing code. This is the reference.

Place
-----
::

    places:
      chicago:                       # name: letters, digits, "-" and "_"
        title: Chicago               # for people
        resolution: 9                # H3, 0 (coarse) to 15
        area: {source: precincts}    # or {bbox: [west, south, east, north]} in degrees
        sources: {...}               # by name, see below
        modalities:                  # what goes into the tokens
          poi: {sources: [venues], featurizer: tfidf, options: {}}
          mobility: {sources: [trips, taxi]}
        note: ...                    # optional: decisions that a reader must know

A place whose files mobclip makes itself has `generator: {name: synthetic, cells: 20000, seed: 0}`;
its sources then need no `url`, `sha256` and `bytes`. Top-level keys that begin with `x-` are
ignored: keep shared pieces (YAML anchors) there.

Source: provenance (every source)
---------------------------------
kind        points, zones, flows or rasters
path        file relative to the mirror folder and to `<data>/raw/`; the suffix picks the reader:
            .csv .csv.gz .parquet .geojson .geojson.gz .shp .gpkg .tif .tiff, and .zip around
            one CSV, shapefile, GeoJSON or GeoPackage
provider, licence, citation, date     text, required
sha256, bytes                         of the file, required (`sha256sum FILE`, `stat -c %s FILE`)
url         one address or a list that is tried in order; may be left out
origin      where the file comes from, in words; required where there is no url
note        optional text
crs         only where the file does not say; a table of lon, lat is EPSG:4326 unless it says other
member      the layer of a GeoPackage, or the file inside a zip, where there are several

Source: reading (points, zones, flows)
--------------------------------------
columns     what stands where, by role (below)
where       rows to keep: `column: value`, `column: [values]`, or
            `column: {min: , max: , not: value or list, min_column: , max_column: }`
missing     `column: value or [values]` that stand for "not known"
derive      new numeric columns: `name: {add: [..], subtract: [..], per: [..], scale: 1,
            per_at_least: 0}` = scale x (sum of add - sum of subtract) / (sum of per); not known
            where the sum of `per` is zero or below `per_at_least`

=======  ================================================================================
kind     columns
=======  ================================================================================
points   lon + lat, or cell (H3 id), or neither where the file has a geometry;
         optional text (one or a list), category, weight
zones    id; the polygon is the geometry of the file, or `geometry_from`
flows    origin_lon + origin_lat + destination_lon + destination_lat, or origin + destination
         (zone ids, with `zones:` naming a zones source), or origin_cell + destination_cell;
         optional weight (1 per row without it)
rasters  none; optional `nodata:` for files that do not state it
=======  ================================================================================

Source: zones only
------------------
id_width       pad ids with leading zeros to this width (also for flows)
repeated_ids   error (default), or merge: several polygons of one id are one zone (no values then)
geometry_from  a zones source whose polygons belong to the same ids
counts         `name: column` of things that add up (people, households); `population` and
               `households` are the conventional names
histograms     `name: {unit: , total: column, bins: {label: column}}`: bins that partition a
               total. unit count, people or households: the bins are counts; percent or share:
               the bins are parts of `total`, which is then required
intensive      `name: column` of averages and medians, which do not add up

Targets (points and zones)
--------------------------
::

    targets:
      crime:   {title: Crimes, column: crime_number, unit: crimes, transform: log1p}
      robbery: {unit: per 1000 people, level: tracts, per: {count: population, times: 1000}}
      landuse: {title: Land use, unit: share of area, classes: {parks: class_0, homes: class_5}}
      mix:     {kind: composition, unit: share of area, classes: {parks: class_0, homes: class_5}}
      poor:    {kind: binary, unit: above 20 %, column: poverty, above: 0.2}

kind        number (default), binary, class or composition: the table below
column      the numbers; left out for `aggregate: count`
classes     number, binary: instead of column, `label: column`, one target `<name>_<label>` each.
            class, composition of zones: `label: column`, or a list of columns.
            class, composition of points: a list of categories (`label: category`), or how many of
            the most frequent ones
above       binary: the number above which it is so; left out where the column holds 0 and 1
aggregate   zones: value (default) or density (per km² of the zone).
            points: count (default), sum, mean, or density (count per km²); at level point: value
level       points: cell (default), point (every record is a unit), or a zones source;
            zones: the zones themselves
weighting   zones: how the cells of a zone are averaged, by
            area (default)  the area that they share with it;
            plain           nothing: the plain mean of the cells whose centre lies in the zone;
            population      the people in the shared area: the part of the cell that is shared x
                            the `counts: population:` of the place's zones, spread by area;
            flows           that part x the flow into and out of the cell.
            A zone without any weight, such as a park by population, is weighted by area
per         zones: a rate, `{count: , times: 1, at_least: 0}` = times x the number / a count of the
            zones that are the level (a name in its `counts`); not known where that count is
            zero or below `at_least`. For columns of one file there is `derive`
absent      points: zero (default for count, sum and density: the register is complete, so no
            record means none) or missing (default for mean)
transform   number: none (default) or log1p
ceiling     number: the largest R² that the noise allows, above 0, at most 1, where it is known
unit        required; title, note: optional text

===========  ====================================================  ==============================
kind         of zones                                              of points
===========  ====================================================  ==============================
number       a column                                              count, sum, mean or density
binary       a column of 0 and 1, or whether one is `above`        whether that is `above`
class        the largest of the columns of `classes`               the most frequent category
composition  the columns of `classes` as shares of their sum       categories as shares
===========  ====================================================  ==============================

Classes and shares are of the declared parts alone. A unit of which a part is negative or not
known, or all are zero, is left out; of equal parts the first counts.
"""

from mobclip.manifest.entries import (
    POPULATION,
    Area,
    Condition,
    Derivation,
    HistogramSpec,
    ModalitySpec,
    Per,
    PlaceSpec,
    SourceSpec,
    TargetKind,
    TargetSpec,
    Transform,
)
from mobclip.manifest.file import Manifest, load_manifest

__all__ = [
    "POPULATION",
    "Area",
    "Condition",
    "Derivation",
    "HistogramSpec",
    "Manifest",
    "ModalitySpec",
    "Per",
    "PlaceSpec",
    "SourceSpec",
    "TargetKind",
    "TargetSpec",
    "Transform",
    "load_manifest",
]
