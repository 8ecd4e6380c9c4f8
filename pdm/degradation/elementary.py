"""exp, log and powers of float64 arrays, the same bits whatever the length and layout of the array and the build.

numpy's own differ in the last bit between processors, and may between the parts of one array; what a twin folds must
not. Only additions, multiplications and divisions of IEEE 754 are used here; the error is a few units in the last
place.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_EXP_TERMS = tuple(1.0 / float(np.prod(np.arange(1, k + 1, dtype=np.float64))) for k in range(13, -1, -1))
_LOG_TERMS = tuple(1.0 / k for k in range(23, 0, -2))
_LARGEST = 700.0


def exp(x: ArrayLike) -> Floats:
    """e^x, of x clipped to +-700."""
    x = np.clip(np.asarray(x, dtype=np.float64), -_LARGEST, _LARGEST)
    # e^x = 2^k e^r,   |r| <= ln(2) / 2,   e^r by its series
    k = np.rint(x * (1.0 / np.log(2.0)))
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    series = np.full_like(r, _EXP_TERMS[0])
    for term in _EXP_TERMS[1:]:
        series = series * r + term
    return np.asarray(np.ldexp(series, k.astype(np.int32)))


def log(x: ArrayLike) -> Floats:
    """ln x, of x above 0."""
    mantissa, power = np.frexp(np.asarray(x, dtype=np.float64))
    low = mantissa < np.sqrt(0.5)
    mantissa, power = np.where(low, 2.0 * mantissa, mantissa), power - low
    # ln m = 2 (s + s^3/3 + s^5/5 + ...),   s = (m - 1) / (m + 1)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = np.full_like(s, _LOG_TERMS[0])
    for term in _LOG_TERMS[1:]:
        series = series * square + term
    return np.asarray(power * _LN2_HIGH + (2.0 * s * series + power * _LN2_LOW))


def power(x: ArrayLike, exponent: float) -> Floats:
    """x^exponent, of x not negative and an exponent above 0."""
    x = np.asarray(x, dtype=np.float64)
    positive = x > 0
    return np.where(positive, exp(exponent * log(np.where(positive, x, 1.0))), 0.0)
