"""The page of `starcensus compare`: what the data can and cannot tell apart."""

import math
import pathlib
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from starcensus.experiments.report.page import render
from starcensus.experiments.report.style import GREY, OTHERS, Plot, draw, panels
from starcensus.files import read_json, write_text

_LOW_P = 0.01


def write_compared(folder: pathlib.Path) -> pathlib.Path:
    """Write `report.html` into the folder of a finished comparison and return its path.

    `comparison.json` and `summary.json` must be there; raises `FileError` where they are not.
    """
    info, summary = read_json(folder / "comparison.json"), read_json(folder / "summary.json")
    plots = {"odds_plot": odds_plot(summary, info), "curves_plot": curves_plot(summary, info)}
    target = folder / "report.html"
    page = render(
        "compared.html",
        info=info,
        summary=summary,
        names=list(info["models"]),
        low=_unlikely(info),
        checks=_checks(info),
        low_p=_LOW_P,
        **plots,
    )
    write_text(target, page)
    return target


def _unlikely(info: dict[str, Any]) -> list[str]:
    """A sentence for each prediction that the catalogue contradicts."""
    return [
        f"{name} does not predict this catalogue: {check['words'].split(':')[0]} is "
        f"{check['observed']:.3g}, predicted {check['low']:.3g} to {check['high']:.3g} (95%)"
        for name, each in info["models"].items()
        for check in each.get("checks", [])
        if check["p"] < _LOW_P
    ]


def _checks(info: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each check, with what every model predicts."""
    rows: dict[str, dict[str, Any]] = {}
    for name, each in info["models"].items():
        for check in each.get("checks", []):
            row = rows.setdefault(
                check["name"],
                {"words": check["words"], "observed": check["observed"], "models": {}},
            )
            row["models"][name] = check
    return list(rows.values())


def odds_plot(summary: dict[str, Any], info: dict[str, Any]) -> Plot:
    """ln Z of each model below the best one, by both methods."""
    names, best = list(info["models"]), summary["best"]

    def paint(figure: Figure) -> None:
        axes = panels(figure, left=1.6)[0, 0]
        zero = summary[f"ln_z.{best}"]
        for row, name in enumerate(names):
            shift = info["models"][name]["evidence"]["shift"]
            for key, colour, offset in (("bridge", OTHERS[0], 0.12), ("nested", OTHERS[1], -0.12)):
                value = summary.get(f"ln_z_{key}.{name}")
                if value is None:
                    continue
                error = summary.get(f"ln_z_{key}_error.{name}", summary[f"ln_z_error.{name}"])
                axes.errorbar(
                    [value + shift - zero],
                    [row + offset],
                    xerr=[error],
                    fmt="o",
                    color=colour,
                    label=f"{key} sampling" if row == 0 else None,
                )
        axes.axvline(0.0, color=GREY, lw=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("ln Z less that of the best model")
        axes.legend(loc="upper left", fontsize=8)

    words = "; ".join(
        f"{name}: {summary[f'ln_z.{name}'] - summary[f'ln_z.{best}']:+.2f}" for name in names
    )
    return draw("odds", (9.4, 1.4 + 0.55 * len(names)), paint, f"ln Z beside the best: {words}.")


def curves_plot(summary: dict[str, Any], info: dict[str, Any]) -> Plot | None:
    """ln B of each model beside the best one, as widths of priors are changed."""
    lines = _curves(summary, info)
    if not lines:
        return None

    legend = 0.3 + 0.2 * -(-len(lines) // 2)

    def paint(figure: Figure) -> None:
        # The legend stands above the lines, which may run anywhere.
        axes = panels(figure, top=legend)[0, 0]
        for i, (label, known) in enumerate(lines):
            again, colour = divmod(i, len(OTHERS))
            style = ("-", "--", ":")[again % 3]
            axes.plot(*known.T, marker="o", ls=style, color=OTHERS[colour], label=label)
        for least in (1.0, 3.0, 5.0):
            for sign in (1, -1):
                axes.axhline(sign * least, color=GREY, lw=0.6, ls=":")
        axes.axhline(0.0, color=GREY, lw=0.8)
        axes.set_xscale("log")
        axes.set_xticks([0.5, 1, 2, 4], ["½", "1", "2", "4"])
        axes.minorticks_off()
        axes.set_xlabel("width of the prior, in units of the given one")
        axes.set_ylabel("ln B")
        figure.legend(loc="upper center", ncols=2, fontsize=8)

    words = "; ".join(
        f"{label}: {known[0, 1]:+.1f} to {known[-1, 1]:+.1f}" for label, known in lines
    )
    return draw(
        "curves", (9.4, 4.25 + legend), paint, f"ln B as the width of a prior changes: {words}."
    )


def _curves(summary: dict[str, Any], info: dict[str, Any]) -> list[tuple[str, np.ndarray]]:
    """A label, and factors of the width with ln B, of each curve with two points or more."""
    best, lines = summary["best"], []
    for name, each in info["models"].items():
        for curve in each["curves"]:
            against = [other for other in info["models"] if other != name]
            other = best if name != best else max(against, key=lambda n: summary[f"ln_z.{n}"])
            at = summary[f"ln_z.{name}"] - summary[f"ln_z.{other}"]
            known = [
                (factor, at + change)
                for factor, change in zip(curve["factors"], curve["change"], strict=True)
                if change is not None and math.isfinite(change)
            ]
            if len(known) > 1:
                label = f"{curve['parameter'].replace('_', ' ')} of {name}, against {other}"
                lines.append((label, np.array(known)))
    return lines
