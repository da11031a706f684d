"""Recovery: a disguised truth scores perfectly, ignoring M scores the floor, and damage shows where it was done."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import Dictionary, Params, Process, innovations, simulate
from tcr_jax.scores import Matching, align, recovery
from tcr_jax.worlds import Sample, WorldConfig, make_world, sample

K, L = 6, 2
RNG = np.random.default_rng(0)
ORDER, SCALE_K = RNG.permutation(K), np.float32([2, -3, 1, -0.5, 10, 0.1])


def random_process() -> Process:
    def sparse(*shape: int) -> np.ndarray:
        return RNG.uniform(0.2, 0.4, shape) * RNG.choice([-1, 1], shape) * (RNG.random(shape) < 0.4)

    return Process(jnp.float32(sparse(L, K, K)), jnp.float32(np.tril(2 * sparse(K, K), -1)), None)


def params(process: Process, encoder_kd: np.ndarray) -> Params:
    encoder_kd = jnp.float32(encoder_kd)
    dictionary = Dictionary(
        encoder_kd=encoder_kd,
        decoder_kd=encoder_kd,  # not looked at
        encoder_bias_k=None,
        decoder_bias_d=None,
        mean_d=jnp.zeros(encoder_kd.shape[1]),
        scale=jnp.ones(()),
        threshold=jnp.zeros(()),
        activation="identity",
    )
    return Params(dictionary, process)


PROCESS = random_process()
MIXING_DK = np.linalg.qr(RNG.normal(size=(K, K)))[0]
TRUTH = params(PROCESS, MIXING_DK.T)


def random_sample(sequences: int = 40, tokens: int = 30) -> Sample:
    eps_btk = jnp.float32(RNG.laplace(size=(sequences, tokens, K)))
    z_btk = jax.vmap(simulate, in_axes=(None, 0))(PROCESS, eps_btk)
    document_bt = jnp.repeat(jnp.arange(sequences)[:, None], tokens, axis=1)
    return Sample(z_btk @ jnp.float32(MIXING_DK.T), z_btk, eps_btk, document_bt)


SAMPLE = random_sample()


def disguised(process: Process) -> Process:
    """`process` as an estimator may find it: concept i stands at ORDER[i], in units of SCALE_K[i] to one."""
    back = np.argsort(ORDER)
    return align(process, Matching(back, np.ones(K)), 1 / SCALE_K[back])


def test_align_is_its_equation() -> None:
    """Aligned and found process give the same innovations in their own units, intercept included."""
    found = disguised(PROCESS.replace(intercept_k=jnp.arange(K, dtype=jnp.float32)))
    aligned = align(found, Matching(ORDER, np.ones(K)), SCALE_K)
    np.testing.assert_allclose(aligned.b_lkk, PROCESS.b_lkk, rtol=1e-6)
    np.testing.assert_allclose(aligned.intercept_k, np.arange(K), rtol=1e-6)
    z_tk, document_t = np.asarray(SAMPLE.z_btk[0]), SAMPLE.document_bt[0]
    found_z_tk = np.zeros_like(z_tk)
    found_z_tk[:, ORDER] = z_tk / SCALE_K
    found_eps_tk = innovations(found, found_z_tk, document_t)
    np.testing.assert_allclose(
        innovations(aligned, z_tk, document_t), np.asarray(found_eps_tk)[:, ORDER] * SCALE_K, rtol=1e-4, atol=1e-4
    )


def test_align_leaves_out_what_is_unmatched() -> None:
    """A true concept without counterpart has no effects, nor has the found concept that stands for none."""
    found = Process(None, jnp.array([[0.0, 1.0, 2.0], [3.0, 0.0, 4.0], [5.0, 6.0, 0.0]]), None)
    aligned = align(found, Matching(np.array([2, -1]), np.ones(2)), np.array([1.0, np.nan]))
    assert aligned.m_kk.tolist() == [[0, 0], [0, 0]]
    assert aligned.b_lkk is None and aligned.intercept_k is None


@pytest.mark.parametrize("scale", [0, np.nan])
def test_align_needs_a_scale(scale: float) -> None:
    """The message names the concept and the mend."""
    with pytest.raises(ValueError, match=r"scale_k\[3\]=.* leave a concept that never varies unmatched"):
        align(PROCESS, Matching(ORDER, np.ones(K)), np.where(np.arange(K) == 3, scale, SCALE_K))


def test_a_disguised_truth_is_perfect() -> None:
    """Renumbered, with other signs and units, the truth scores the best of every measure."""
    found = params(disguised(PROCESS), (MIXING_DK.T / SCALE_K[:, None])[np.argsort(ORDER)])
    scores = recovery(TRUTH, found, SAMPLE)
    assert 0.5 < scores.pop("z_mcc_floor") < 0.98
    for name, score in scores.items():
        best = 0 if "shd" in name or "error" in name else 1
        assert score == pytest.approx(best, abs=1e-5), name


def test_a_world_recovers_itself() -> None:
    """The parameters that a world gives as its truth score perfectly on its own samples."""
    world = make_world(WorldConfig(latents=8, context=20))
    scores = recovery(world.params, world.params, sample(world, jax.random.key(1), 20))
    assert scores["z_mcc_worst"] == pytest.approx(1, abs=1e-4)
    assert scores["B_f1"] == scores["M_f1"] == 1


def test_ignoring_m_scores_the_floor() -> None:
    """z' in the place of z, B (I - M)^-1 and M = 0 explain the data: eps and z' are perfect, z scores its floor."""
    shrink_kk = np.eye(K) - np.asarray(PROCESS.m_kk)
    process = Process(jnp.float32(np.asarray(PROCESS.b_lkk) @ np.linalg.inv(shrink_kk)), None, None)
    scores = recovery(TRUTH, params(process, shrink_kk @ MIXING_DK.T), SAMPLE)
    assert scores["eps_mcc_worst"] == pytest.approx(1, abs=1e-5)
    assert scores["zprime_mcc_worst"] == pytest.approx(1, abs=1e-5)
    assert scores["z_mcc"] == pytest.approx(scores["z_mcc_floor"], abs=1e-6)
    assert scores["M_recall"] == 0 and scores["M_precision"] == 1


def test_dropped_tokens_are_not_scored() -> None:
    """What a dropped position holds changes nothing."""
    found = params(PROCESS, MIXING_DK.T + 0.1)
    dropped = Sample(
        x_btd=SAMPLE.x_btd.at[:, 20:].set(-1e3),
        z_btk=SAMPLE.z_btk.at[:, 20:].set(1e3),
        eps_btk=SAMPLE.eps_btk,
        document_bt=SAMPLE.document_bt.at[:, 20:].set(-1),
    )
    assert recovery(TRUTH, found, dropped) == recovery(TRUTH, found, Sample(*(values[:, :20] for values in SAMPLE)))


def test_tokens_without_full_history_are_not_scored() -> None:
    """The encoding of a document's first tokens, as many as there are lags, does not enter the scores of z."""
    spoilt = recovery(TRUTH, TRUTH, SAMPLE._replace(x_btd=SAMPLE.x_btd.at[:, :L].multiply(-100)))
    assert spoilt["z_mcc_worst"] == pytest.approx(1, abs=1e-5) and spoilt["eps_mcc"] < 0.9


def test_fewer_concepts_than_are_true() -> None:
    """Half of the concepts, found without a process: the others count as 0, and no edge is found."""
    found = params(Process(None, jnp.zeros((K // 2, K // 2)), None), MIXING_DK.T[: K // 2])
    scores = recovery(TRUTH, found, SAMPLE)
    assert scores["z_mcc"] == pytest.approx(0.5, abs=1e-5)
    assert scores["z_mcc_worst"] == scores["B_recall"] == scores["M_recall"] == 0


def test_a_dead_concept_has_no_edges() -> None:
    """A found concept that is always zero costs its own score and its edges, and makes nothing NaN."""
    scores = recovery(TRUTH, params(PROCESS, np.where(np.arange(K)[:, None] == 2, 0, MIXING_DK.T)), SAMPLE)
    assert scores["z_mcc"] == pytest.approx(1 - 1 / K, abs=1e-5)
    assert np.isfinite(list(scores.values())).all()


def test_documents_that_are_too_short() -> None:
    """The message says how much history is needed."""
    with pytest.raises(ValueError, match="has 2 earlier ones in its document: give longer documents"):
        recovery(TRUTH, TRUTH, Sample(*(values[:, :2] for values in SAMPLE)))


def test_an_estimate_of_another_width_is_refused() -> None:
    """Both widths are named."""
    narrow = make_world(WorldConfig(latents=3, parents=1.0, context=8))
    with pytest.raises(ValueError, match=r"the sample has \d+ channels and the estimate 3"):
        recovery(TRUTH, narrow.params, SAMPLE)
