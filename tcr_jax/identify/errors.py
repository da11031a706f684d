"""What can be wrong with data that a causal process is to be identified from."""


class NotIdentifiable(ValueError):
    """The data cannot be worked with: the message names what is wrong with them, with the numbers, and the mend."""
