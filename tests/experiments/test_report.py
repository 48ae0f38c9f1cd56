"""The report of a fit: what is on the page, what it refuses, and whether a browser shows it."""

import dataclasses
import html.parser
import json
import pathlib
import re
import shutil
import subprocess

import matplotlib
import numpy as np
import pytest
from arviz_base import convert_to_datatree, from_dict
from scipy.special import expit

from starcensus.experiments.report import write_report
from starcensus.experiments.report.fit.checks import p_value, pooled
from starcensus.experiments.report.fit.correction import correct, poisson_interval
from starcensus.experiments.report.fit.load import Run, load_run
from starcensus.experiments.report.fit.record import InputFile, facts
from starcensus.experiments.report.fit.sampler import rank_counts
from starcensus.experiments.report.words import label, number, percent, prior, rounded
from starcensus.theta import AXES

BOUNDS = {"log_mass": (3.0, 6.5), "log_age": (6.0, 9.5), "a_v": (0.0, 3.0)}
SIZES = {"log_mass": 24, "log_age": 20, "a_v": 10}
SLOPES = {"log_mass": -1.0, "log_age": 0.3, "a_v": -0.8}
N_CLUSTERS, N_POPULATION = 120, 1500.0
CENTRES = {"alpha_m": -2.0, "log_t_mid": 8.0, "log_n": 3.2}
STEPS = [
    {"name": "read", "n_before": 400, "n_after": 400, "reason": "Every row."},
    {"name": "class_1_or_2", "n_before": 400, "n_after": 150, "reason": "Compact <clusters> only."},
    {"name": "in_bounds", "n_before": 150, "n_after": N_CLUSTERS, "reason": "Inside the bounds."},
]
PARAMETERS = [
    {
        "name": "alpha_m",
        "unit": "dimensionless",
        "label": r"$\alpha_M$",
        "size": 0,
        "prior": {"kind": "normal", "mean": -2.0, "sd": 0.5, "low": -4.0, "high": float("inf")},
        "reason": "published slopes",
    },
    {
        "name": "log_t_mid",
        "unit": "log10 yr",
        "label": r"$\log T_{\rm mid}$",
        "size": 0,
        "prior": {"kind": "uniform", "low": 6.0, "high": 9.5},
        "reason": "flat",
    },
    {
        "name": "alpha_t",
        "unit": "dimensionless",
        "label": r"$\alpha_T$",
        "size": 0,
        "prior": {"kind": "fixed", "value": -0.9},
        "reason": "as given",
    },
    {
        "name": "p_av",
        "unit": "share of clusters",
        "label": r"$p_{A_V}$",
        "size": 3,
        "prior": {"kind": "dirichlet", "concentration": 1.0},
        "reason": "flat over shares",
    },
    {
        "name": "log_n",
        "unit": "log10 number",
        "label": r"$\log N$",
        "size": 0,
        "prior": {"kind": "uniform", "low": 0.0, "high": 9.0},
        "reason": "flat",
    },
]
FIGURES = ("functions", "plane", "corner", "vector-p_av", "checks", "chains", "sampler")
SECTIONS = ("answer", "fitted", "functions", "plane", "posterior", "checks", "parameters")


def nodes_of(axis: str) -> np.ndarray:
    low, high = BOUNDS[axis]
    n = SIZES[axis]
    return low + (high - low) * (np.arange(n) + 0.5) / n


def tree_of(shift: float = 0.0, n_draws: int = 60, n_clusters: int = N_CLUSTERS):
    """A tree as a fit writes it, of two chains; `shift` moves every scalar."""
    rng = np.random.default_rng(1)
    shape = (2, n_draws)
    posterior = {k: v + shift + 0.1 * rng.normal(size=shape) for k, v in CENTRES.items()}
    posterior["p_av"] = rng.dirichlet([30, 20, 10], size=shape)
    nodes = {axis: nodes_of(axis) for axis in AXES}
    mesh = np.meshgrid(*nodes.values(), indexing="ij")
    p_sel = expit(3 * (mesh[0] - 4) - 1.5 * (mesh[1] - 8) - mesh[2])
    shares = {}
    for axis in AXES:
        weight = 10 ** (SLOPES[axis] * (nodes[axis] - nodes[axis][0]))
        shares[axis] = weight / weight.sum()
    joint = np.einsum("m,t,a->mta", *shares.values()) * p_sel
    edges = {axis: np.linspace(*BOUNDS[axis], 8) for axis in AXES}
    pick = rng.choice(joint.size, size=n_clusters, p=joint.ravel() / joint.sum())
    theta = np.stack([m.ravel()[pick] for m in mesh], axis=1) + 0.02 * rng.normal(
        size=(n_clusters, 3)
    )
    scale = N_POPULATION * 10 ** (0.05 * rng.normal(size=(1, 40, 1)))
    predictive = {"n_catalogued": rng.poisson(n_clusters, size=(1, 40))}
    observed: dict[str, np.ndarray] = {
        "theta": theta,
        "theta_low": theta - 0.1,
        "theta_high": theta + 0.1,
    }
    for i, axis in enumerate(AXES):
        width = (BOUNDS[axis][1] - BOUNDS[axis][0]) / SIZES[axis]
        others = tuple(k for k in range(3) if k != i)
        clipped = np.clip(theta[:, i], *BOUNDS[axis])
        observed[f"counts_{axis}"] = np.histogram(clipped, edges[axis])[0]
        predictive[f"counts_{axis}"] = rng.poisson(observed[f"counts_{axis}"], size=(1, 40, 7))
        predictive[f"density_{axis}"] = scale * shares[axis] / width
        predictive[f"detected_{axis}"] = scale * joint.sum(axis=others) / width
    sampler = {
        "energy": rng.normal(size=shape),
        "n_steps": rng.choice([3, 7, 15], size=shape),
        "acceptance_rate": rng.uniform(0.7, 1.0, size=shape),
        "diverging": np.zeros(shape, bool),
    }
    constant = {
        **{f"edges_{axis}": edges[axis] for axis in AXES},
        **{f"node_{axis}": nodes[axis] for axis in AXES},
        **{
            f"weight_{axis}": np.full(SIZES[axis], np.ptp(BOUNDS[axis]) / SIZES[axis])
            for axis in AXES
        },
        "p_sel": p_sel,
        "object_ess": rng.uniform(10, 30, size=n_clusters),
    }
    dims = {"theta": ["cluster", "axis"], "p_sel": [f"at_{axis}" for axis in AXES]}
    for axis in AXES:
        dims |= {
            f"{kind}_{axis}": [f"at_{axis}"] for kind in ("density", "detected", "node", "weight")
        }
        dims |= {f"counts_{axis}": [f"bin_{axis}"], f"edges_{axis}": [f"edge_{axis}"]}
    data = {
        "posterior": posterior,
        "sample_stats": sampler,
        "posterior_predictive": predictive,
        "observed_data": observed,
        "constant_data": constant,
    }
    tree = convert_to_datatree(from_dict(data, dims=dims))
    tree.attrs["parameters"] = json.dumps(PARAMETERS)
    return tree


def write_fit(
    folder: pathlib.Path, shift: float = 0.0, n_clusters: int = N_CLUSTERS, **extra: object
) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    tree_of(shift, n_clusters=n_clusters).to_netcdf(folder / "posterior.nc")
    summary = {
        "n_clusters": N_CLUSTERS,
        "wall_s": 12.3,
        "converged": True,
        "verdict": "Converged: yes, because the largest R-hat is 1.001.",
        **{f"truth.{k}": v for k, v in CENTRES.items()},
        **extra,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture(scope="module")
def complete_folder(tmp_path_factory) -> pathlib.Path:
    folder = write_fit(tmp_path_factory.mktemp("run"))
    write_fit(folder / "selection-ignored", shift=0.6)
    run = {
        "title": "A mock & its fit",
        "description": "Clusters of a mock galaxy.",
        "catalogue": {"source": "mock.ecsv", "n": N_CLUSTERS, "steps": STEPS},
        "selection": {"kind": "grid", "acts_on": "data", "description": "A table of p_sel."},
        "population": {"mass": "power law", "age": "broken", "nodes": {"p_av": [0, 1, 3]}},
        "errors": {"mode": "published", "floor": [0.1, 0.1, 0.05]},
        "notes": ["Distances are exact."],
        "references": [{"name": "Others (2020)", "alpha_m": -2.11}],
        "comparisons": [
            {"name": "selection ignored", "path": "selection-ignored", "text": "As if complete."}
        ],
    }
    (folder / "run.json").write_text(json.dumps(run))
    facts = {
        "version": "0.1.0",
        "seeds": {"sampler": 3},
        "inputs": {
            "selections.learned": {
                "name": "op.h5",
                "sha256": "ab12",
                "origin": {"galaxy": "X", "bands": ["V", "I"]},
            }
        },
        "settings": {"quadrature": {"n_mass": 48}},
        "hardware": {"accelerator": None},
        "experiment": '[catalogue]\npath = "mock.ecsv"\n',
    }
    (folder / "provenance.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="module")
def page(complete_folder) -> str:
    return write_report(complete_folder).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(complete_folder) -> Run:
    return load_run(complete_folder)


class Outline(html.parser.HTMLParser):
    """Text, attributes and balance of a page."""

    EMPTY = ("meta", "link", "br", "img", "use", "path", "image")

    def __init__(self, text: str):
        super().__init__()
        self.stack: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(k, v or "") for k, v in attrs]
        if tag not in self.EMPTY:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(k, v or "") for k, v in attrs]

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] != "style":
            self.text += data + " "


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)
    assert found, f"no section {name}"
    return found[0]


def test_every_section_and_figure(page):
    order = [*SECTIONS[:6], "comparison", "parameters", "sampler", "provenance"]
    assert re.findall(r'<section id="([^"]+)"', page) == order
    for name in (*FIGURES, "intervals", "overlay"):
        found = re.search(rf'<figure id="figure-{name}">.*?</figure>', page, re.DOTALL)
        assert found, f"no figure {name}"
        assert len(re.findall("<path", found[0])) > 20
        assert re.search(r'role="img" aria-label="[^"]{40,}"', found[0])
        assert re.search(r"<figcaption>.{40,}</figcaption>", found[0], re.DOTALL)


def test_page_is_whole_and_needs_nothing_else(page):
    outline = Outline(page)
    assert outline.stack == []
    ids = [value for key, value in outline.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    for key, value in outline.attributes:
        if key in ("src", "href", "xlink:href", "data", "action"):
            assert value.startswith(("#", "data:")), value
            assert not value.startswith("#") or value[1:] in ids
        for target in re.findall(r"url\(#([^)]+)\)", value):
            assert target in ids
    for word in ("http:", "https:", "file:", "@import", "<script", "url(//"):
        assert word not in page


def test_no_number_is_missing(page):
    outline = Outline(page)
    assert not re.search(r"\b(nan|inf|None)\b", outline.text, re.IGNORECASE)
    assert not any(re.search(r"\bnan\b", v) for k, v in outline.attributes if k != "aria-label")


def test_what_was_fitted(page):
    text = section(page, "fitted")
    counts = re.findall(r'<td class="count"[^>]*>([^<]*)</td>', text)
    assert counts == ["0", "400", "250", "150", "30", "120"]
    assert "Compact &lt;clusters&gt; only." in text
    assert "From 400 rows" in text
    assert "stands in the likelihood once" in text
    assert "normal, −2 ± 0.5, above −4" in text
    assert "fixed at −0.9" in text


def test_wide_tables_scroll_and_words_have_the_units_of_the_figures(page):
    """Figures are per dex; on a narrow screen what does not fit can be reached, by keyboard too."""
    assert page.count("<table") == page.count('<div class="wide" tabindex="0"><table') > 5
    assert re.search(r"\.wide \{ overflow-x: auto", page)
    words = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert "dN/d log T is T dN/dT times ln 10" in words


def test_answer_in_words(page):
    text = section(page, "answer")
    assert '<div class="box" id="verdict"><p><strong>Converged: yes</strong>, because' in text
    plain = re.sub(r"<[^>]+>", "", text)
    assert re.search(r"The surveyed field holds 1,\d\d0 \(.* to .*\) clusters", plain)
    assert re.search(r"is constant until \d+ \(\d+ to \d+\) Myr", plain)
    assert re.search(r"Half of all clusters, seen or not, lie behind less than 0\.\d+ mag", plain)


def test_truth_and_comparison(page, run):
    assert run.find("alpha_m").covered is True
    assert run.comparisons[0].run.find("alpha_m").covered is False
    row = re.search(r'<tr data-parameter="alpha_m">.*?</tr>', page, re.DOTALL)
    assert row and re.search(r'<td class="good"[^>]*>yes</td>', row[0])
    assert re.search(r'<td data-head="Truth">−2\.000</td>', row[0])
    text = section(page, "comparison")
    assert "As if complete." in text
    plain = re.sub(r"<[^>]+>", "", text)
    assert "3 of 6 parameters move by more than 2 errors" in plain
    assert "inside the 95% interval for 3 of 3 parameters in this fit, and for 0 of 3" in plain
    assert len(re.findall(r'<td class="bad"[^>]*>no</td>', text)) == 3


def test_published_values(page):
    text = section(page, "parameters")
    assert re.search(
        r'<th scope="row">Others \(2020\)</th><td data-head="[^"]+">−2\.11</td></tr>', text
    )


def test_provenance(page):
    text = section(page, "provenance")
    assert "seeds · sampler" in text
    assert re.search(
        r"<pre>\{\s+&#34;quadrature&#34;: \{\s+&#34;n_mass&#34;: 48\s+\}\s+\}</pre>", text
    )
    assert "<pre>[catalogue]\npath = &#34;mock.ecsv&#34;</pre></details>" in text


def test_a_saved_fit_alone_is_enough(tmp_path):
    said = "Converged: NO, because R-hat of alpha_m is 1.2."
    text = write_report(write_fit(tmp_path, converged=False, verdict=said)).read_text("utf-8")
    assert '<div class="box bad" id="verdict"><p><strong>Converged: NO</strong>' in text
    assert re.findall(r'<section id="([^"]+)"', text) == [*SECTIONS, "sampler", "provenance"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "posterior.nc",
        "report.html",
        "summary.json",
    ]


def test_same_run_same_page_and_settings_untouched(tmp_path, complete_folder, page):
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30}):
        assert write_report(complete_folder).read_text("utf-8") == page
    assert dict(matplotlib.rcParams) == before


def test_extremes_do_not_break_the_page(tmp_path):
    """A complete survey, a parameter that does not move, a sampler that says little."""
    folder = write_fit(tmp_path)
    tree = tree_of()
    tree["constant_data"]["p_sel"] = tree["constant_data"]["p_sel"] * 0 + 1.0
    tree["posterior"]["log_t_mid"] = tree["posterior"]["log_t_mid"] * 0 + 8.0
    tree["sample_stats"] = tree["sample_stats"].to_dataset()[["diverging"]]
    tree.to_netcdf(folder / "posterior.nc")
    text = write_report(folder).read_text("utf-8")
    assert "no contour to draw" in text
    assert "not recorded" not in section(text, "answer")
    assert not re.search(r"\bnan\b", Outline(text).text)


@pytest.mark.parametrize("name", ["posterior.nc", "summary.json"])
def test_missing_file(tmp_path, name):
    (write_fit(tmp_path) / name).unlink()
    with pytest.raises(ValueError, match=f"there is no file .*{name}; a report needs"):
        write_report(tmp_path)


@pytest.mark.parametrize("name", ["posterior.nc", "summary.json", "run.json", "provenance.json"])
def test_corrupt_file(tmp_path, name):
    (write_fit(tmp_path) / name).write_text("{ not this")
    with pytest.raises(ValueError, match=f"{name}.*run the fit again"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_incomplete_tree(tmp_path):
    tree = tree_of()
    tree["constant_data"] = tree["constant_data"].to_dataset().drop_vars("p_sel")
    tree.to_netcdf(write_fit(tmp_path) / "posterior.nc")
    with pytest.raises(ValueError, match=r"posterior.nc lacks 'p_sel'.*run the fit again"):
        write_report(tmp_path)


EVIL = "\"><script>alert(1)</script>'&<b>$\\frac{--> <!--"


def hostile(value, names: bool = False):
    """The same JSON with `EVIL` after every text, and after every key where `names` is true."""
    if isinstance(value, dict):
        return {(f"{k}{EVIL}" if names else k): hostile(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [hostile(v, names) for v in value]
    return value + EVIL if isinstance(value, str) else value


def test_hostile_names_stay_text(tmp_path, complete_folder):
    """Whatever names come in, no element, attribute or comment comes out of them."""
    folder = tmp_path / "run"
    for source, target in ((complete_folder, folder), (complete_folder, folder / "other")):
        write_fit(target, verdict=f"Converged: yes, because {EVIL}")
        tree = tree_of()
        tree["posterior"] = (
            tree["posterior"].to_dataset().rename({"p_av": f"p_av{EVIL.replace('/', '')}"})
        )
        parameters = json.loads(json.dumps(PARAMETERS))
        for p in parameters:
            p |= {key: p[key] + EVIL for key in ("unit", "label", "reason")}
            p["name"] += EVIL.replace("/", "") if p["name"] == "p_av" else ""
        tree.attrs["parameters"] = json.dumps(parameters)
        tree.to_netcdf(target / "posterior.nc")
        run = hostile(json.loads((source / "run.json").read_text()))
        run["comparisons"] = [{"name": EVIL, "text": EVIL, "path": "other"}]
        run["selection"]["acts_on"] = "data"
        (target / "run.json").write_text(json.dumps(run))
        origins = {"inputs": {EVIL: {"name": EVIL, "sha256": EVIL, "origin": {EVIL: EVIL}}}}
        origins |= hostile(json.loads((source / "provenance.json").read_text()), names=True)
        (target / "provenance.json").write_text(json.dumps(origins))
    page = write_report(folder).read_text("utf-8")
    outline = Outline(page)
    assert outline.stack == []
    assert outline.text.count("<script>alert(1)</script>") > 40
    assert "<script" not in page and "<!--" not in page and "<b>$" not in page
    assert not any(key.startswith("on") for key, _ in outline.attributes)
    names = [value for key, value in outline.attributes if key == "aria-label"]
    assert sum("script>" in name for name in names) == 1
    ids = [value for key, value in outline.attributes if key == "id"]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"[\w.-]+", value) for value in ids)


def test_inputs_of_provenance(page, run):
    row = re.findall(r"<tr><th scope=.*?</tr>", section(page, "provenance"), re.DOTALL)[0]
    cells = [cell for cell in re.sub(r"<[^>]+>", "|", row).split("|") if cell.strip()]
    assert cells == ["selections.learned", "op.h5", "ab12", "galaxy: X; bands: V, I"]
    old = dataclasses.replace(run, provenance={"inputs": {"cat.ecsv": "sha256:cd34"}})
    assert facts(old).inputs == [InputFile("cat.ecsv", "cat.ecsv", "cd34", "")]


def test_missing_comparison(tmp_path):
    write_fit(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"comparisons": [{"path": "other"}]}))
    with pytest.raises(ValueError, match=r"there is no file .*other.summary.json"):
        write_report(tmp_path)


@pytest.mark.parametrize("axis", ["log_mass", "log_age"])
def test_marginal_completeness_is_that_of_the_population(run, axis):
    # The densities are separable, so that equation 16 is the ratio of catalogued to all.
    exact = np.median(run.detected[axis] / run.density[axis], axis=0)
    correction = correct(run, axis)
    np.testing.assert_allclose(correction.marginal, exact, rtol=1e-10)
    np.testing.assert_array_equal(correction.counts.n_raw, run.counts[axis])
    some = correction.counts.n_raw > 0
    ratio = correction.counts.n_raw[some] / correction.counts.mean_p[some]
    np.testing.assert_allclose(correction.counts.n_corrected[some], ratio)


def test_poisson_interval():
    # Gehrels (1986), table 1 and 2, one sigma.
    low, high = poisson_interval(np.array([0, 1, 10]))
    np.testing.assert_allclose(low, [0, 0.173, 6.891], atol=2e-3)
    np.testing.assert_allclose(high, [1.841, 3.300, 14.27], atol=5e-3)


def test_p_values_are_uniform_for_true_models_and_small_for_false_ones():
    rng = np.random.default_rng(0)
    mean = np.array([0.1, 0.5, 5.0, 30.0, 80.0, 30.0, 2.0, 0.2])
    p = [p_value(rng.poisson(mean, (300, 8)), rng.poisson(mean)) for _ in range(300)]
    assert abs(np.mean(p) - 0.5) < 0.06
    assert abs(np.mean(np.array(p) < 0.1) - 0.1) < 0.06
    assert (
        p_value(rng.poisson(mean, (300, 8)), rng.poisson(mean[::-1] * [1, 1, 1, 1, 1, 3, 1, 1]))
        < 0.01
    )


def test_pooling_keeps_every_cluster():
    counts = np.tile([0.0, 1.0, 2.0, 10.0, 4.0, 1.0, 0.5], (5, 1))
    drawn, seen = pooled(counts, counts[0])
    np.testing.assert_allclose(seen, [3.0, 10.0, 5.5])
    np.testing.assert_allclose(drawn.sum(axis=1), counts.sum(axis=1))


def test_ranks_are_flat_only_if_chains_agree():
    rng = np.random.default_rng(2)
    counts = rank_counts(rng.normal(size=(4, 500)), 10)
    np.testing.assert_array_equal(counts.sum(axis=1), 500)
    assert counts.max() < 80
    apart = rank_counts(np.stack([rng.normal(size=500), rng.normal(size=500) + 10]), 10)
    np.testing.assert_array_equal(apart[0, 5:], 0)


@pytest.mark.parametrize(
    ("mathtext", "expected"),
    [
        (r"$\alpha_M$", "α<sub>M</sub>"),
        (r"$\log M_{\rm break}$", "log M<sub>break</sub>"),
        (r"$\alpha_{M,{\rm high}}$", "α<sub>M,high</sub>"),
        (r"$p_{A_V}[2]$", "p<sub>A<sub>V</sub></sub>[2]"),
        (r"$\log A_{V,{\rm med}}$", "log A<sub>V,med</sub>"),
        (r"$\sqrt{x}$", "name"),
        ("plain", "plain"),
    ],
)
def test_labels(mathtext, expected):
    assert label(mathtext, "name") == expected


def test_numbers():
    assert number(-2.0037, 0.06) == "−2.004"
    assert number(12345.6, 300.0) == "12,346"
    assert rounded(98765.0, 23456.0) == "99,000"
    assert number(None) == number(float("nan")) == "–"
    assert number(3.2e-12) == "3.2e−12"
    assert [percent(x) for x in (0.04718, 0.9, 0.001, 1e-10)] == [
        "4.72%",
        "90%",
        "0.1%",
        "10<sup>−8</sup>%",
    ]
    assert prior({"kind": "fixed", "value": None}, "log_n") == "flat in log N, integrated out"
    assert prior({"kind": "normal", "mean": 0.0, "sd": 1.0, "low": None}, "x") == "normal, 0 ± 1"


PROBE = """<script>
addEventListener("load", () => {
  const wide = document.documentElement;
  const boxes = [...document.querySelectorAll("figure")].map((figure) => {
    const box = figure.querySelector("svg").getBoundingClientRect();
    return [figure.id, box.width, box.height];
  });
  wide.dataset.probe = JSON.stringify({
    boxes: boxes, errors: window.failures, overflow: wide.scrollWidth - wide.clientWidth,
    images: [...document.querySelectorAll("svg image")].map((i) => i.getBoundingClientRect().width)
  });
});
</script>"""


@pytest.mark.slow
def test_in_a_browser(page, tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("the program chromium is not installed")
    watch = "<script>window.failures = 0; onerror = () => { window.failures += 1; };</script>"
    probed = page.replace("<head>", f"<head>{watch}", 1).replace("</body>", f"{PROBE}</body>", 1)
    (tmp_path / "probed.html").write_text(probed, encoding="utf-8")
    command = [
        browser,
        *"--headless --no-sandbox --disable-gpu --disable-quic --no-first-run".split(),
        *"--disable-background-networking --disable-component-update --disable-sync".split(),
        *"--enable-logging=stderr --v=0 --window-size=1366,900".split(),
        f"--user-data-dir={tmp_path / 'profile'}",
    ]

    def browse(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=180, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        assert "CONSOLE" not in done.stderr
        return done

    dom = browse("--dump-dom", (tmp_path / "probed.html").as_uri()).stdout
    found = re.search(r'<html[^>]* data-probe="([^"]+)"', dom)
    assert found, "the page did not finish loading"
    probe = json.loads(html.unescape(found[1]))
    assert probe["errors"] == 0
    assert probe["overflow"] <= 0
    narrow = browse("--window-size=500,900", "--dump-dom", (tmp_path / "probed.html").as_uri())
    found = re.search(r'<html[^>]* data-probe="([^"]+)"', narrow.stdout)
    assert found and json.loads(html.unescape(found[1]))["overflow"] <= 0
    names = [name for name, *_ in probe["boxes"]]
    assert names == re.findall(r'<figure id="([^"]+)"', page)
    for name, width, height in probe["boxes"]:
        assert width > 300 and height > 150, f"{name} is drawn {width} by {height}"
    assert all(width > 0 for width in probe["images"])

    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    browse(
        f"--print-to-pdf={tmp_path / 'report.pdf'}",
        "--no-pdf-header-footer",
        (tmp_path / "report.html").as_uri(),
    )
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
