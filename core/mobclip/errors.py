"""Every error that mobclip raises on purpose.

::

    MobclipError
    ├── ConfigError      a setting that cannot be
    ├── ManifestError    data_manifest.yaml is wrong
    ├── FetchError       a file cannot be had, or is not the one the manifest names
    ├── RecordError      raw records: a missing column, no CRS, a NaN coordinate
    ├── CellError        not an H3 cell, an unknown cell, mixed resolutions
    ├── ArtefactError    a file that mobclip wrote is missing, truncated or of another schema
    └── MissingExtra     an optional dependency is not installed

A message names the value, what is allowed, and the next step.
"""


class MobclipError(Exception):
    """Root of the tree: `except MobclipError` catches all and nothing else."""


class ConfigError(MobclipError):
    """A setting that cannot be."""


class ManifestError(MobclipError):
    """`data_manifest.yaml` is wrong."""


class FetchError(MobclipError):
    """A file cannot be had, or is not the one that the manifest names."""


class RecordError(MobclipError):
    """Raw records that cannot be used as they are."""


class CellError(MobclipError):
    """Not an H3 cell, a cell unknown to the place, or mixed resolutions."""


class ArtefactError(MobclipError):
    """An artefact file is missing, truncated or of another schema."""


class MissingExtra(MobclipError):
    """An optional dependency is not installed.

    Parameters
    ----------
    package : name of the package that could not be imported
    extra : the extra of mobclip that brings it
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(
            f"{package!r} is not installed. It comes with the extra {extra!r}: "
            f"pip install 'mobclip[{extra}]' -c constraints.txt"
        )
