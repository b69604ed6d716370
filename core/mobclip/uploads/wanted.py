"""What the person wants: a name, a title, a size of cells, a licence."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the place is to be."""

    name: str
    title: str
    resolution: int  # of H3, 0 to 15
    licence: str
    provider: str = ""
    citation: str = ""
    trimmed: bool = False  # without the outermost hundredth of the positions, on each side

    def problems(self, taken: Sequence[str]) -> list[str]:
        """Why a place cannot be called or made so, in words.

        taken : names of the places that there are, here and in the manifest
        """
        found = []
        if not NAME.fullmatch(self.name):
            found.append(
                f"The name “{self.name}” cannot be: use small letters, digits and “-”, 40 at most."
            )
        elif self.name in taken:
            found.append(f"There is a place called “{self.name}” already: choose another name.")
        if not self.title.strip():
            found.append("Give the place a title.")
        if not self.licence.strip():
            found.append(
                "Say under which licence the files are (or “own data”): it stands beside "
                "everything that is made of them."
            )
        return found
