"""What is told unasked of an answer: each reason with its numbers and its mend, and nothing where all is well."""

import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax.identify.doubts import doubts
from tcr_jax.identify.unmix import Unmixed
from tcr_jax.params import Params, Process, linear_dictionary

K, D = 4, 6
WHITE_KD = np.linalg.qr(np.random.default_rng(0).normal(size=(D, K)))[0].T


def told(latents: int | None = K, growth: float = 0.5, misfit: float = 1.0, **changes: Any) -> str:
    fine = Unmixed(
        mean_d=np.zeros(D),
        to_white_kd=WHITE_KD,
        from_lagged_kf=np.zeros((K, 2 * K)),
        mean_f=np.zeros(2 * K),
        covariance_ff=np.eye(2 * K),
        information_k=np.full(K, 2.0),
        stein_k=np.full(K, 2.0),
        tokens=1e5,
        settled=True,
    )
    process = Process(b_lkk=growth * jnp.eye(K)[None], m_kk=jnp.zeros((K, K)), intercept_k=None)
    dictionary = linear_dictionary(np.zeros((K, D)), np.zeros((K, D)), np.zeros(D))
    params = Params(dictionary=dictionary, process=process)
    return "\n".join(doubts(fine._replace(**changes), params, misfit, latents))


def test_a_sound_answer_leaves_no_doubt() -> None:
    """Nor do fewer concepts than channels, where they were asked for, nor one Gaussian innovation."""
    assert told() == told(stein_k=np.array([2.0, 1.0, 2.0, 2.0])) == ""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"latents": None}, "6 channels have rank 4 in the first sequences: some are mixtures .* say so by latents=4"),
        ({"latents": None, "to_white_kd": np.eye(K, D)}, "rank 4 in the first sequences: channels 4, 5 are constant"),
        ({"mean_d": np.array([0, 0, 2e4, 0, 0, 0])}, "channels 2 vary by less than 1/10,000 of their mean"),
        ({"stein_k": np.array([1.0, 2, 2, 1.001])}, "cannot tell 2 of 4 innovations .* Concepts 0, 3, and every"),
        ({"tokens": 40.0}, "z is not identified: 40 tokens cannot tell 4 of 4"),
        ({"tokens": 1.0}, r"1 tokens; 4 concepts need about 1 \(k\^2 / 10\)"),
        ({"misfit": 2.34}, "does not fit: effects held at zero vary 2.3 times"),
        ({"settled": False}, "did not come to rest"),
        ({"growth": 1.25}, "unstable, it grows by 1.2500 a token"),
        ({"growth": np.nan}, "unstable"),
    ],
)
def test_each_doubt_has_its_numbers(changes: dict[str, Any], says: str) -> None:
    """And names what to do."""
    assert re.search(says, told(**changes))
