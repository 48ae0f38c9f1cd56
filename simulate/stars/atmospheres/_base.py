"""Libraries of model spectra on a grid of temperature and gravity."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

SIGMA_SB = 5.670374419e-5  # erg s⁻¹ cm⁻² K⁻⁴
LIGHT = 2.99792458e18  # Å/s
PLANCK_LIGHT = 1.98644586e-8  # h c, erg Å
HC_OVER_K = 1.438776877e8  # Å K
RYDBERG = 911.75  # Å


@dataclasses.dataclass(frozen=True, eq=False)
class SpectralLibrary:
    """Spectra per unit of bolometric luminosity, on a grid of log Teff and log g.

    **Arguments:**

    - `name`: what it is.
    - `citations`: papers to cite.
    - `wavelength`: `(wave,)`, Å, increasing.
    - `spectra`: `(model, wave)`, per Å; each integrates to 1.
    - `log_teff`: `(t,)`, log10 K, increasing.
    - `log_g`: `(g,)`, log10 cm s⁻², increasing.
    - `model`: `(t, g)`, row of `spectra` for each node. A node without a model of its own holds
      that of the nearest gravity at its temperature.
    - `own`: `(t, g)`, whether the node has a model of its own.
    - `integral`: `(model,)`, the integral of the published spectrum over what it should be
      (σT⁴, or 1 for a normalised library), before this normalisation.

    Raises `ValueError` for shapes that differ, negative fluxes, or integrals that are not 1.

    ```python
    black_bodies().spectrum(np.array([3.76]), np.array([4.4])).shape
    ```
    """

    name: str
    citations: tuple[str, ...]
    wavelength: Float[np.ndarray, "wave"]
    spectra: Float[np.ndarray, "model wave"]
    log_teff: Float[np.ndarray, "t"]
    log_g: Float[np.ndarray, "g"]
    model: Int[np.ndarray, "t g"]
    own: Bool[np.ndarray, "t g"]
    integral: Float[np.ndarray, "model"]

    def __post_init__(self) -> None:
        shapes = {
            "spectra": (len(self.integral), len(self.wavelength)),
            "model": (len(self.log_teff), len(self.log_g)),
            "own": (len(self.log_teff), len(self.log_g)),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"{self.name}: {name} has shape {getattr(self, name).shape}; expected {shape}"
                )
        for name in ("wavelength", "log_teff", "log_g"):
            if not (np.diff(getattr(self, name)) > 0).all():
                raise ValueError(f"{self.name}: {name} must increase")
        if not np.isfinite(self.spectra).all() or (self.spectra < 0).any():
            raise ValueError(f"{self.name}: fluxes that are negative or not finite")
        total = np.trapezoid(self.spectra, self.wavelength, axis=1)
        if not np.allclose(total, 1, atol=1e-6):
            worst = int(np.argmax(np.abs(total - 1)))
            raise ValueError(f"{self.name}: model {worst} integrates to {total[worst]}, not 1")

    def nodes(
        self, log_teff: Float[np.ndarray, "star"], log_g: Float[np.ndarray, "star"]
    ) -> tuple[Int[np.ndarray, "star 4"], Float[np.ndarray, "star 4"]]:
        """Models around each star and their weights, which add up to 1.

        Linear in log Teff and log g; a star outside the grid takes its edge.
        """
        t, in_t = _bracket(self.log_teff, log_teff)
        g, in_g = _bracket(self.log_g, log_g)
        t_next, g_next = (
            np.minimum(t + 1, len(self.log_teff) - 1),
            np.minimum(g + 1, len(self.log_g) - 1),
        )
        models = np.stack(
            [
                self.model[t, g],
                self.model[t, g_next],
                self.model[t_next, g],
                self.model[t_next, g_next],
            ],
            axis=1,
        )
        weights = np.stack(
            [
                (1 - in_t) * (1 - in_g),
                (1 - in_t) * in_g,
                in_t * (1 - in_g),
                in_t * in_g,
            ],
            axis=1,
        )
        return models, weights

    def spectrum(
        self, log_teff: Float[np.ndarray, "star"], log_g: Float[np.ndarray, "star"]
    ) -> Float[np.ndarray, "star wave"]:
        """Spectrum of each star per unit of its luminosity, per Å."""
        models, weights = self.nodes(log_teff, log_g)
        return np.einsum("sn,snw->sw", weights, self.spectra[models])

    @property
    def ionising(self) -> Float[np.ndarray, "model"]:
        """Hydrogen-ionising photons per erg of bolometric energy."""
        edge = np.concatenate([self.wavelength[self.wavelength < RYDBERG], [RYDBERG]])
        if len(edge) < 2:
            return np.zeros(len(self.spectra))
        at_edge = np.stack([np.interp(RYDBERG, self.wavelength, row) for row in self.spectra])
        blue = np.concatenate([self.spectra[:, : len(edge) - 1], at_edge[:, None]], axis=1)
        return np.trapezoid(blue * edge, edge, axis=1) / PLANCK_LIGHT


def _bracket(
    nodes: Float[np.ndarray, "node"], values: Float[np.ndarray, "star"]
) -> tuple[Int[np.ndarray, "star"], Float[np.ndarray, "star"]]:
    """Node below each value and the fraction of the way to the next, clipped to the range."""
    if len(nodes) == 1:
        return np.zeros(len(values), dtype=np.int64), np.zeros(len(values))
    below = np.clip(np.searchsorted(nodes, values, side="right") - 1, 0, len(nodes) - 2)
    fraction = (values - nodes[below]) / (nodes[below + 1] - nodes[below])
    return below, np.clip(fraction, 0, 1)


def planck(
    wavelength: Float[np.ndarray, "wave"], teff: Float[np.ndarray, "t"]
) -> Float[np.ndarray, "t wave"]:
    """Planck's law πB_λ in erg s⁻¹ cm⁻² Å⁻¹ for wavelengths in Å and temperatures in K."""
    exponent = np.minimum(HC_OVER_K / (wavelength * teff[:, None]), 700.0)
    two_pi_hc2 = 2 * np.pi * PLANCK_LIGHT * LIGHT * 1e16  # erg s⁻¹ cm⁻² Å⁴
    return two_pi_hc2 / wavelength**5 / np.expm1(exponent)


def build_library(
    name: str,
    citations: tuple[str, ...],
    wavelength: Float[np.ndarray, "wave"],
    spectra: dict[tuple[float, float], Float[np.ndarray, "wave"]],
    expected: dict[tuple[float, float], float],
    *,
    cool: Float[np.ndarray, "c"] | None = None,
    hot: Float[np.ndarray, "h"] | None = None,
    tolerance: float = 0.05,
) -> SpectralLibrary:
    """A library from published models, its integrals checked and its gaps filled.

    **Arguments:**

    - `wavelength`: `(wave,)`, Å. `spectra`: flux per Å of each (log Teff, log g).
    - `expected`: what each should integrate to.
    - `cool`, `hot`: temperatures in K beyond the coolest and hottest model at which models are
      made: the end model times the ratio of Planck functions.
    - `tolerance`: the largest relative error of an integral that is let through.

    Raises `ValueError` where an integral is off by more than that.
    """
    log_teff = sorted({key[0] for key in spectra})
    log_g = np.array(sorted({key[1] for key in spectra}))
    rows, integral, keys = [], [], {}
    for key, flux in spectra.items():
        ratio = float(np.trapezoid(flux, wavelength)) / expected[key]
        if not abs(ratio - 1) <= tolerance:
            raise ValueError(
                f"{name}: the model of {10 ** key[0]:.0f} K, log g = {key[1]} integrates to "
                f"{ratio:.3f} of its bolometric flux; expected 1 within {tolerance}. Check the "
                "units of the file"
            )
        keys[key] = len(rows)
        rows.append(flux)
        integral.append(ratio)
    own_t = {t: sorted(g for teff, g in spectra if teff == t) for t in log_teff}
    nearest = {
        (t, g): keys[t, min(own_t[t], key=lambda other: abs(other - g))]
        for t in log_teff
        for g in log_g
    }
    for end, extra in ((log_teff[0], cool), (log_teff[-1], hot)):
        for teff in [] if extra is None else extra:
            both = planck(wavelength, np.array([10**end, float(teff)]))
            scale = both[1] / both[0]
            made: dict[int, int] = {}
            for g in log_g:
                source = nearest[end, g]
                if source not in made:
                    made[source] = len(rows)
                    rows.append(rows[source] * scale)
                    integral.append(np.nan)
                nearest[float(np.log10(teff)), g] = made[source]
    nodes_t = np.array(sorted({key[0] for key in nearest}))
    matrix = np.array(rows)
    matrix /= np.trapezoid(matrix, wavelength, axis=1)[:, None]
    return SpectralLibrary(
        name=name,
        citations=citations,
        wavelength=wavelength,
        spectra=matrix,
        log_teff=nodes_t,
        log_g=log_g,
        model=np.array([[nearest[t, g] for g in log_g] for t in nodes_t]),
        own=np.array([[(t, g) in spectra for g in log_g] for t in nodes_t]),
        integral=np.array(integral),
    )
