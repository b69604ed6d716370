"""Targets that people bring along: a table of theirs, joined to the cells or zones of a place.

Read are CSV, Parquet and GeoParquet, from bytes, within bounds; nothing that runs code when it is
opened. First a report says what was found and what will be left out, then `Upload.target` is made.

=========  ==================================================================================
key        a column of H3 cells, or longitude and latitude, or a geometry column of points
           (degrees WGS84), or a column of ids of the place's own zones
value      a column of numbers, of yes and no, or of classes
=========  ==================================================================================

Several rows of one cell or zone become one: their mean, or their most frequent class. Cells finer
than the place's count for the cell that they lie in; one that is coarser is a unit of several.
"""

from mobclip.evaluation.own_targets.column import MAX_CLASSES
from mobclip.evaluation.own_targets.saved import MOST, PREFIX, as_json, from_json
from mobclip.evaluation.own_targets.table_file import MAX_BYTES
from mobclip.evaluation.own_targets.upload import BROKEN, Key, Report, Upload
from mobclip.evaluation.own_targets.zones import Zones, zones_of

__all__ = [
    "BROKEN",
    "MAX_BYTES",
    "MAX_CLASSES",
    "MOST",
    "PREFIX",
    "Key",
    "Report",
    "Upload",
    "Zones",
    "as_json",
    "from_json",
    "zones_of",
]
