"""A likelihood made for sparse codes: every concept fires or not, and if it fires, how strongly."""

from tcr_jax.hurdle.fit import HurdleConfig, fit_hurdle
from tcr_jax.hurdle.likelihood import Bits, bits
from tcr_jax.hurdle.process import HurdleProcess, Link, base_process

__all__ = ["Bits", "HurdleConfig", "HurdleProcess", "Link", "base_process", "bits", "fit_hurdle"]
