"""The coastline: the level set of a height given on a triangulated grid, as exact polygons."""

from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Float


@dataclass(frozen=True, kw_only=True)
class HeightGrid:
    """A height that is linear on the two triangles of each grid square.

    Because `at` and `above` use the same triangles, a point is inside `above(level)` exactly when
    `at(point) > level`: cells and coast never disagree.
    """

    x0: float  # km, of column 0
    y0: float  # km, of row 0
    step_km: float
    values: Float[np.ndarray, "rows columns"]

    def nodes(self) -> Float[np.ndarray, "nodes 2"]:
        """Grid nodes in km, row by row."""
        rows, columns = self.values.shape
        y, x = np.mgrid[0:rows, 0:columns]
        return np.column_stack(
            [self.x0 + x.ravel() * self.step_km, self.y0 + y.ravel() * self.step_km]
        )

    def at(self, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
        """Height at points in km; points off the grid take the value at its edge."""
        rows, columns = self.values.shape
        x = np.clip((xy[:, 0] - self.x0) / self.step_km, 0, columns - 1)
        y = np.clip((xy[:, 1] - self.y0) / self.step_km, 0, rows - 1)
        i = np.minimum(x.astype(np.int64), columns - 2)
        j = np.minimum(y.astype(np.int64), rows - 2)
        u, v = x - i, y - j
        corner = self.values[j, i]
        opposite = self.values[j + 1, i + 1]
        right = self.values[j, i + 1]
        up = self.values[j + 1, i]
        # The diagonal runs from (0, 0) to (1, 1).
        lower = corner + u * (right - corner) + v * (opposite - right)
        upper = corner + v * (up - corner) + u * (opposite - up)
        return np.where(u >= v, lower, upper)

    def above(self, level: float) -> list[shapely.Polygon]:
        """Polygons, with holes, where the height is above `level` (marching triangles).

        The border of the grid must lie below `level`.
        """
        rows, columns = self.values.shape
        flat = self.values.ravel() - level
        flat = np.where(flat == 0, 1e-12, flat)
        node = np.arange(rows * columns).reshape(rows, columns)
        a, b = node[:-1, :-1].ravel(), node[:-1, 1:].ravel()
        c, d = node[1:, 1:].ravel(), node[1:, :-1].ravel()
        triangles = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
        wet = flat[triangles] < 0
        triangles = triangles[wet.any(axis=1) & ~wet.all(axis=1)]
        crossings = []
        for first, second in ((0, 1), (1, 2), (0, 2)):
            # Ends in ascending order: both triangles of an edge compute the very same point.
            low = np.minimum(triangles[:, first], triangles[:, second])
            high = np.maximum(triangles[:, first], triangles[:, second])
            cut = (flat[low] < 0) != (flat[high] < 0)
            share = np.where(cut, flat[low] / np.where(cut, flat[low] - flat[high], 1), 0)
            x = low % columns + share * (high % columns - low % columns)
            y = low // columns + share * (high // columns - low // columns)
            crossings.append(
                np.where(
                    cut[:, None],
                    np.column_stack([self.x0 + x * self.step_km, self.y0 + y * self.step_km]),
                    np.nan,
                )
            )
        points = np.stack(crossings, axis=1)  # (triangles, 3, 2): exactly two of three are cut
        order = np.argsort(np.isnan(points[:, :, 0]), axis=1, kind="stable")[:, :2]
        segments = np.take_along_axis(points, order[:, :, None], axis=1)
        length = np.abs(segments[:, 0] - segments[:, 1]).sum(axis=1)
        segments = segments[length > 0]
        faces = shapely.get_parts(shapely.polygonize(shapely.linestrings(segments)))
        inside = shapely.get_coordinates(shapely.point_on_surface(faces))
        return list(faces[self.at(inside) > level])
