"""The Equal Earth projection (Šavrič, Patterson, Jenny 2019): a map of the globe, true in area."""

import numpy as np
from jaxtyping import Float, Float64

A = (1.340264, -0.081106, 0.000893, 0.003796)  # the authors' polynomial, in θ, θ³, θ⁷, θ⁹


def equal_earth(lonlat: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
    r"""x and y on a sphere of radius 1, of positions in degrees lon, lat.

    .. math:: \sin θ = \tfrac{\sqrt3}2 \sin φ, \quad y = A_1 θ + A_2 θ^3 + A_3 θ^7 + A_4 θ^9, \quad
              x = \frac{2 λ \cos θ}{\sqrt3 \; dy/dθ}

    x reaches ±2.7066 and y ±1.3174. A pole is a line, and the date line is both edges.
    """
    lon, lat = np.radians(lonlat).T
    theta = np.arcsin(np.sqrt(0.75) * np.sin(lat))
    y = A[0] * theta + A[1] * theta**3 + A[2] * theta**7 + A[3] * theta**9
    slope = A[0] + 3 * A[1] * theta**2 + 7 * A[2] * theta**6 + 9 * A[3] * theta**8
    return np.column_stack([2 * lon * np.cos(theta) / (np.sqrt(3.0) * slope), y])
