"""One uploaded file: a table, and what its columns are read as."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mobclip.sources.preview import Preview

KINDS = ("points", "flows", "zones")
USES = ("", "population", "count", "average", "target")  # of a column of zones; "": not used


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """An uploaded file, and what its columns are read as."""

    kind: str  # one of KINDS
    preview: Preview
    columns: Mapping[str, str]  # role of the manifest -> column
    uses: Mapping[str, str] = field(default_factory=dict)  # of zones: column -> one of USES
    units: Mapping[str, str] = field(default_factory=dict)  # of targets: column -> unit
    crs: str = ""  # where the file does not say

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.preview.path

    @property
    def file_name(self) -> str:
        """Under which it is kept."""
        return f"{self.kind}{self.path.suffix.lower()}"
