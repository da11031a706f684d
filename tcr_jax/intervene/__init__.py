"""The language model itself, run with edits of its residual stream: do the relations hold where they are acted on?

    edited_run.py   the model, with the output of any block replaced
    run_on.py       the same from one token on, for many edits of that token at once
    passages.py     a store's text as the model saw it
    splice.py       loss recovered when the dictionary's reconstruction takes the activation's place
    carry.py        a concept's direction, carried from the dictionary's layer to an earlier one
    overlap.py      at which tokens a delayed effect can be tested at all
    sites.py        where concepts are removed and added
    response.py     what an edit of each concept did to all concepts, at its token and after
    edges.py        predicted and measured effects of edges (needs no model)
    controls.py     edges matched in co-occurrence that the model did not select
    study.py        all of it together
    table.py        what it measured, as CSV

Nothing is imported here; edges, controls and table need no torch.
"""
