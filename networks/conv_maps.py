"""The compiled part of a convolutional network: images to maps of logits."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .conv_settings import ConvSettings

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
            h = jax.lax.conv_general_dilated(
                h,
                weight,
                (1, 1),
                "VALID",
                rhs_dilation=(apart, apart),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                precision=jax.lax.Precision.HIGHEST,
            )
            h = jax.nn.relu(h + parameters[f"stage_{i}.conv_{j}.bias"][None, None, None])
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


def _strided_maximum(h: Float[Array, "n y x c"]) -> Float[Array, "n y2 x2 c"]:
    y, x = h.shape[1] // 2 * 2, h.shape[2] // 2 * 2
    h = jnp.maximum(h[:, :y:2], h[:, 1:y:2])
    return jnp.maximum(h[:, :, :x:2], h[:, :, 1:x:2])
