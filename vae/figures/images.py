"""Grids of images."""

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae.data.images import shrunk_array
from vae.figures.canvas import DOTS_PER_INCH, ORANGE, canvas, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Images = NDArray[np.float32]  # (N, C, H, W), intensities in [0, 1]

CELL_INCHES = 0.68
PADDING = 0.08  # between images, as a share of an image's height
LARGEST_GRID = 1600  # pixels across or down; images are shrunk if a grid of them would be larger
LEAST_STEP = 0.3  # between rows and between columns, as a share of an image's longer side
COLUMN_LABEL_INCHES = 0.4  # where columns are narrower, not every column has its label


def image_grid(
    rows: Sequence[Images] | Images,
    title: str,
    explanation: str,
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    row_axis: str = "",
    column_axis: str = "",
    cell: float = CELL_INCHES,
    framed: NDArray[np.bool_] | None = None,
) -> "Figure":
    """Draw images in labelled rows and columns.

    Args:
        rows: the images of each row, as arrays (N, C, H, W); a row with a smaller N is empty at the end.
        title: what the picture shows.
        explanation: how to read it.
        row_labels: a label for each row, or none.
        column_labels: a label for each column, or none.
        row_axis: what the row labels mean.
        column_axis: what the column labels mean.
        cell: size of an image's longer side in inches, at least; it grows for large images, to show all their pixels.
        framed: whether each image, counted row by row, gets an orange frame; none if None.
    """
    columns = max(map(len, rows))
    factor = _shrinking(rows[0].shape[2:], len(rows), columns, cell)
    if factor > 1:
        rows = [shrunk_array(images, factor) for images in rows]
        explanation += f" Each image is shrunk by a factor of {factor}."
    picture, step, half = _tile(rows)
    longest = max(rows[0].shape[2:])
    cell = max(cell, longest / DOTS_PER_INCH)
    cell_height, cell_width = (cell * size / max(step) for size in step)
    label_room = 0.5 + 0.08 * max((len(label) for label in row_labels), default=0) + (0.3 if row_axis else 0)
    width = max(columns * cell_width + label_room, 0.3 + 0.078 * max(len(explanation), 1.7 * len(title)))
    bottom_room = (0.35 if column_labels else 0) + (0.25 if column_axis else 0)
    figure = canvas(width, len(rows) * cell_height + 0.85 + bottom_room, title, explanation)
    axes = figure.subplots()
    # The pixels of small images stay squares; those of others are averaged where the picture has no room for them.
    interpolation = "nearest" if longest * 1.5 < cell * DOTS_PER_INCH else "auto"
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation=interpolation)
    axes.set_anchor("W")
    if framed is not None:
        _frame(axes, framed, columns, step, half)
    _label(axes, row_labels, column_labels, step, half, every=ceil(COLUMN_LABEL_INCHES / cell_width))
    axes.set_xlabel(column_axis, fontsize=10)
    axes.set_ylabel(row_axis, fontsize=10)
    return figure


def _shrinking(size: tuple[int, ...], rows: int, columns: int, cell: float) -> int:
    """The factor by which to shrink images so that a grid of them is not too large; 1 if they fit their cells."""
    if max(size) <= cell * DOTS_PER_INCH:
        return 1
    return max(1, -(-max(rows * size[0], columns * size[1]) // LARGEST_GRID))


def _tile(rows: Sequence[Images] | Images) -> tuple[NDArray[np.float32], tuple[int, int], tuple[float, float]]:
    """All images on a white background; also the step between images and half an image's size, in pixels."""
    channels, height, width = rows[0].shape[1:]
    # Small images are enlarged, so that the gap between them can be narrower than one of their pixels.
    scale = max(1, round(28 / height))
    gap = round(PADDING * height * scale)
    longest = max(height, width) * scale
    step = (
        max(height * scale + gap, round(LEAST_STEP * longest)),
        max(width * scale + gap, round(LEAST_STEP * longest)),
    )
    columns = max(map(len, rows))
    size = ((len(rows) - 1) * step[0] + height * scale, (columns - 1) * step[1] + width * scale)
    picture = np.ones((*size, channels), np.float32)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            top, left = row * step[0], column * step[1]
            large = image.transpose(1, 2, 0).repeat(scale, axis=0).repeat(scale, axis=1)
            picture[top : top + large.shape[0], left : left + large.shape[1]] = large
    half = ((height * scale - 1) / 2, (width * scale - 1) / 2)
    picture = picture.clip(0, 1)  # averages of colours may exceed 1 by a rounding error
    return (picture[..., 0] if channels == 1 else picture), step, half


def _frame(
    axes: "Axes", framed: NDArray[np.bool_], columns: int, step: tuple[int, int], half: tuple[float, float]
) -> None:
    """Draw a frame around some images, in the middle of the gap between them."""
    from matplotlib.patches import Rectangle

    for index in np.flatnonzero(framed):
        row, column = divmod(int(index), columns)
        corner = (column * step[1] + half[1] - step[1] / 2, row * step[0] + half[0] - step[0] / 2)
        frame = Rectangle(corner, step[1], step[0], fill=False, edgecolor=ORANGE, linewidth=1.5, clip_on=False)
        axes.add_patch(frame)


def _label(
    axes: "Axes",
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    step: tuple[int, int],
    half: tuple[float, float],
    every: int,
) -> None:
    """Label the rows and every so many columns."""
    axes.set_yticks([row * step[0] + half[0] for row in range(len(row_labels))], map(literal, row_labels), fontsize=10)
    places = [column * step[1] + half[1] for column in range(len(column_labels))]
    axes.set_xticks(places[::every], list(map(literal, column_labels))[::every], fontsize=10)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
