"""Decimals in full length: Python's own context would round them to 28 digits, or refuse them."""

from decimal import Context, Decimal

FULL = Context(prec=150_000)  # PostgreSQL's numeric has up to 131,072 digits and 16,383 decimals


def plain_text(number: Decimal) -> str:
    """The shortest text without an exponent: 12.30 is "12.3", and there is one zero."""
    return format(FULL.plus(FULL.normalize(number)), "f")


def decimals(number: Decimal) -> int:
    """How many decimals it takes; less than 0 where it ends in zeros before the point."""
    exponent = FULL.normalize(number).as_tuple().exponent
    assert isinstance(exponent, int), "a finite number"
    return -exponent


def with_decimals(number: Decimal, count: int) -> Decimal:
    """Rounded to so many decimals, however long that is."""
    return number.quantize(Decimal(1).scaleb(-count), context=FULL)
