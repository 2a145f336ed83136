"""The chest of a phantom: what a `Film`'s numbers mean as tissue along every ray of the film.

A chest is three maps in cm: the body's thickness, the gas in it (as pure air), and the bone
(as cortical bone, beyond the soft tissue it displaces). Findings change the gas: fluid,
consolidation and collapse take it away, a pneumothorax fills the pleural space with it.

Coordinates are in cm on the film: x grows to the right of the picture, which is the patient's
left; y grows downwards. A pixel's own distance from the midline is `a`, so that both sides share
one formula. Borders are soft over a pixel or what the anatomy says, whichever is more.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter

from workflow_scripts.phantom.population import FILM_CM, Film

Map = np.ndarray  # float32, (size, size), or what broadcasts to it

AIR_IN_LUNG = 0.75  # volume fraction of gas in an inflated lung
APEX, APEX_A = 5.5, 5.0  # the apex of a lung: y, and distance from the midline
HILUM = 0.5  # height of the hila between apex and dome


@dataclass(frozen=True)
class Chest:
    """Thickness maps in cm, and what a measurement of the drawing needs: fractions in [0, 1]."""

    body: Map
    gas: Map
    bone: Map
    lungs: Map  # the space inside the ribs above the diaphragm
    heart: Map
    effusion: Map
    pneumothorax: Map
    vessels: Map  # cm of blood in the lungs


class Frame:
    """The film's pixels in the patient's coordinates, and the borders of the lungs there.

    `outer`, `inner` and `dome` are, at each pixel, the chest wall's and the mediastinum's distance
    from the midline and the height of the diaphragm on that pixel's side.
    """

    def __init__(self, film: Film, size: int):
        self.film, self.pixel = film, FILM_CM / size
        centres = ((np.arange(size) + 0.5) * self.pixel).astype(np.float32)
        self.slant = math.tan(math.radians(film.lean))
        self.y = centres[:, None] - film.offset_y
        self.x = centres[None] - FILM_CM / 2 - film.offset_x - self.slant * (self.y - 20)
        self.a = np.abs(self.x)
        self.left = self.x > 0  # the patient's left
        self.turn = math.sin(math.radians(film.rotation))
        self.shift = film.mediastinal_shift
        self.half = {  # of the inner thorax at its widest; the two add up to `thorax_width`
            "right": film.thorax_width / 2 * (1 - 0.6 * self.turn),
            "left": film.thorax_width / 2 * (1 + 0.6 * self.turn),
        }
        top = APEX + film.lung_height
        self.top = {"right": top, "left": top + 1.2}  # of the domes
        for side in self.top:
            if film.atelectasis_lobe.startswith(side):
                self.top[side] -= film.diaphragm_elevation
        self.angle = {side: self.top[side] + 4.0 for side in self.top}  # costophrenic
        self.hilum_y = APEX + HILUM * film.lung_height
        self.outer = self.by_side(self.wall)
        self.inner = 1.0 + (APEX_A - 1.0) * arch(self.y, APEX, 4.0, rising=False)
        self.dome = self.diaphragm()
        self.across = np.clip((self.a - self.inner) / (self.outer - self.inner + 0.01), 0, 1)

    def by_side(self, function: Callable[[str, Map], Map]) -> Map:
        return np.where(self.left, function("left", self.y), function("right", self.y))

    def on(self, side: str) -> Map:
        """1 on one side of the patient, 0 on the other."""
        return self.left if side == "left" else ~self.left

    def wall(self, side: str, y: Map) -> Map:
        """Distance of the inner chest wall from the midline at height `y`."""
        half = self.half[side]
        widening = 0.86 + 0.14 * np.clip((y - APEX) / (self.film.lung_height + 1.0), 0, 1)
        return APEX_A + (half * widening - APEX_A) * arch(y, APEX, 13.0)

    def diaphragm(self) -> Map:
        half, top = (
            np.where(self.left, np.float32(of["left"]), np.float32(of["right"]))
            for of in (self.half, self.top)
        )
        crown = 0.48 * half
        lateral = np.clip((self.a - crown) / (half - crown), 0, 1.1)
        medial = np.clip((crown - self.a) / crown, 0, 1)
        return top + 4.0 * lateral**2.6 + 1.4 * medial**2

    def inside(self, distance: Map, softness: float = 0.0) -> Map:
        """1 well inside a border (positive distance in cm), 0 well outside, linear between."""
        return np.clip(distance / max(softness, self.pixel) + 0.5, 0, 1)

    def ball(self, x: float, y: float, radius: float, flat: float = 1.0) -> Map:
        """Thickness of an ellipsoid of half-width `radius` and half-height `flat * radius`."""
        r2 = ((self.x - x) ** 2 + ((self.y - y) / flat) ** 2) / radius**2
        return 2 * radius * np.sqrt(np.clip(1 - r2, 0, None))

    def place(self, side: str, x: float, y: float) -> tuple[float, float]:
        """Return the film coordinates of a point given as in `Film`."""
        height = APEX + y * (self.top[side] - APEX)
        inner, outer = 3.0, float(self.wall(side, np.float32(height)))
        return (1 if side == "left" else -1) * (inner + x * (outer - inner)), height


def arch(y: Map, top: float, reach: float, rising: bool = True) -> Map:
    """A quarter of a circle: 0 at `top`, 1 from `top + reach` on (or falling from 1 to 0)."""
    t = np.clip((y - top) / reach, 0, 1)
    grown = np.sqrt(1 - (1 - t) ** 2)
    return grown if rising else 1 - grown


def build(film: Film, size: int) -> Chest:
    """Return the chest of `film` on a grid of `size` by `size` pixels."""
    frame = Frame(film, size)
    coarse, medium, fine = (texture(film.anatomy_seed, size, cells) for cells in (9, 26, 70))
    lungs = frame.inside(frame.a - frame.inner, 0.4) * frame.inside(frame.outer - frame.a)
    above = frame.inside(frame.dome - frame.y, 0.25)
    lungs = lungs * above
    heart_depth, heart = heart_of(frame)

    # How deep the cavity is along the ray, less the heart and the mediastinum that lie in it.
    middle, half = (frame.outer + frame.inner) / 2, (frame.outer - frame.inner) / 2 + 0.01
    chord = np.sqrt(np.clip(1 - ((frame.a - middle) / half) ** 2, 0, 1)) ** 0.6
    depth = (9 + 7 * arch(frame.y, APEX, 14.0)) * chord * (0.95 + 0.05 * film.habitus)
    recess = 0.12 * np.clip(1 - (frame.y - frame.dome) / 5, 0, 1) * (1 - above)
    space = depth * frame.inside(frame.outer - frame.a)
    solid = np.maximum(heart_depth, mediastinum_of(frame))
    gassy = np.clip(space - solid, 0, None) * (lungs + recess)

    blood = vessels_of(frame, film.anatomy_seed)
    collapsed, air, pleura = pneumothorax_of(frame)
    fluid = effusion_of(frame)
    aerated = AIR_IN_LUNG * (1 + 0.03 * coarse + 0.03 * medium + 0.02 * fine)
    aerated = aerated * (1 - atelectasis_of(frame)) * (1 - infiltration_of(frame, medium, fine))
    aerated = aerated * (1 - consolidation_of(frame, blood)) * collapsed
    gas = gassy * (aerated * (1 - air) + air) * (1 - fluid)
    markings = blood * (1 - air) * (1 - fluid) * lungs
    gas = gas - np.minimum(gas, markings + pleura * lungs + nodule_of(frame) * lungs)
    gas = gas + airways_of(frame) + stomach_of(frame)

    body = body_of(frame)
    return Chest(
        body=body * (1 + 0.012 * coarse),
        gas=np.minimum(gas, 0.95 * body),
        bone=bones_of(frame) * np.minimum(1, body),
        lungs=lungs,
        heart=heart,
        effusion=fluid * lungs,
        pneumothorax=air * lungs,
        vessels=markings,
    )


# -- soft tissue


def body_of(frame: Frame) -> Map:
    """Trunk, shoulders, neck, breasts, and at the bedside the arms."""
    film, y, a = frame.film, frame.y, frame.a
    wall = 1.6 + 5.0 * (film.habitus - 0.8)
    trunk = film.thorax_width / 2 + wall
    # Lateral limit: past the edge of the film at the shoulders, the trunk below the armpits.
    limit = trunk + 14 / (1 + np.exp((y - 13.5) / 1.1)) + 0.03 * (y - 25)
    shoulder = 4.3 - 10.5 * np.exp(-((a / 7.5) ** 2))  # the slope of the trapezius
    above = 1 - np.exp(-np.clip(y - shoulder, 0, None) / 2.5)
    thick = 21 * film.habitus * (0.62 + 0.38 * np.clip(y / 16, 0, 1))
    body = thick * above * np.sqrt(np.clip(1 - (a / limit) ** 2, 0, 1))
    if film.breast:
        droop = 0.6 + 0.3 * film.breast / 3
        for side in (-1, 1):
            x = side * (0.3 * film.thorax_width + 0.5)
            low = APEX + 0.86 * film.lung_height
            cup = np.sqrt(np.clip(frame.ball(x, low, 6.2, droop), 0, None) / 12.4)
            # Full at the lower rim, fading upwards into the chest wall.
            body = body + film.breast * cup * np.clip(0.75 + 0.12 * (y - low), 0.1, 1)
    if film.view == "AP":
        arm = np.clip(1 - ((a - trunk - 5.2) / 4.0) ** 2, 0, 1)
        body = np.maximum(body, 8 * np.sqrt(arm) * frame.inside(y - 11, 4.0))
    return body


def heart_of(frame: Frame) -> tuple[Map, Map]:
    """Return the heart's depth in cm and its silhouette, as wide as the ratio says.

    A tilted ellipse: its half-width on the film is sqrt(p² cos² + q² sin²) for half-axes p, q.
    """
    film = frame.film
    width = film.cardiothoracic_ratio * film.thorax_width
    tilt = math.radians(38.0)
    cos, sin = math.cos(tilt), math.sin(tilt)
    flat = 0.72
    p = width / 2 / math.hypot(cos, flat * sin)
    x = 0.14 * width + frame.shift + 5 * frame.turn
    y = frame.film.lung_height + APEX + 0.6 - 0.22 * width
    dx, dy = frame.x - x, frame.y - y
    along = (dx * cos + dy * sin) / p
    athwart = (dy * cos - dx * sin) / (p * flat)
    radius = np.sqrt(along**2 + athwart**2)
    depth = 14 * np.clip(1 - radius**2, 0, 1) ** 0.4
    return depth, frame.inside((1 - radius) * p * flat)


def mediastinum_of(frame: Frame) -> Map:
    """Depth of what lies in the midline: great vessels, aortic knob, pulmonary trunk, hila."""
    film, y = frame.film, frame.y
    knob, hilum = film.aortic_knob, frame.hilum_y
    upper = hilum - 5.0
    x = frame.x - frame.shift * np.clip((y - 8) / 8, 0.3, 1) - 2 * frame.turn
    # The pedicle: superior vena cava on the right, arch and descending aorta on the left.
    flare = np.clip((y - upper) / 9, 0, 1) ** 1.5
    width = np.where(x > 0, 1.9 + 0.5 * (knob - 1.3) + 1.6 * flare, 2.5 + 0.9 * flare)
    width = width - 0.5 * np.clip((upper - y) / 4, -0.5, 1)
    depth = 13 * np.clip(1 - (x / width) ** 2, 0, 1) ** 0.4
    middle = frame.shift + 2 * frame.turn
    for side, dx, dy, radius, tall in (
        (1, 1.3, upper - hilum, knob, 1.1),  # aortic knob
        (1, 1.9, -1.6, 1.7, 1.2),  # pulmonary trunk
        (1, 3.6, -0.4, 1.25, 1.3),  # left hilum, the higher one
        (-1, 3.5, 0.9, 1.25, 1.5),  # right hilum
    ):
        ball = frame.ball(side * dx + middle, hilum + dy, radius, tall)
        depth = np.maximum(depth, np.minimum(3.5 * ball, 12) if dx < 2 else 2.0 * ball)
    return depth


def airways_of(frame: Frame) -> Map:
    """Gas in the trachea and the main bronchi, in cm."""
    y, carina = frame.y, frame.hilum_y - 2.2
    pull = frame.shift * np.clip((y - 4) / 10, 0, 1) + 1.5 * frame.turn
    below = np.clip(y - carina, 0, None)
    tube = 2.6 * np.sqrt(np.clip(1 - ((frame.x - pull) / 0.9) ** 2, 0, 1))
    gas = tube * frame.inside(carina + 0.5 - y, 1.0)
    for slope, side in ((0.8, -1), (1.25, 1)):
        distance = (frame.x - pull - side * slope * below) / (0.6 * math.hypot(1, slope))
        branch = 1.8 * np.sqrt(np.clip(1 - distance**2, 0, 1))
        gas = np.maximum(gas, branch * (below > 0) * np.clip(1 - below / 3.2, 0, 1))
    return gas


def stomach_of(frame: Frame) -> Map:
    """The gastric bubble under the left dome: flat below, as the patient stands."""
    x, y = 0.42 * frame.half["left"], frame.top["left"] + 2.6
    bubble = 0.7 * frame.ball(x, y, 2.6, 0.75)
    level = 0.5 if frame.film.view == "PA" else 1.5
    below_dome = frame.inside(frame.y - frame.dome - 0.3, 0.3)
    return bubble * below_dome * frame.inside(y + level - frame.y)


# -- bone


def bones_of(frame: Frame) -> Map:
    """Spine, ribs, clavicles, scapulae and shoulder joints, in cm of cortical bone."""
    return frame.film.bone_density * (
        spine_of(frame) + ribs_of(frame) + clavicles_of(frame) + shoulders_of(frame)
    )


def spine_of(frame: Frame) -> Map:
    """Vertebral bodies that grow downwards, discs between, pedicles and spinous processes."""
    y = frame.y
    x = frame.x + 2 * frame.turn
    phase = (0.8 * y / (1 + 0.015 * y) + 0.2) % 1.0  # 0 and 1 in the middle of a disc
    body = np.clip(np.minimum(phase, 1 - phase) / 0.07 - 0.7, 0, 1)
    half = 1.55 + 0.012 * y + 0.25 * (1 - body)
    column = frame.inside(half - np.abs(x), 0.3) * (0.25 + 0.6 * body)
    pedicle = np.exp(-(((np.abs(x) - 1.05) / 0.25) ** 2) - ((phase - 0.38) / 0.13) ** 2)
    process = np.exp(-((x / 0.22) ** 2) - ((phase - 0.75) / 0.16) ** 2)
    return column + 0.9 * pedicle + 0.8 * process


def ribs_of(frame: Frame) -> Map:
    """Ten pairs of ribs: their posterior arcs, and fainter the anterior ones that cross them.

    All ribs of a set are one periodic function of the height above a common curve.
    """
    film, y, a = frame.film, frame.y, frame.a
    u = np.clip((a - 1.8) / (frame.outer - 1.8 + 0.01), 0, 1.05)
    pitch = film.lung_height / 8.6
    caudal = np.clip((y - APEX) / 25, 0, 1.2)
    # The heads sit at the spine; the arc falls towards the chest wall, more so for lower ribs.
    fall = (3.2 + 2.6 * caudal) * u**2.1 - 0.7 * np.sin(np.pi * np.clip(u * 1.3, 0, 1))
    steep = np.hypot(1, (3.2 + 2.6 * caudal) * 2.1 * u**1.1 / (0.95 * film.thorax_width / 2))
    back = rib_profile((y - APEX - 0.6 - fall) / pitch, 0.52 * steep / pitch)
    forward = 5.2 + 5.2 * np.clip(1 - u, 0, 1) ** 0.85
    front = rib_profile((y - APEX - 0.6 - forward) / pitch, 0.62 / pitch)
    # Ribs run along the ray where the chest wall turns.
    tangent = 1 / np.sqrt(np.clip(1.12 - u**2, 0.2, 1))
    cage = frame.inside(frame.outer + 0.7 - a, 0.3) * frame.inside(y - APEX + 0.6, 0.6)
    floor = np.clip(1 - 0.8 * np.clip(y - frame.dome + 1, 0, None) / 6, 0, 1)
    front = front * frame.inside(u - 0.42, 0.2) * frame.inside(y - APEX - 5.0, 1.0)
    return cage * floor * (back * tangent + 0.65 * front) * (a > 1.5)


def rib_profile(phase: Map, half: Map) -> Map:
    """Bone along a ray through ribs at whole numbers of `phase`: a tube with a dense cortex."""
    d = (phase - np.round(phase)) / half
    tube = np.sqrt(np.clip(1 - d**2, 0, 1))
    return 0.5 * tube + 0.4 * np.clip(1 - np.abs(np.abs(d) - 0.82) / 0.22, 0, 1)


def clavicles_of(frame: Frame) -> Map:
    """From the sternum up and outwards, S-shaped; rotation pulls the medial ends off the spine."""
    bedside = frame.film.view == "AP"
    a = np.abs(frame.x - 5 * frame.turn)
    height = (8.2 if bedside else 9.6) - (0.13 if bedside else 0.22) * (a - 1.6)
    height = height - 0.55 * np.sin((a - 1.6) * 0.45)
    d = (frame.y - height) / (0.62 + 0.25 * np.exp(-(a - 1.6) / 1.5))
    tube = np.sqrt(np.clip(1 - d**2, 0, 1))
    cortex = np.clip(1 - np.abs(np.abs(d) - 0.85) / 0.2, 0, 1)
    return (0.8 * tube + 0.45 * cortex) * frame.inside(a - 1.5, 0.4) * frame.inside(15.5 - a, 1.0)


def shoulders_of(frame: Frame) -> Map:
    """Humeral heads, and the scapulae: rolled off the lungs in a PA film, over them in an AP one."""
    bedside = frame.film.view == "AP"
    a, y = frame.a, frame.y
    medial = frame.film.thorax_width / 2 * (0.72 if bedside else 0.97)
    border = medial + 0.09 * (y - 8)
    blade = frame.inside(a - border, 0.3) * frame.inside(y - 7 - 0.1 * a, 1.0)
    blade = blade * frame.inside(20.5 - y - 1.1 * np.clip(a - border - 1, 0, None), 0.6)
    rim = np.exp(-(((a - border) / 0.3) ** 2)) * frame.inside(y - 8.5) * frame.inside(20 - y, 1.0)
    head = np.sqrt(np.clip(1 - (((a - 18.6) ** 2 + (y - 8.8) ** 2) / 2.5**2), 0, 1))
    return 0.3 * blade + 0.5 * rim + 1.1 * head


# -- lungs


def vessels_of(frame: Frame, seed: int) -> Map:
    """Blood in the pulmonary vessels, in cm along the ray: trees that thin from hilum to pleura.

    Every branch is a row of points that carry its cross-section; the points are spread over the
    pixels around them and smoothed to the branch's calibre.
    """
    rng = np.random.default_rng(seed)
    count = 13
    side = np.repeat([-1.0, 1.0], count)
    reach = np.repeat([frame.half["right"], frame.half["left"]], count)
    x = 2.6 + rng.uniform(-0.4, 0.6, 2 * count)
    # The left hilum lies higher than the right one.
    y = frame.hilum_y + np.where(side < 0, 0.8, -0.2) + rng.uniform(-1.2, 1.6, 2 * count)
    angle = np.tile(np.linspace(-1.35, 1.35, count), 2) + rng.normal(0, 0.07, 2 * count)
    length = reach * (0.75 - 0.12 * np.cos(angle)) * rng.uniform(0.85, 1.15, 2 * count)
    calibre = rng.uniform(0.36, 0.52, 2 * count)
    blood = 0.0
    for children in (4, 3, 0):
        bend = rng.normal(0, 0.25, (len(x), 1))
        steps = math.ceil(1.3 * length.max() / frame.pixel)
        t = (np.arange(steps) + 0.5) / steps
        stride = length[:, None] / steps
        heading = angle[:, None] + bend * t
        px = x[:, None] + np.cumsum(np.cos(heading), axis=1) * stride
        py = y[:, None] + np.cumsum(np.sin(heading), axis=1) * stride
        radius = calibre[:, None] * (1 - 0.6 * t)
        mass = np.pi * radius**2 * stride / frame.pixel**2
        # Near the hilum the vessels go where the mediastinum goes.
        pull = frame.shift * (1 - np.clip((px - 3) / reach[:, None], 0, 1))
        blood = blood + spread(frame, side[:, None] * px + pull, py, mass, calibre.mean() / 2)
        if children:
            at = rng.uniform(0.15, 0.85, (len(x), children))
            pick = (at * steps).astype(int)
            away = rng.choice([-1.0, 1.0], at.shape) * rng.uniform(0.35, 0.8, at.shape)
            x, y = (np.take_along_axis(p, pick, 1).ravel() for p in (px, py))
            angle = (np.take_along_axis(heading, pick, 1) + away).ravel()
            length = (length[:, None] * (1.05 - at) * 0.6).ravel()
            calibre = (np.take_along_axis(radius, pick, 1) * 0.9).ravel()
            side, reach = np.repeat(side, children), np.repeat(reach, children)
    return blood


def spread(frame: Frame, x: Map, y: Map, mass: Map, sigma: float) -> Map:
    """Add up points on the pixels around them, then smooth over `sigma` cm."""
    size = frame.a.shape[0]
    column = (x + frame.slant * (y - 20) + frame.film.offset_x + FILM_CM / 2) / frame.pixel - 0.5
    row = (y + frame.film.offset_y) / frame.pixel - 0.5
    c, r = np.floor(column).astype(int), np.floor(row).astype(int)
    fc, fr = column - c, row - r
    mass = mass * ((r >= 0) & (r < size - 1) & (c >= 0) & (c < size - 1))
    cell = (np.clip(r, 0, size - 2) * size + np.clip(c, 0, size - 2)).ravel()
    corners = (
        (0, (1 - fr) * (1 - fc)),
        (1, (1 - fr) * fc),
        (size, fr * (1 - fc)),
        (size + 1, fr * fc),
    )
    total = sum(np.bincount(cell + step, (mass * w).ravel(), size * size) for step, w in corners)
    image = total.reshape(size, size).astype(np.float32)
    return gaussian_filter(image, max(sigma / frame.pixel, 0.45), truncate=3)


def pneumothorax_of(frame: Frame) -> tuple[Map | float, Map | float, Map | float]:
    """Return how far the lungs stay inflated, the free air's share of the ray, and the pleura in cm.

    The lung shrinks towards its hilum; its edge is the visceral pleural line.
    """
    film = frame.film
    if film.pneumothorax_side == "none":
        return 1.0, 0.0, 0.0
    side, width = film.pneumothorax_side, film.pneumothorax_width
    y, centre = frame.y[:, 0], frame.hilum_y + 3
    shrunk = np.where(y < centre, centre + (y - centre) / (1 - 0.6 * width), y)
    edge = frame.inner[:, 0] + (frame.wall(side, shrunk) - frame.inner[:, 0]) * (1 - width)
    edge = np.where(shrunk < APEX, frame.inner[:, 0], edge)
    # From a distance along the row to one across the line.
    slope = np.hypot(1, np.minimum(np.abs(np.gradient(edge, frame.pixel)), 6))
    distance = (frame.a - edge[:, None]) / slope[:, None].astype(np.float32)
    here = frame.on(side)
    air = here * frame.inside(distance, 0.3)
    line = here * 1.3 * np.exp(-((distance / max(0.16, 0.6 * frame.pixel)) ** 2))
    return 1 - 0.35 * width * here.astype(np.float32), air, line


def effusion_of(frame: Frame) -> Map | float:
    """Fluid's share of the ray: full below a meniscus that climbs towards the chest wall."""
    film = frame.film
    if film.effusion_side == "none":
        return 0.0
    side = film.effusion_side
    height = film.effusion_height * (frame.angle[side] - APEX)
    meniscus = min(0.35 * height, 3.0)
    surface = frame.angle[side] - height + meniscus * (1 - frame.across**2.5)
    fluid = frame.inside(frame.y - surface, 1.0)
    return frame.on(side) * fluid * 0.97


def atelectasis_of(frame: Frame) -> Map | float:
    """Share of the gas that a collapsed lobe has lost: a wedge from the hilum, and plates."""
    film = frame.film
    if film.atelectasis_lobe == "none":
        return 0.0
    side, lobe = film.atelectasis_lobe.split()
    u = frame.across
    if lobe == "upper":
        # The fissure is pulled up: it rises from the hilum to the chest wall.
        fissure = frame.hilum_y + 0.5 - (0.62 * (frame.hilum_y - APEX)) * u**0.8
        wedge = frame.inside(fissure - frame.y, 0.5)
    else:
        # The lobe falls behind the heart: a triangle between spine, diaphragm and fissure.
        down = np.clip((frame.y - frame.hilum_y) / (frame.top[side] - frame.hilum_y), 0, 1.3)
        fissure = 2.5 + (0.72 * frame.half[side] - 2.5) * down
        wedge = frame.inside(fissure - frame.a, 0.5) * frame.inside(frame.y - frame.hilum_y, 1.0)
    plate_y = frame.top[side] - 2.0 - 0.12 * (frame.a - 6)
    plate = np.exp(-(((frame.y - plate_y) / 0.35) ** 2)) * frame.inside(u - 0.3, 0.2)
    plate = plate * frame.inside(0.85 - u, 0.2)
    return frame.on(side) * film.atelectasis_opacity * np.maximum(wedge, 0.5 * plate)


def consolidation_of(frame: Frame, blood: Map) -> Map | float:
    """Share of the gas replaced by exudate: a patchy cloud with open bronchi in it."""
    film = frame.film
    if film.consolidation_side == "none":
        return 0.0
    size = frame.a.shape[0]
    x, y = frame.place(film.consolidation_side, film.consolidation_x, film.consolidation_y)
    radius = film.consolidation_extent * film.lung_height
    r2 = ((frame.x - x) ** 2 + (frame.y - y) ** 2) / radius**2
    patches = texture(film.film_seed, size, 16), texture(film.film_seed, size, 40)
    cloud = 1.5 * np.exp(-0.7 * r2) + 0.28 * patches[0] + 0.14 * patches[1] - 0.4
    cloud = np.clip(cloud / 0.7, 0, 1) * np.clip(2.2 - r2 / 1.6, 0, 1)
    bronchi = 0.35 * np.clip(blood / 0.35, 0, 1)
    return frame.on(film.consolidation_side) * film.consolidation_opacity * cloud * (1 - bronchi)


def infiltration_of(frame: Frame, medium: Map, fine: Map) -> Map | float:
    """Share of the gas lost to a diffuse, reticular haze in both lungs, denser at the bases."""
    film = frame.film
    if not film.infiltration:
        return 0.0
    base = np.clip((frame.y - APEX) / film.lung_height, 0.3, 1)
    return film.infiltration * base * np.clip(0.55 + 0.35 * medium + 0.35 * fine, 0, 1.3)


def nodule_of(frame: Frame) -> Map | float:
    """Thickness of a round nodule or mass, in cm."""
    film = frame.film
    if film.nodule_side == "none":
        return 0.0
    x, y = frame.place(film.nodule_side, film.nodule_x, film.nodule_y)
    return 1.3 * frame.ball(x, y, film.nodule_radius)


# -- texture


def texture(seed: int, size: int, cells: int) -> Map:
    """Smooth noise of mean 0 and deviation 1, the same pattern at any `size`."""
    noise = np.random.default_rng([seed, cells]).standard_normal((cells, cells), np.float32)
    basis = bumps(size, cells)
    return basis @ noise @ basis.T


@cache
def bumps(size: int, cells: int) -> np.ndarray:
    """Gaussian bumps, one per cell: float32, (size, cells), each row of unit length."""
    at = (np.arange(size) + 0.5) / size * (cells - 1)
    weight = np.exp(-((at[:, None] - np.arange(cells)) ** 2) / 0.6)
    return (weight / np.linalg.norm(weight, axis=1, keepdims=True)).astype(np.float32)
