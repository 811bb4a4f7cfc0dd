"""The scenery of make_clip.py: antialiased drawings and fractal noise as layers with alpha."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle
from numpy.typing import NDArray

Image = NDArray[np.float32]  # [H, W, 4], colour times alpha, then alpha; 0..1

WIDTH, HEIGHT = 640, 360
MILL_X, MILL_Y, SIGN_X = 548, 134, 290
RANDOM = np.random.default_rng(20)


def noise(height: int, width: int, fall: float) -> NDArray[np.float32]:
    """Return fractal noise [H, W], mean 0 and deviation 1, with amplitude falling as frequency^-fall."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width) * width)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(RANDOM.normal(size=(height, width))) * frequency**-fall
    field = np.fft.irfft2(spectrum, (height, width))
    return np.asarray(field / field.std(), dtype=np.float32)


class Canvas:
    """An antialiased drawing board of given size in pixels, y down."""

    def __init__(self, width: int, height: int) -> None:
        """Start empty."""
        figure = Figure(figsize=(width / 100, height / 100), dpi=100)
        self._agg = FigureCanvasAgg(figure)
        self.axes = figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()
        figure.patch.set_alpha(0)

    def patches(self, *patches: Any) -> None:
        """Draw the patches in this order."""
        for patch in patches:
            self.axes.add_patch(patch)

    def text(self, x: float, y: float, text: str, size: float, colour: str, weight: str = "normal") -> None:
        """Write with the baseline's start at (x, y); `size` in pixels an em."""
        self.axes.text(x, y, text, fontsize=size * 0.72, color=colour, weight=weight)

    def image(self) -> Image:
        """Return what was drawn."""
        self._agg.draw()
        rgba = np.asarray(self._agg.buffer_rgba()).astype(np.float32) / 255
        rgba[..., :3] *= rgba[..., 3:]
        return rgba


def solid(rgb: NDArray[np.float32], alpha: NDArray[np.float32] | float = 1.0) -> Image:
    """Return rgb [H, W, 3] with the given alpha [H, W]."""
    cover = np.broadcast_to(np.asarray(alpha, dtype=np.float32), rgb.shape[:2])[..., None]
    return np.concatenate([np.clip(rgb, 0, 1) * cover, cover], axis=2)


def over(below: Image, above: Image, x: int = 0, y: int = 0) -> None:
    """Put `above` onto `below` with its corner at (x, y), in place, cut at the border."""
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + above.shape[1], below.shape[1]), min(y + above.shape[0], below.shape[0])
    if left < right and top < bottom:
        part = above[top - y : bottom - y, left - x : right - x]
        below[top:bottom, left:right] *= 1 - part[..., 3:]
        below[top:bottom, left:right] += part


def window(layer: Image, x: float) -> Image:
    """Return WIDTH columns of the layer from x on, between pixels by linear interpolation."""
    whole = int(x)
    part = np.float32(x - whole)
    cut = layer[:, whole : whole + WIDTH + 1]
    return cut[:, :-1] * (1 - part) + cut[:, 1:] * part


def blend(low: list[float], high: list[float], t: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return colours between two, [..., 3]."""
    share = np.clip(t, 0, 1)[..., None]
    return np.asarray(low, np.float32) * (1 - share) + np.asarray(high, np.float32) * share


def sky(width: int) -> Image:
    """Return a blue sky with clouds."""
    rows = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None] * np.ones(width, np.float32)
    clouds = noise(HEIGHT, width, 1.75) + 0.35 * noise(HEIGHT, width, 1.2)
    share = np.clip((clouds - 0.15) * 0.8, 0, 1) * np.clip(1.4 - 2.2 * rows, 0, 1)
    lit = np.clip(0.9 + 0.1 * (clouds - np.roll(clouds, (5, 6), (0, 1))) * 4, 0.75, 1)
    blue = blend([0.29, 0.50, 0.78], [0.80, 0.87, 0.92], rows * 1.7)
    return solid(blue * (1 - share[..., None]) + (share * lit)[..., None])


def mountains(width: int) -> Image:
    """Return stone and snow, lit from the left, fading into haze below."""
    columns = np.arange(width)
    line = 105 - 26 * noise(1, width, 1.35)[0] - 22 * np.sin(columns / 97.0)
    depth = np.arange(HEIGHT)[:, None] - line
    height_map = noise(HEIGHT, width, 1.55) * 19
    light = (height_map - np.roll(height_map, 2, axis=1)) * 0.13 + (
        height_map - np.roll(height_map, -2, axis=0)
    ) * 0.06
    stone = blend([0.25, 0.27, 0.33], [0.58, 0.55, 0.52], 0.45 + light)
    snow = blend([0.62, 0.70, 0.82], [1.0, 1.0, 1.0], 0.6 + light)
    cover = np.clip((34 + 0.9 * height_map - depth) / 5, 0, 1)[..., None]
    rgb = stone * (1 - cover) + snow * cover
    haze = np.clip(depth / 150, 0, 0.85)[..., None]
    rgb = rgb * (1 - haze) + np.asarray([0.66, 0.74, 0.80], np.float32) * haze
    return solid(rgb.astype(np.float32), np.clip(depth + 0.5, 0, 1).astype(np.float32))


def conifer(x: float, foot: float, size: float, tone: float) -> tuple[list[Any], list[Any]]:
    """Return polygons and colours of a tree: jagged tiers, lit from the left."""
    shapes, colours = [], []
    tone, warm = tone * RANDOM.uniform(0.75, 1.3), RANDOM.uniform(0.0, 0.12)
    for tier in range(7):
        top, low = foot - size * (1 - tier * 0.125), foot - size * (0.74 - tier * 0.115)
        half = size * (0.07 + 0.034 * tier)
        for side in (-1, 1):
            edge = np.linspace(0, half, 5)
            drop = low + RANDOM.uniform(-0.03, 0.05, 5) * size
            points = [(x, top), *zip(x + side * edge[::-1], drop, strict=True)]
            shade = tone * (1.3 if side < 0 else 0.7) * RANDOM.uniform(0.8, 1.2)
            shapes.append(points)
            colours.append(((0.13 + warm) * shade, (0.31 + warm / 3) * shade, 0.16 * shade))
    return shapes, colours


def forest(width: int) -> Image:
    """Return a wooded hill with a mill on it."""
    line = 196 - 9 * np.sin(np.arange(width) / 130.0) - 5 * noise(1, width, 1.5)[0]
    grass = noise(HEIGHT, width, 0.8)
    layer = solid(
        blend([0.22, 0.36, 0.15], [0.47, 0.56, 0.25], 0.5 + 0.22 * grass),
        np.clip(np.arange(HEIGHT)[:, None] - line + 0.5, 0, 1).astype(np.float32),
    )
    board = Canvas(width, HEIGHT)
    shapes, colours = [], []
    for row in range(9):
        for x in RANDOM.uniform(-10, width + 10, width // 16):
            if abs(x - MILL_X) > 30 + 5 * row:
                foot = line[int(np.clip(x, 0, width - 1))] + 4 + 6 * row
                tree = conifer(x, foot, RANDOM.uniform(20, 31) + 1.6 * row, 0.75 + 0.05 * row)
                shapes += tree[0]
                colours += tree[1]
    board.axes.add_collection(PolyCollection(shapes, facecolors=colours))
    x, y = MILL_X, MILL_Y
    board.patches(
        Polygon([(x - 15, y + 62), (x + 15, y + 62), (x + 9, y - 2), (x - 9, y - 2)], color="#d9cfbd"),
        Polygon([(x + 2, y + 62), (x + 15, y + 62), (x + 9, y - 2), (x + 2, y - 2)], color="#b3a68f"),
        Polygon([(x - 12, y), (x + 12, y), (x, y - 17)], color="#8c3b2c"),
        *(Rectangle((x - 3, y + 14 + 17 * k), 5, 8, color="#3a3029") for k in range(3)),
    )
    over(layer, board.image())
    return layer


def sails(angle: float) -> Image:
    """Return the mill's four latticed sails, 120x120, turned by an angle in radians."""
    board = Canvas(120, 120)
    lines = []
    for k in range(4):
        turn = angle + k * np.pi / 2
        along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        middle = np.array([60.0, 60.0])
        edge = middle + 11 * across
        lines += [(middle, middle + 54 * along), (edge + 14 * along, edge + 54 * along)]
        lines += [(middle + r * along, edge + r * along) for r in range(14, 55, 5)]
    board.axes.add_collection(LineCollection(lines, colors="#46342a", linewidths=0.9))
    board.patches(Circle((60, 60), 3, color="#2c211b"))
    return board.image()


def balloon() -> Image:
    """Return a striped balloon, 80x120."""
    board = Canvas(80, 120)
    colours = ["#b3202a", "#f2ead8", "#d98a1f", "#f2ead8"]
    t = np.linspace(0, np.pi, 40)
    for k in range(12):
        sides = [np.sin((k + d - 6) * np.pi / 12) for d in (0, 1)]
        outline = 34 * np.sin(t) ** 0.8, 45 - 40 * np.cos(t) + 8 * (1 - np.cos(t)) * (t > np.pi / 2)
        left = np.stack([40 + sides[0] * outline[0], outline[1]], axis=1)
        right = np.stack([40 + sides[1] * outline[0], outline[1]], axis=1)
        board.patches(Polygon(np.concatenate([left, right[::-1]]), color=colours[k % 4]))
    board.patches(Rectangle((33, 104), 14, 10, color="#6b4a2b"))
    lines = [[(40 + d * 2, 99), (40 + d, 105)] for d in (-6, 6)]
    board.axes.add_collection(LineCollection(lines, colors="#30251c", linewidths=0.7))
    image = board.image()
    shade = 1.12 - 0.5 * np.clip(np.linspace(-0.3, 1, 80), 0, 1) ** 1.5
    image[..., :3] = np.minimum(image[..., :3] * shade[:, None].astype(np.float32), image[..., 3:])
    return image


def meadow(width: int) -> Image:
    """Return grass and flowers, coarser towards the viewer, with a fence and the sign."""
    depth = (np.arange(HEIGHT) - 236).astype(np.float32)[:, None] / (HEIGHT - 236)
    ground = noise(HEIGHT, width, 0.7) + 0.8 * noise(HEIGHT, width, 1.6)
    rgb = blend([0.20, 0.33, 0.10], [0.55, 0.62, 0.24], 0.5 + 0.16 * ground - 0.12 * depth)
    edge = np.clip(depth * (HEIGHT - 236) + 4 * noise(1, width, 1.2) + 0.5, 0, 1)
    layer = solid(rgb, edge.astype(np.float32))
    board = Canvas(width, HEIGHT)
    y = 240 + (HEIGHT - 236) * np.sort(RANDOM.uniform(0, 1, 5200)) ** 1.2
    size = 3 + 24 * ((y - 236) / (HEIGHT - 236)) ** 1.3 * RANDOM.uniform(0.5, 1.2, y.size)
    x, lean = RANDOM.uniform(0, width, y.size), RANDOM.normal(0, 0.35, y.size)
    steps = np.linspace(0, 1, 4)
    blades = np.stack(
        [x[:, None] + (size * lean)[:, None] * steps**2, y[:, None] - size[:, None] * steps], axis=2
    )
    tone = RANDOM.uniform(0.55, 1.25, (y.size, 1)) * [0.34, 0.47, 0.14]
    grass = LineCollection(list(blades), colors=np.clip(tone, 0, 1), linewidths=0.5 + size / 22)
    board.axes.add_collection(grass)
    for i in RANDOM.choice(y.size, 260, replace=False):
        colour = RANDOM.choice(["#fbf7ee", "#f4c430", "#d6455d", "#8d6bd1"])
        board.patches(Circle(tuple(blades[i, -1]), 0.8 + size[i] / 13, color=colour))
    over(layer, board.image())
    over(layer, furniture(width))
    return layer


def furniture(width: int) -> Image:
    """Return the fence and the sign of the meadow's layer."""
    board = Canvas(width, HEIGHT)
    for x in range(10, width, 58):
        if not SIGN_X - 30 < x < SIGN_X + 245:
            board.patches(
                Rectangle((x, 236), 7, 58, color="#7d6650"), Rectangle((x + 5, 236), 2, 58, color="#4d3d2f")
            )
    for left, right in ((0, SIGN_X - 26), (SIGN_X + 252, width)):
        for y in (246, 266):
            board.patches(
                Rectangle((left, y), right - left, 5, color="#97806a"),
                Rectangle((left, y + 4), right - left, 1.5, color="#57462f"),
            )
    x = SIGN_X
    board.patches(
        *(Rectangle((x + d, 165), 8, 150, color="#5c4632") for d in (28, 188)),
        Rectangle((x, 160), 226, 118, color="#3c2f23"),
        Rectangle((x + 4, 164), 218, 110, color="#f3ecd9"),
        Rectangle((x + 4, 164), 218, 34, color="#1f4e3d"),
        Rectangle((x + 110, 146), 5, 14, color="#3c2f23"),
        Circle((x + 112, 140), 9, color="#2b2b26"),
    )
    board.text(x + 12, 190, "Mill Meadow", 25, "#fdfaf0", "bold")
    board.text(x + 12, 218, "Old mill 2.4 km", 19, "#222222", "bold")
    board.text(x + 12, 237, "Lake shore and ferry 7.1 km", 13.5, "#222222")
    board.text(x + 12, 252, "Please keep to the path, dogs on a lead", 9.8, "#7a1f1f")
    board.text(x + 12, 265, "320 x 180 pixels, 24 frames a second, MMXXVI", 8, "#444444")
    return board.image()


def lamp() -> Image:
    """Return the lamp's light, 60x60."""
    board = Canvas(60, 60)
    for radius, alpha in ((26, 0.25), (17, 0.4), (10, 1.0)):
        board.patches(Circle((30, 30), radius, color="#fff3b0", alpha=alpha))
    return board.image()
