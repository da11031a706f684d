"""What the extraction raises where its input cannot be used."""


class ExtractError(ValueError):
    """Text or a language model that cannot be used: the message names the culprit and the mend."""
