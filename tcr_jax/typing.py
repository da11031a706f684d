"""The legend of dimensions, and the array alias used in every signature.

Shapes live in names: `x_btd` is an array of shape [b, t, d]. One letter, one dimension:

    b   sequences (contexts) in a batch
    t   tokens (positions) of a sequence
    d   activation width, the channels of the residual stream
    k   latents (concepts)
    l   lags: index 0 of an `l` axis is lag 1, the token before
    h   horizon: tokens after an impulse, index 0 is the token of the impulse itself

Matrices between concepts are always [target, source]: `m_kk[i, j]` is the effect of concept j on concept i.

A mask is carried as `document_t`: the document that each position belongs to, an integer; negative where the
position was dropped (padding, attention sinks, outliers). Two positions may influence each other only where their
documents agree and neither was dropped.
"""

import jax

Array = jax.Array
"""What every signature takes and returns. NumPy arrays are welcome where a function takes one."""

DROPPED = -1
"""The `document_t` of a position that nothing may read or predict."""
