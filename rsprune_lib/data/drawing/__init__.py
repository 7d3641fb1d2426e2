"""Ten land-cover scenes, painted from random numbers."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from rsprune_lib.data.drawing.country import annual_crop, forest, pasture, permanent_crop, shrubland
from rsprune_lib.data.drawing.town import highway, industrial, residential, river, sea_lake

__all__ = ["PAINT"]

PAINT: dict[str, Callable[[Generator], np.ndarray]] = {
    "AnnualCrop": annual_crop,
    "PermanentCrop": permanent_crop,
    "Pasture": pasture,
    "Shrubland": shrubland,
    "Forest": forest,
    "River": river,
    "Highway": highway,
    "SeaLake": sea_lake,
    "Residential": residential,
    "Industrial": industrial,
}
