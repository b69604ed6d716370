"""Position encodings: longitude and latitude -> features, in float64; nothing trains here.

Networks that learn from these features are in `mobclip.model.location`.

==================  ============================================  ======  ==========  ========
`POSITIONS`         class                                          dims    date line   poles
==================  ============================================  ======  ==========  ========
``direct``          `plain.Direct`                                 2       cut         cut
``cartesian``       `plain.Cartesian`                              3       seamless    seamless
``wrap``            `plain.Wrap`                                   4       seamless    cut
``space2vec-grid``  `space2vec.Grid`                               4 S     cut         cut
``space2vec-theory``  `space2vec.Theory`                           6 S     cut         cut
``sphereC``         `sphere2vec.SphereC`                           3 S     cut         cut
``sphereC+``        `sphere2vec.SphereCPlus`                       6 S     cut         cut
``sphereM``         `sphere2vec.SphereM`                           5 S     cut         cut
``sphereM+``        `sphere2vec.SphereMPlus`                       8 S     cut         cut
``fourier``         `fourier.Fourier`                              2 F     cut         cut
``harmonics``       `harmonics.Harmonics`                          L²      seamless    seamless
==================  ============================================  ======  ==========  ========

*Cut*: two points that touch there on the ground have different features (tested as such). S:
scales, F: frequencies of all bandwidths, L: degrees. What a place sees of an encoding are its
`components.Components`.
"""

from collections.abc import Callable

from mobclip.positions.components import Components
from mobclip.positions.equal_earth import equal_earth
from mobclip.positions.fourier import Fourier
from mobclip.positions.harmonics import Harmonics
from mobclip.positions.plain import Cartesian, Direct, Wrap
from mobclip.positions.position import Position
from mobclip.positions.space2vec import Grid, Theory, finest
from mobclip.positions.sphere2vec import SphereC, SphereCPlus, SphereM, SphereMPlus

__all__ = [
    "POSITIONS",
    "Cartesian",
    "Components",
    "Direct",
    "Fourier",
    "Grid",
    "Harmonics",
    "Position",
    "SphereC",
    "SphereCPlus",
    "SphereM",
    "SphereMPlus",
    "Theory",
    "Wrap",
    "equal_earth",
    "finest",
]

POSITIONS: dict[str, Callable[..., Position]] = {
    "direct": Direct,
    "cartesian": Cartesian,
    "wrap": Wrap,
    "space2vec-grid": Grid,
    "space2vec-theory": Theory,
    "sphereC": SphereC,
    "sphereC+": SphereCPlus,
    "sphereM": SphereM,
    "sphereM+": SphereMPlus,
    "fourier": Fourier,
    "harmonics": Harmonics,
}
"""Name -> encoding; each takes its own settings, all with the published default."""
