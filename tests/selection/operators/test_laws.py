"""Every registered operator through the same laws, from one table of cases."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logit

from starcensus.networks import MLP, random_mlp
from starcensus.selection import (
    OPERATORS,
    AbstractSelection,
    ActsOn,
    Box,
    GridSelection,
    MagnitudeLimit,
    MemberSelection,
    NetworkSelection,
    Nuisance,
    Outside,
    PhotometricNetwork,
    ProductSelection,
    RecordedLimits,
    RecordedSelection,
    complete,
    independent,
    load_selection,
    radius_distribution,
    save_selection,
    with_outside,
)
from starcensus.selection.operators._fields import encode
from starcensus.selection.operators.network import InputScale
from starcensus.simulate import FlatRadius, MassRadius
from starcensus.theta import AXES

type Operator = AbstractSelection | PhotometricNetwork

BOX = Box((2.0, 6.0), (6.0, 10.0), (0.0, 3.0))
NODES = (np.linspace(2, 6, 5), np.linspace(6, 10, 4), np.linspace(0, 3, 3))
KNOWN_RADII = (1.0, 10.0)
N = 8
# Kinds that know no uncertainty: one member is all that they can have.
ONE_MEMBER = {"complete", "magnitude_limit", "member", "recorded_limits"}


@dataclasses.dataclass(frozen=True)
class Case:
    """An operator, and for each member of its ensemble an operator that has that member alone."""

    name: str
    operator: Operator
    alone: tuple[Operator, ...]
    grid_tolerance: float = 1e-12

    @property
    def box(self) -> np.ndarray:
        """Where it is known, `(axis, 2)`."""
        if isinstance(self.operator, PhotometricNetwork):
            return np.asarray(self.operator.limits)
        return np.array([getattr(self.operator.domain, axis) for axis in AXES])

    def points(self, seed: int = 0) -> jax.Array:
        """Points of the inner 96% of the box, `(axis, 8)`."""
        low, high = self.box.T
        u = np.random.default_rng(seed).uniform(0.02, 0.98, (len(low), N))
        return jnp.asarray(low[:, None] + u * (high - low)[:, None])

    def beyond(self) -> jax.Array:
        """Points of which the first lie outside, two along each axis, just and far."""
        points = np.array(self.points(seed=7))
        for axis, (low, high) in enumerate(self.box):
            near, far = 1e-6, 50.0
            points[axis, 2 * axis : 2 * axis + 2] = (
                (low - near, high + far) if axis % 2 else (high + near, low - far)
            )
        return jnp.asarray(points)


def eager(operator: Operator, x: jax.Array) -> jax.Array:
    """Every member at the columns of x, for operators of θ and of magnitudes alike."""
    if isinstance(operator, PhotometricNetwork):
        return operator.members(x.T)
    return operator.members(*x)


# One program for all operators of a structure, and for all laws.
members = eqx.filter_jit(eager)


@eqx.filter_jit
def p_sel(operator: Operator, x: jax.Array) -> jax.Array:
    return operator.p_sel(x.T) if isinstance(operator, PhotometricNetwork) else operator.p_sel(*x)


def restated[O: Operator](operator: O, name: str, value: str) -> O:
    return eqx.tree_at(lambda o: getattr(o, name), operator, value)


def networks(mean: list[float], scale: list[float], n: int = 3, seed: int = 0) -> list[MLP]:
    """Networks that differ from each other by much."""
    made = []
    for key in jax.random.split(jax.random.key(seed), n):
        net = random_mlp((len(mean), 8), key=key, mean=np.array(mean), scale=np.array(scale))
        weights = [np.asarray(net.weights[0]), 6 * np.asarray(net.weights[1])]
        made.append(MLP(weights, [np.asarray(b) for b in net.biases], net.mean, net.scale))
    return made


def network(
    scale: InputScale = "log", nuisance: Nuisance | None = None, outside: Outside = "refuse"
) -> Callable[[slice], NetworkSelection]:
    centre, width = [4.0, 8.0, 1.5], [1.0, 1.0, 0.8]
    if scale == "linear":
        centre, width = [1e5, 1e9, 1.5], [3e5, 3e9, 0.8]
    more = 0 if nuisance is None else len(nuisance.names)
    nets = networks(centre + [0.5] * more, width + [0.3] * more)
    return lambda which: NetworkSelection(
        networks=tuple(nets[which]), domain=BOX, inputs=scale, nuisance=nuisance, outside=outside
    )


def photometric(masked: bool, nuisance: Nuisance | None) -> Callable[[slice], PhotometricNetwork]:
    k = 0 if nuisance is None else 1
    nets = networks([22.0, 21.0, *[0.5] * k, *[0.0] * 2 * masked], [3.0] * (2 + k + 2 * masked))
    limits = np.array([[15.0, 30.0], [15.0, 29.0]])
    return lambda which: PhotometricNetwork(
        tuple(nets[which]), ("F435W", "F555W"), limits, 29.98, nuisance=nuisance, masked=masked
    )


def grid(outside: Outside = "zero") -> Callable[[slice], GridSelection]:
    p = np.random.default_rng(2).uniform(0.02, 0.98, (3, 5, 4, 3))
    return lambda which: GridSelection.from_probabilities(NODES, p[which], outside=outside)


def magnitude(outside: Outside = "refuse") -> MagnitudeLimit:
    return MagnitudeLimit.default("F555W", domain=BOX, width_mag=0.5, outside=outside)


def recorded(base: AbstractSelection) -> RecordedSelection:
    return RecordedSelection(base, (0.1, 0.0, 0.15), order=8)


def limits() -> RecordedLimits:
    lower, upper = np.random.default_rng(3).uniform(0.2, 0.6, (2, 4, 3))
    low, high = np.array([3.7, -np.inf, 0.3]), np.array([np.inf, 8.3, 2.0])
    return RecordedLimits(low, high, lower, upper, domain=BOX, outside="refuse")


def ensemble(name: str, build: Callable[[slice], Operator], grid_tolerance: float = 1e-12) -> Case:
    """The case of an operator that `build` makes of a slice of three members."""
    alone = tuple(build(slice(k, k + 1)) for k in range(3))
    return Case(name, build(slice(None)), alone, grid_tolerance)


def single(name: str, operator: Operator) -> Case:
    return Case(name, operator, (operator,))


def cases() -> list[Case]:
    smooth, rough = network(outside="zero"), grid()
    limit = with_outside(magnitude(), "zero")
    radii = radius_distribution(MassRadius(low=1.0, high=10.0), KNOWN_RADII, 3)
    sky = Nuisance(("log_background",), np.array([[-1.0], [0.0]]), np.array([1.0, 3.0]))
    flat = radius_distribution(FlatRadius(1.0, 3.0, whole=True), KNOWN_RADII)
    return [
        single("complete", complete(BOX)),
        single("magnitude_limit", magnitude()),
        single("recorded_limits", limits()),
        ensemble("grid", grid("refuse")),
        ensemble("network", network()),
        ensemble("network_linear", network("linear")),
        ensemble("network_nuisance", network(nuisance=independent(radii, sky))),
        Case("member", MemberSelection(network()(slice(None)), 1), (network()(slice(1, 2)),)),
        ensemble("photometric_network", photometric(False, None)),
        ensemble("photometric_network_nuisance", photometric(True, flat)),
        ensemble("recorded", lambda which: recorded(smooth(which)), 2e-3),
        ensemble("product_paired", lambda which: ProductSelection(smooth(which), rough(which))),
        ensemble("product_with_one", lambda which: ProductSelection(rough(which), limit)),
    ]


CASES = cases()
every_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def probabilities(case: Case) -> None:
    """In [0, 1], one for each member and point, in double precision; arguments broadcast."""
    found = members(case.operator, case.points())
    assert found.shape == (case.operator.n_members, N) and found.dtype == jnp.float64
    assert bool(((found >= 0) & (found <= 1)).all())
    if isinstance(case.operator, AbstractSelection):
        x = np.asarray(case.points()[:, :4])
        table = jax.jit(lambda *x: case.operator.p_sel(*x))(x[0][:, None], x[1, :2][None], x[2, 0])
        assert table.shape == (4, 2)
        points = np.array([x[0], np.full(4, x[1, 1]), np.full(4, x[2, 0])])
        expected = p_sel(case.operator, jnp.asarray(np.concatenate([points, x], axis=1)))[:4]
        np.testing.assert_allclose(table[:, 1], expected, rtol=1e-9)


def ensemble_mean(case: Case) -> None:
    """Members are what each would be alone, and p_sel is the mean of their probabilities."""
    x = case.points(seed=1)
    each = np.array([np.asarray(p_sel(one, x), float) for one in case.alone])
    assert case.operator.n_members == len(case.alone)
    if len(each) > 1:
        # Where the mean is neither the first member nor the mean of logits.
        mean = each.mean(axis=0)
        assert np.abs(mean - each[0]).max() > 0.02
        assert np.abs(mean - expit(logit(np.clip(each, 1e-12, 1 - 1e-12)).mean(0))).max() > 0.005
    np.testing.assert_allclose(members(case.operator, x), each, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(p_sel(case.operator, x), each.mean(axis=0), rtol=1e-10, atol=1e-14)


def beyond(case: Case) -> None:
    """Outside its box an operator gives 0, refuses, or takes the nearest point, as it says."""
    x, n_out = case.beyond(), 2 * len(case.box)
    nearest = members(case.operator, jnp.clip(x, *case.box.T[:, :, None]))
    for outside, value in (("zero", 0.0), ("refuse", np.nan), ("clip", nearest[:, :n_out])):
        one = restated(case.operator, "outside", outside)
        found = members(one, x)
        expected = nearest.at[:, :n_out].set(value)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        check(one, x[:, n_out:])
        if outside == "refuse":
            with pytest.raises(ValueError, match=rf"{n_out} of {N} (points lie|rows)"):
                check(one, x)
        else:
            check(one, x)


def check(operator: Operator, x: jax.Array) -> None:
    if isinstance(operator, PhotometricNetwork):
        operator.check_mags(x.T)
    else:
        operator.check_points(*x)


def compiled(case: Case) -> None:
    """Compiled as eager: the operator closed over, or an argument."""
    x = case.points(seed=2)
    expected = eager(case.operator, x)
    np.testing.assert_allclose(members(case.operator, x), expected, rtol=1e-9)
    closed_over = jax.jit(lambda x: eager(case.operator, x))
    np.testing.assert_allclose(closed_over(x), expected, rtol=1e-9)


def mapped(case: Case) -> None:
    """Mapped over points as all at once: what a point gets depends on it alone."""
    x = case.points(seed=3)
    one_by_one = jax.jit(jax.vmap(lambda x: eager(case.operator, x[:, None])[:, 0], 1, 1))(x)
    np.testing.assert_allclose(one_by_one, members(case.operator, x), rtol=1e-9)


def gradient(case: Case) -> None:
    """Derivatives of every member against finite differences of fourth order."""
    x = case.points(seed=4)
    slope = jax.jit(lambda x, dx: jax.jvp(lambda x: eager(case.operator, x), (x,), (dx,))[1])
    h = 1e-4
    for axis in range(len(x)):
        step = jnp.zeros_like(x).at[axis].set(1.0)
        near, far = (
            members(case.operator, x + s * h * step) - members(case.operator, x - s * h * step)
            for s in (1, 2)
        )
        numeric = (8 * near - far) / (12 * h)
        np.testing.assert_allclose(slope(x, step), numeric, rtol=1e-5, atol=1e-8)


def tensor_grid(case: Case) -> None:
    """On a tensor grid as at its nodes, inside the domain and outside."""
    if isinstance(case.operator, PhotometricNetwork):
        return
    # Three nodes on each axis, of which the first is outside, then inside.
    for shift, outsides in ((-0.5, ("zero", "refuse", "clip")), (0.3, ("refuse",))):
        nodes = [np.array([low + shift, (low + high) / 2, high - 0.2]) for low, high in case.box]
        mesh = jnp.stack([jnp.asarray(m).ravel() for m in np.meshgrid(*nodes, indexing="ij")])
        for outside in outsides:
            one = restated(case.operator, "outside", outside)
            found = np.asarray(one.on_tensor_grid(*nodes))
            expected = np.asarray(members(one, mesh)).reshape(one.n_members, 3, 3, 3)
            # Where all is near 0 a tolerance would hide any factor.
            assert np.nanmax(expected) > 100 * case.grid_tolerance
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=case.grid_tolerance)


def round_trip(case: Case) -> None:
    """Saved and loaded, it is the same to the last bit, whatever was restated."""
    x = case.beyond()
    original = restated(case.operator, "outside", "clip")
    if isinstance(original, AbstractSelection):
        other = "truth" if original.acts_on == "data" else "data"
        original = restated(original, "acts_on", other)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "operator.h5"
        save_selection(original, path)
        again = load_selection(path)
        assert [p.name for p in path.parent.iterdir()] == ["operator.h5"]
    assert type(again) is type(original) and eqx.tree_equal(again, original)
    (tree, arrays), (tree_again, arrays_again) = (encode(o, OPERATORS) for o in (original, again))
    assert tree_again == tree and arrays_again.keys() == arrays.keys()
    for name, values in arrays.items():
        assert values.dtype == arrays_again[name].dtype
        assert values.tobytes() == arrays_again[name].tobytes()
    np.testing.assert_array_equal(members(again, x), members(original, x))


def single_precision(case: Case) -> None:
    """In a session of single precision everything is single, finite and nearly the same."""
    x = case.points(seed=6)
    exact = members(case.operator, x)
    with jax.enable_x64(False):
        found = jax.jit(lambda x: eager(case.operator, x))(jnp.asarray(np.asarray(x)))
        assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, rtol=2e-3, atol=2e-4)


LAWS = (
    probabilities,
    ensemble_mean,
    beyond,
    compiled,
    mapped,
    gradient,
    tensor_grid,
    round_trip,
    single_precision,
)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@every_case
def test_law(case: Case, law: Callable[[Case], None]):
    law(case)


def test_every_registered_operator_is_in_the_table():
    ours = {name for name, cls in OPERATORS.items() if cls.__module__.startswith("starcensus.")}
    kinds = [(OPERATORS.name_of(type(case.operator)), case.operator.n_members) for case in CASES]
    assert ours == {kind for kind, _ in kinds}
    assert ours - ONE_MEMBER == {kind for kind, n in kinds if n > 1}


class Sound(AbstractSelection):
    """An operator of one's own that keeps all laws; those below each break one."""

    offsets: tuple[float, ...] = (-2.0, 0.0, 3.0)
    slope: float = 1.5
    domain: Box = BOX
    outside: Outside = "refuse"
    acts_on: ActsOn = "data"

    @property
    def n_members(self) -> int:
        return len(self.offsets)

    def _members_inside(self, log_mass, log_age, a_v):
        signal = self.slope * (log_mass - 4) - 0.8 * (log_age - 8) - 0.5 * a_v
        return jax.nn.sigmoid(jnp.stack([signal + offset for offset in self.offsets]))


class AboveOne(Sound):
    def _members_inside(self, log_mass, log_age, a_v):
        return 1.5 * super()._members_inside(log_mass, log_age, a_v)


class Single(Sound):
    def _members_inside(self, log_mass, log_age, a_v):
        single = super()._members_inside(log_mass, log_age, a_v).astype(jnp.float32)
        return single


class FirstMemberAlone(Sound):
    def p_sel(self, log_mass, log_age, a_v):
        return self.members(log_mass, log_age, a_v)[0]


class CombinedInTheLogit(Sound):
    def p_sel(self, log_mass, log_age, a_v):
        p = self.members(log_mass, log_age, a_v)
        return jax.nn.sigmoid(jnp.log(p / (1 - p)).mean(axis=0))


class MembersSwapped(Sound):
    def _members_inside(self, log_mass, log_age, a_v):
        return super()._members_inside(log_mass, log_age, a_v)[::-1]


class Extrapolates(Sound):
    def members(self, log_mass, log_age, a_v):
        return self._members_inside(*(jnp.asarray(x, float) for x in (log_mass, log_age, a_v)))


class NotCompiled(Sound):
    def _members_inside(self, log_mass, log_age, a_v):
        p = super()._members_inside(log_mass, log_age, a_v)
        return p * float(p.max() > 0)


class LooksAtItsNeighbours(Sound):
    def _members_inside(self, log_mass, log_age, a_v):
        p = super()._members_inside(log_mass, log_age, a_v)
        return p / p.max()


class WithoutGradient(Sound):
    def _members_inside(self, log_mass, log_age, a_v):
        return super()._members_inside(jax.lax.stop_gradient(log_mass), log_age, a_v)


class GridOfTheMean(Sound):
    def _on_grid_inside(self, log_mass, log_age, a_v):
        p = super()._on_grid_inside(log_mass, log_age, a_v)
        return jnp.broadcast_to(p.mean(axis=0), p.shape)


class GridTransposed(Sound):
    def _on_grid_inside(self, log_mass, log_age, a_v):
        p = super()._on_grid_inside(log_mass, log_age, a_v)
        return p.swapaxes(1, 2)


class ChangesOnDisk(Sound):
    def __init__(self, slope=1.5, domain=BOX, outside="refuse", acts_on="data"):
        self.offsets, self.slope = (-2.0, 0.0, 3.0), 1.01 * slope
        self.domain, self.outside, self.acts_on = domain, outside, acts_on


class ForgetsOnDisk(Sound):
    def __init__(self, domain=BOX, outside="refuse", slope=1.5):
        self.offsets, self.slope = (-2.0, 0.0, 3.0), slope
        self.domain, self.outside, self.acts_on = domain, outside, "data"


class DoubleInSingle(Sound):
    def _members_inside(self, log_mass, log_age, a_v):
        p = super()._members_inside(log_mass, log_age, a_v)
        return p if p.dtype == jnp.float64 else p * jnp.float32(np.nan)


BROKEN = {
    AboveOne: probabilities,
    Single: probabilities,
    FirstMemberAlone: ensemble_mean,
    CombinedInTheLogit: ensemble_mean,
    MembersSwapped: ensemble_mean,
    Extrapolates: beyond,
    NotCompiled: compiled,
    LooksAtItsNeighbours: mapped,
    WithoutGradient: gradient,
    GridOfTheMean: tensor_grid,
    GridTransposed: tensor_grid,
    ChangesOnDisk: round_trip,
    ForgetsOnDisk: round_trip,
    DoubleInSingle: single_precision,
}


def made(cls: type[Sound]) -> Case:
    OPERATORS.add(f"law_{cls.__name__.lower()}", cls)
    return Case(cls.__name__, cls(), tuple(Sound(offsets=(o,)) for o in Sound().offsets))


def test_an_operator_of_ones_own_keeps_the_laws():
    for law in LAWS:
        law(made(Sound))


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_the_laws_notice_a_broken_operator(cls: type[Sound]):
    with pytest.raises((AssertionError, jax.errors.ConcretizationTypeError)):
        BROKEN[cls](made(cls))


def test_every_law_is_seen_to_notice():
    assert set(BROKEN.values()) == set(LAWS)
