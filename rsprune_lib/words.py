"""Numbers and nouns that agree, in sentences that are computed."""

__all__ = ["counted"]


def counted(number: int, noun: str, plural: str = "") -> str:
    """Returns a number with its noun.

    Args:
        number: how many.
        noun: of one.
        plural: of several; the noun and an ``s`` by default.

    Example:
        >>> counted(1, "pair"), counted(2_000, "pair")
        ('1 pair', '2,000 pairs')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
