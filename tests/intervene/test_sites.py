"""Laws of the tokens at which concepts are edited."""

import numpy as np

from tcr_jax.intervene.overlap import Propensity
from tcr_jax.intervene.passages import Passage
from tcr_jax.intervene.sites import additions, removals
from tests.intervene.conftest import LATENTS, alike

COUNT, LAG = 5, 2


def test_removals_are_where_concepts_fire_and_bring_them_to_zero(
    passages: list[Passage], z_tk: list[np.ndarray]
) -> None:
    """Every source gets its tokens, at most one a passage, where it fires and what follows was kept."""
    sites = removals(passages, z_tk, alike(*((source, LAG) for source in range(LATENTS))), count=COUNT)
    seen = []
    for site in sites:
        kept_t = passages[site.passage].kept_t
        assert kept_t[site.position : site.position + 3].all() and site.position + 2 < len(kept_t)
        z_n = z_tk[site.passage][site.position, site.source_n]
        assert (z_n != 0).all()
        np.testing.assert_array_equal(site.amount_n, -z_n)
        seen += [(int(source), site.passage) for source in site.source_n]
    assert len(set(seen)) == len(seen)
    assert set(np.bincount([source for source, _ in seen], minlength=LATENTS)) == {5}


def test_additions_are_where_concepts_are_silent_and_bring_them_to_their_mean(
    passages: list[Passage], z_tk: list[np.ndarray], y_tk: list[np.ndarray]
) -> None:
    """From the pre-activation to the mean of the kept positions at which the concept has its commoner sign."""
    signed = [z.copy() for z in z_tk]
    for z in signed:  # concept 3 is negative at two firing tokens of three, 7 at one of three
        z[:, 3] *= np.where(np.arange(len(z)) % 3 == 0, 2, -1)
        z[:, 7] *= np.where(np.arange(len(z)) % 3 == 0, -2, 1)
    sites = additions(passages, signed, y_tk, alike((3, LAG), (7, LAG)), count=COUNT)
    kept_nk = np.concatenate([z[p.kept_t] for z, p in zip(signed, passages, strict=True)])
    assert sum(len(site.source_n) for site in sites) == 10
    for site in sites:
        assert (signed[site.passage][site.position, site.source_n] == 0).all()
        for source, amount in zip(site.source_n.tolist(), site.amount_n, strict=True):
            firing = kept_nk[:, source]
            commoner = firing < 0 if source == 3 else firing > 0
            assert commoner.sum() > (firing != 0).sum() / 2
            reached = y_tk[site.passage][site.position, source] + amount
            np.testing.assert_allclose(reached, firing[commoner].mean(), rtol=1e-5)


def test_a_concept_that_never_fires_has_no_site(passages: list[Passage], z_tk: list[np.ndarray]) -> None:
    """Nor does one that wants more tokens than there are get the same token twice."""
    silent = [np.where(np.arange(LATENTS) == 4, 0, z) for z in z_tk]
    sites = removals(passages, silent, alike((4, LAG), (5, LAG)), count=10**6)
    assert all((site.source_n == 5).all() for site in sites)
    assert len({(site.passage, site.position) for site in sites}) == len(sites)


def test_tokens_are_those_of_ids_that_stand_behind_the_source_at_times(
    passages: list[Passage], z_tk: list[np.ndarray]
) -> None:
    """An addition is where the id LAG tokens later is one that stands behind a firing source, a removal not where that
    id never stands elsewhere; at another lag other tokens are drawn."""
    random = np.random.default_rng(0)
    texts, codes = [], []
    for passage, z in zip(passages, z_tk, strict=True):
        z, token_t = z.copy(), random.integers(2, 50, len(z))
        z[:, 0] = random.random(len(z)) < 0.3
        behind = np.flatnonzero(z[:-LAG, 0]) + LAG
        token_t[behind] = np.where(random.random(len(behind)) < 0.5, 0, 1)  # 0 and 1 stand behind it,
        token_t[random.random(len(z)) < 0.2] = 0  # 0 elsewhere too
        texts.append(passage._replace(token_t=token_t))
        codes.append(z)

    def counted(lag: int) -> Propensity:
        id_n = np.concatenate([text.token_t[lag:] for text in texts])
        fires_n = np.concatenate([z[:-lag, 0] for z in codes])
        return Propensity(np.bincount(id_n, fires_n), np.bincount(id_n))

    def ids(choose, lag: int) -> np.ndarray:  # type: ignore
        asked = {(0, lag): counted(lag)} | alike((1, LAG))  # as many tokens follow, whatever the lag
        sites = choose(texts, codes, *([codes] if choose is additions else []), asked, count=20)
        return np.array([texts[site.passage].token_t[site.position + LAG] for site in sites if 0 in site.source_n])

    assert (ids(additions, LAG) == 0).mean() > 0.7 > 0.5 > (ids(additions, 1) == 0).mean()
    assert (ids(removals, LAG) == 1).mean() < 0.2 < 0.3 < (ids(removals, 1) == 1).mean()


def test_the_seed_decides(passages: list[Passage], z_tk: list[np.ndarray]) -> None:
    """The same seed gives the same tokens, another one others."""
    first, again, other = (
        [(site.passage, site.position) for site in removals(passages, z_tk, alike((1, LAG)), count=COUNT, seed=seed)]
        for seed in (0, 0, 1)
    )
    assert first == again != other
