"""Text -> activations of a causal language model -> a store. The only place that knows torch and transformers.

    documents   text.py (python_docs.py: text that every Python installation carries)
    contexts    chunks.py, packing.py, plan.py: what goes where, known before the model runs
    model       language_model.py (gguf.py: quantised files), residual_stream.py, pieces.py
    store       shards.py: runs the model over one shard

Nothing is imported here: text and plans need no torch.
"""
