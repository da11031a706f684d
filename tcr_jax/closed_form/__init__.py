"""The process in closed form: one pass of lagged moments of codes, then B and M without gradient descent."""

from tcr_jax.closed_form.decoded import fit_decoded
from tcr_jax.closed_form.fit import fit_moments, fit_process, fit_support
from tcr_jax.closed_form.moments import CodeMoments, code_moments, collect_moments, merge

__all__ = [
    "CodeMoments",
    "code_moments",
    "collect_moments",
    "fit_decoded",
    "fit_moments",
    "fit_process",
    "fit_support",
    "merge",
]
