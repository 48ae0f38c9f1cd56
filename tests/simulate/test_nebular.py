"""Nebular light against published luminosities, coefficients and real SLUG output."""

import numpy as np

from starcensus.simulate import nebular


def line(spectrum: nebular.NebularSpectrum, wavelength: float) -> float:
    """Luminosity of the line nearest a vacuum wavelength, erg per ionising photon."""
    return float(spectrum.line_luminosity[np.argmin(np.abs(spectrum.line_wavelength - wavelength))])


def test_balmer_lines_have_their_luminosity_per_ionising_photon():
    spectrum = nebular.nebular_spectrum(np.linspace(1000.0, 1e4, 100))
    # Kennicutt & Evans (2012) and Osterbrock & Ferland (2006): 1.37e-12 and 4.78e-13 erg.
    np.testing.assert_allclose(line(spectrum, 6564.7), 1.37e-12, rtol=0.005)
    np.testing.assert_allclose(line(spectrum, 4862.7), 4.78e-13, rtol=0.005)
