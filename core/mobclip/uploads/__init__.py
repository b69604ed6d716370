"""A place of files that people bring: looked through first, then written as a manifest entry.

Nothing is written before the report says what each column is read as, which rows cannot be used
and why, and how many cells there will be. What is written then is what the command line takes:
the files and a `data_manifest.yaml`, read by the same readers as every other place.

==========  ======================================================
`sheet`     one file, and what its columns are read as
`columns`   a proposal for that
`wanted`    what the new place is to be
`repair`    words and odd numbers where numbers are to be
`extent`    where files lie, and whether they lie together
`cells`     the cells in which there is something of a file
`entry`     the entry of the manifest
`report`    what would come of it
`store`     files and manifest, kept
==========  ======================================================
"""

from mobclip.sources.preview import FORMATS, preview
from mobclip.uploads.columns import guess
from mobclip.uploads.report import Check, check
from mobclip.uploads.sheet import KINDS, Sheet
from mobclip.uploads.store import save
from mobclip.uploads.wanted import Wanted

__all__ = [
    "FORMATS",
    "KINDS",
    "Check",
    "Sheet",
    "Wanted",
    "check",
    "guess",
    "preview",
    "save",
]
