"""What the bench was told before it ran: parameters.toml, and how its ranges are drawn."""

import tomllib
from functools import cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


@cache
def parameters():
    return tomllib.loads((HERE / "parameters.toml").read_text())


def generator(*words):
    """The random numbers of one thing, the same in every run: of a seed, a shape, a key."""
    numbers = [int.from_bytes(str(word).encode(), "big") % 2**32 for word in words]
    return np.random.default_rng([parameters()["run"]["seed"], *numbers])


def draw(rng, pair):
    """A number between the two, evenly."""
    return float(rng.uniform(*pair))


def draw_log(rng, pair):
    """A number between the two, evenly in its logarithm."""
    low, high = np.log(pair)
    return float(np.exp(rng.uniform(low, high)))


def draw_count(rng, pair):
    """A whole number between the two, both included."""
    return int(rng.integers(pair[0], pair[1] + 1))


def choose(rng, weights):
    """A name by its weight; what is no weight (a source) does not count."""
    names = [name for name, weight in weights.items() if not isinstance(weight, str)]
    shares = np.array([weights[name] for name in names], dtype=float)
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]
