"""What can be wrong with data that a causal process is to be identified from, and with the answer."""


class NotIdentifiable(ValueError):
    """The data cannot be worked with: the message names what is wrong with them, with the numbers, and the mend."""


class Doubtful(UserWarning):
    """There is an answer, and a reason not to trust it: the message names it, with the numbers, and the mend."""
