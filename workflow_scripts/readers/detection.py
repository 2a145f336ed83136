"""Signal detection: how well a reader tells synthetic images from real ones, whatever their bias."""

import numpy as np
from scipy.stats import norm


def d_prime(hits, synthetic, false_alarms, real):
    """Return d′ = z(H) − z(F) and its variance, elementwise.

    H is the rate of "synthetic" among synthetic images and F that among real ones, both with
    the log-linear correction (Hautus, Behavior Research Methods 1995): half an answer is added to
    the counts and one to the totals, so that rates of 0 and 1 have a finite d′. The variance is
    Gourevitch & Galanter's (Psychometrika 1967),

        H(1 − H) / (n_s φ(z(H))²) + F(1 − F) / (n_r φ(z(F))²).

    Parameters
    ----------
    hits, false_alarms : how often "synthetic" was said of synthetic and of real images; counts of
        any shape, or their weighted sums
    synthetic, real : answers on synthetic and on real images, above 0

    Returns
    -------
    d′ and its variance, float64. 0: chance; negative: real and synthetic are taken for each other.
    """
    rates, totals = [], []
    for said, total in ((hits, synthetic), (false_alarms, real)):
        totals.append(np.asarray(total, float) + 1)
        rates.append((np.asarray(said, float) + 0.5) / totals[-1])
    z = [norm.ppf(rate) for rate in rates]
    variance = sum(
        rate * (1 - rate) / (total * norm.pdf(quantile) ** 2)
        for rate, total, quantile in zip(rates, totals, z, strict=True)
    )
    return z[0] - z[1], variance
