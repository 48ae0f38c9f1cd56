"""The compiled part of a convolutional network: images to maps of logits."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .conv_settings import ConvSettings

# Of F(4×4, 3×3), at the points 0, 1, -1, 1/2, -2 and infinity, which lose few digits.
_INPUT = (
    (1.0, -1.5, -2.0, 1.5, 1.0, 0.0),
    (0.0, -1.0, 0.5, 2.5, 1.0, 0.0),
    (0.0, 1.0, -2.5, 0.5, 1.0, 0.0),
    (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
    (0.0, 0.5, -1.0, -0.5, 1.0, 0.0),
    (0.0, 1.0, -1.5, -2.0, 1.5, 1.0),
)
_KERNEL = (
    (1.0, 0.0, 0.0),
    (1 / 3, 1 / 3, 1 / 3),
    (-1 / 3, 1 / 3, -1 / 3),
    (-16 / 15, -8 / 15, -4 / 15),
    (1 / 15, -2 / 15, 4 / 15),
    (0.0, 0.0, 1.0),
)
_OUTPUT = (
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 0.5, -2.0, 0.0),
    (0.0, 1.0, 1.0, 0.25, 4.0, 0.0),
    (0.0, 1.0, -1.0, 0.125, -8.0, 1.0),
)
# Outputs of a square along one side, and squares whose transforms stay in a processor's cache.
_SQUARE = len(_OUTPUT)
_SQUARES_AT_ONCE = 256
_LEAST_CHANNELS = 64

type Maps = dict[str, Float[Array, "_ y x"]]
type Reduce = Callable[[Maps], Mapping[str, Float[Array, "_ y x"]]]


@functools.partial(jax.jit, static_argnames=("conv", "heads", "stride", "reduce"))
def tile_maps(
    conv: ConvSettings,
    arrays: dict[str, Array | np.ndarray],
    image: Float[Array, "band y x"],
    heads: tuple[str, ...],
    stride: int,
    reduce: Reduce | None,
) -> dict[str, Float[Array, "_ y2 x2"]]:
    """Logits of one image, or what `reduce` makes of them."""
    maps = {name: m[0] for name, m in maps_of(conv, arrays, image[None], heads, stride).items()}
    return maps if reduce is None else dict(reduce(maps))


@functools.partial(jax.jit, static_argnames=("conv", "heads", "stride"))
def maps_of(
    conv: ConvSettings,
    arrays: dict[str, Array | np.ndarray],
    images: Float[Array, "n band y x"],
    heads: tuple[str, ...],
    stride: int,
) -> dict[str, Float[Array, "n _ y2 x2"]]:
    """Logits of windows `stride` apart; NaN where a window holds a pixel that is no number."""
    parameters = {name: jnp.asarray(values) for name, values in arrays.items()}
    seen = jnp.isfinite(images)
    h = _channels(conv, jnp.where(seen, images, 0.0), seen)
    apart, left = 1, stride
    for i, stage in enumerate(conv.stages):
        if i and left > 1:
            h, left = _strided_maximum(h), left // 2
        elif i:
            h = jnp.maximum(h[:, apart:], h[:, :-apart])
            h = jnp.maximum(h[:, :, apart:], h[:, :, :-apart])
            apart *= 2
        for j in range(len(stage)):
            weight = parameters[f"stage_{i}.conv_{j}.weight"].transpose(2, 3, 1, 0)
            h = _convolved(h, weight, parameters[f"stage_{i}.conv_{j}.bias"], apart)
    holes = (~seen.all(axis=1, keepdims=True)).astype(images.dtype)
    bad = _box_sum(holes, conv.window_pix)[:, :, ::stride, ::stride] > 0.5
    maps = {}
    for name in heads:
        bias = parameters[f"heads.{name}.bias"][None, :, None, None]
        logits = jnp.einsum(
            "nyxf,kf->nkyx",
            h,
            parameters[f"heads.{name}.weight"],
            precision=jax.lax.Precision.HIGHEST,
        )
        maps[name] = jnp.where(bad, jnp.nan, logits + bias)
    return maps


def _channels(
    conv: ConvSettings, x: Float[Array, "n band y x"], seen: Bool[Array, "n band y x"]
) -> Float[Array, "n y2 x2 channel"]:
    """The two channels of each band; pixels that were not seen count as the reference or 0."""
    scale = jnp.asarray(conv.flux_scale, x.dtype)[None, :, None, None]
    # Any constant leaves the standard deviation; one near the sky loses fewest digits.
    few = jnp.where(seen, x, jnp.nan)[:, :, ::4, ::4]
    reference = jnp.nan_to_num(jnp.nanmedian(few, axis=(2, 3), keepdims=True))
    c = jnp.where(seen, x - reference, 0.0)
    mean = _box_sum(c, conv.box_pix) / conv.box_pix**2
    variance = _box_sum(c * c, conv.box_pix) / conv.box_pix**2 - mean**2
    sd = jnp.sqrt(jnp.maximum(variance, 0.0) + (conv.sd_floor * scale) ** 2)
    margin = conv.box_pix // 2
    inner = (slice(None), slice(None), slice(margin, -margin), slice(margin, -margin))
    channels = [jnp.arcsinh((c[inner] - mean) / sd), jnp.arcsinh(x[inner] / scale)]
    return jnp.concatenate(channels, axis=1).transpose(0, 2, 3, 1)


def _box_sum(x: Float[Array, "n band y x"], width: int) -> Float[Array, "n band y2 x2"]:
    """Sums over squares: a product with bands of ones, whose errors stay where they arise."""

    def ones(n: int) -> Float[Array, "out n"]:
        first = np.arange(n - width + 1)[:, None]
        at = np.arange(n)[None]
        return jnp.asarray((at >= first) & (at < first + width), x.dtype)

    down, across = ones(x.shape[2]), ones(x.shape[3])
    return jnp.einsum("iy,nbyx,jx->nbij", down, x, across, precision=jax.lax.Precision.HIGHEST)


def _convolved(
    h: Float[Array, "n y x c"],
    weight: Float[Array, "k k c f"],
    bias: Float[Array, "f"],
    apart: int,
) -> Float[Array, "n y2 x2 f"]:
    """A convolution of inputs `apart` pixels apart, with bias and ReLU."""

    def plain(h: Array, weight: Array, bias: Array) -> Array:
        made = jax.lax.conv_general_dilated(
            h,
            weight,
            (1, 1),
            "VALID",
            rhs_dilation=(apart, apart),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=jax.lax.Precision.HIGHEST,
        )
        return jax.nn.relu(made + bias[None, None, None])

    def minimal(h: Array, weight: Array, bias: Array) -> Array:
        return _minimal_filtering(h[0], weight, bias, apart)[None]

    if not _minimal_is_faster(h.shape, weight.shape, apart):
        return plain(h, weight, bias)
    # Libraries of other devices choose the algorithm themselves.
    return jax.lax.platform_dependent(h, weight, bias, cpu=minimal, default=plain)


def _strips(ny: int, nx: int, apart: int) -> tuple[int, int, int]:
    """Number of strips, and of squares down and across one, for ny rows and nx columns."""
    side = _SQUARE * apart
    across = -(-nx // side)
    most = max(min(ny // side, -(-_SQUARES_AT_ONCE // (apart**2 * across))), 1)
    n = -(-ny // (most * side))
    return n, -(-ny // (n * side)), across


def _minimal_is_faster(image: tuple[int, ...], weight: tuple[int, ...], apart: int) -> bool:
    """Whether there are many channels of one image, whose squares hardly overlap."""
    if image[0] != 1 or weight[0] != len(_KERNEL[0]) or weight[2] < _LEAST_CHANNELS:
        return False
    ny, nx = (n - 2 * apart for n in image[1:3])
    n, down, across = _strips(ny, nx, apart)
    return ny >= _SQUARE * apart and n * down * across * (_SQUARE * apart) ** 2 < 1.25 * ny * nx


def _minimal_filtering(
    h: Float[Array, "y x c"], weight: Float[Array, "3 3 c f"], bias: Float[Array, "f"], apart: int
) -> Float[Array, "y2 x2 f"]:
    """A convolution by Winograd's minimal filtering, which has a quarter of the multiplications.

    Squares of 6×6 inputs are transformed, multiplied channel by channel with transformed weights,
    and transformed back to 4×4 outputs (Lavin & Gray 2016, arXiv:1509.09308, section 4; points of
    Barabasz et al. 2020, arXiv:1803.10986). Pixels of a square are `apart` pixels from one another,
    and squares of all phases lie side by side. It goes by strips of the image, so that what lies
    between the transforms is not written to memory.
    """
    ny, nx = (n - 2 * apart for n in h.shape[:2])
    side, n = _SQUARE * apart, len(_INPUT)
    n_strips, down, across = _strips(ny, nx, apart)
    c, f = weight.shape[2:]
    kernel = jnp.asarray(_KERNEL, h.dtype)
    highest = jax.lax.Precision.HIGHEST
    u = jnp.einsum("ki,lj,ijcf->lkcf", kernel, kernel, weight, precision=highest)
    u = u.reshape(n * n, c, f)

    def strip(i: Array, made: Array) -> Array:
        # The last strip repeats rows of the one before.
        first = jnp.minimum(i * down * side, ny - down * side)
        part = jax.lax.dynamic_slice_in_dim(h, first, down * side + 2 * apart)
        beyond = (0, side - 2 * apart), (0, (across + 1) * side - part.shape[1]), (0, 0)
        part = _kept(jnp.pad(part, beyond)).reshape(down + 1, _SQUARE, apart, -1, c)
        rows = _combined(
            _INPUT, [part[k // _SQUARE :][:down, k % _SQUARE] for k in range(n)]
        ).reshape(n, down * apart, across + 1, _SQUARE, apart, c)
        squares = _combined(
            _INPUT, [rows[:, :, k // _SQUARE :][:, :, :across, k % _SQUARE] for k in range(n)]
        ).reshape(n * n, -1, c)
        products = _kept(jnp.einsum("qtc,qcf->qtf", squares, u, precision=highest))
        products = products.reshape(n, n, down, apart, across, apart, f)
        columns = _combined(_OUTPUT, list(products))
        outputs = _combined(_OUTPUT, [columns[:, k] for k in range(n)])
        outputs = outputs.transpose(2, 0, 3, 4, 1, 5, 6).reshape(down * side, across * side, f)
        outputs = jax.nn.relu(outputs[:, :nx] + bias[None, None])
        return jax.lax.dynamic_update_slice_in_dim(made, outputs, first, 0)

    return jax.lax.fori_loop(0, n_strips, strip, jnp.zeros((ny, nx, f), h.dtype))


def _combined(
    coefficients: tuple[tuple[float, ...], ...], parts: list[Float[Array, "*shape"]]
) -> Float[Array, "m *shape"]:
    """For each row of coefficients the sum of the parts with them."""
    sums = []
    for row in coefficients:
        terms = [part if c == 1 else c * part for c, part in zip(row, parts, strict=True) if c]
        sums.append(sum(terms[1:], terms[0]))
    return _kept(jnp.stack(sums))


def _kept(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Computed once, instead of again for each use."""
    return jax.lax.optimization_barrier(x)


def _strided_maximum(h: Float[Array, "n y x c"]) -> Float[Array, "n y2 x2 c"]:
    y, x = h.shape[1] // 2 * 2, h.shape[2] // 2 * 2
    h = jnp.maximum(h[:, :y:2], h[:, 1:y:2])
    return jnp.maximum(h[:, :, :x:2], h[:, :, 1:x:2])
