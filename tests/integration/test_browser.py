"""Reports and documentation in a real browser, for phone and desktop, in light and dark mode.

These tests need Chromium with its driver, and Selenium; run them with `make browser`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ekd
from ekd.data import Dataset
from ekd.pipeline.run_report import Report, write_report
from ekd.reporting import style
from untrained import ensemble, teacher

webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
support = pytest.importorskip("selenium.webdriver.support.ui")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip("Chromium and its driver are not installed", allow_module_level=True)

SITE = Path(__file__).parents[2] / "site"
PAGES = ("index.html", "tutorials/first_student.html", "reference/configuration.html")

WIDTHS = {"phone": 390, "desktop": 1280}
REPORTS = ("evaluation", "stability", "run")

_MEASURE = """
const contrast = (a, b) => {
  const light = (color) => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map((v) => {
      const c = v / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const paper = getComputedStyle(document.body).backgroundColor;
const texts = [...document.querySelectorAll("h1, h2, p, td, th, figcaption, li")];
return {
  width: document.documentElement.scrollWidth,
  images: document.images.length,
  broken: [...document.images].filter((image) => image.naturalWidth === 0).length,
  narrow: [...document.images].filter((image) => image.width < 300).length,
  unnamed: [...document.images].filter((image) => !image.alt).length,
  paper: paper,
  contrast: Math.min(...texts.map((text) => contrast(getComputedStyle(text).color, paper))),
};
"""

_SORT = """
const table = document.querySelector("table.sortable");
const column = arguments[0];
table.rows[0].cells[column].click();
const parts = [[]];
[...table.rows].slice(1).forEach((row) => {
  if (row.classList.contains("head")) parts.push([]);
  else parts[parts.length - 1].push(row.cells[column].textContent);
});
return [table.rows[0].cells[column].getAttribute("aria-sort"), parts.filter((p) => p.length)];
"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, test_dataset: Dataset) -> dict[str, Path]:
    """Files of the three reports, by name."""
    folder = tmp_path_factory.mktemp("reports")
    models = {"committee": ensemble(2), "student": teacher(7)}
    truth = test_dataset.subset(np.arange(0, 90, 6))
    result = ekd.evaluate(models, {"small": truth}, output=folder / "e", progress=False)
    assert result.rows
    ekd.stability(
        models,
        ["H2O", "CH4"],
        folder / "s",
        progress=False,
        temperatures=[100.0, 300.0],
        n_seeds=2,
        duration=0.02,
        n_workers=1,
    )
    write_report(run_report(folder), folder / "run.html")
    return {
        "evaluation": folder / "e" / "report.html",
        "stability": folder / "s" / "report.html",
        "run": folder / "run.html",
    }


def run_report(folder: Path) -> Report:
    """A report of a run with every section."""
    errors = dict.fromkeys(("energy_rmse", "energy_mae", "force_rmse", "force_mae"), 0.0123)
    names = ("accuracy", "energy_parity", "force_parity", "learning_curves", "force_spread")
    with style.styled_axes(1, 3, (9, 3)) as (figure, axes):
        axes[0].plot([0, 1], [0, 1], label="student")
    plots = style.save_all(dict.fromkeys(names, figure), folder / "plots")
    summary: dict[str, Any] = {
        "student": errors,
        "mean_teacher": errors,
        "ensemble": errors,
        "teachers": {name: [0.01, 0.02] for name in errors},
        "teacher_names": ["teacher 0", "teacher 1"],
        "n_students": 1,
        "improvement": dict.fromkeys(errors, 0.1),
        "nve_drift_per_atom_per_ps": 1e-7,
        "nve_max_deviation_per_atom": 1e-4,
        "lammps_minus_ase": {"force": 1e-13},
        "spearman": {"ensemble_spread": 0.7, "student_uncertainty": 0.6},
        "error_over_spread": {"ensemble_spread": 1.5, "student_uncertainty": 1.2},
        "broken_off": [],
        "wall_seconds": {"train": 100.0, "label": 4.0},
    }
    return Report(
        title="Ensemble knowledge distillation",
        truth="the test set: 93 configurations, 475 atoms, CCSD(T)/cc-pVDZ",
        summary=summary,
        figures=plots,
        dynamics=None,
        provenance={"data": "train.h5, SHA-256 " + 64 * "0"},
        config='output = "run"\n',
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser: Any, path: Path, width: int, scheme: str = "light") -> dict[str, Any]:
    """Open a page; return what was measured on it."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(path.as_uri())
    assert browser.get_log("browser") == []
    found: dict[str, Any] = browser.execute_script(_MEASURE)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("name", REPORTS)
def test_page(browser: Any, reports: dict[str, Path], name: str, width: int, scheme: str) -> None:
    """Nothing is wider than the page, and all plots and texts are legible."""
    found = opened(browser, reports[name], width, scheme)
    assert found["width"] <= width
    assert found["images"] > 0
    assert found["broken"] == found["narrow"] == found["unnamed"] == 0
    assert found["contrast"] > 4.5  # WCAG 2.2, level AA
    assert (found["paper"] == "rgb(255, 255, 255)") == (scheme == "light")


def test_tables_are_sorted_by_a_click(browser: Any, reports: dict[str, Path]) -> None:
    opened(browser, reports["evaluation"], WIDTHS["desktop"])
    orders = []
    for expected, is_descending in (("ascending", False), ("descending", True)):
        order, parts = browser.execute_script(_SORT, 1)
        assert order == expected
        for part in parts:
            values = [float(text) for text in part if text != "–"]
            assert values == sorted(values, reverse=is_descending)
        orders.append(parts)
    assert orders[0] != orders[1]
    assert browser.get_log("browser") == []


@pytest.fixture(scope="module")
def site() -> Path:
    """The site built by `make docs`."""
    if not (SITE / "index.html").exists():
        pytest.skip("there is no site; run 'make docs'")
    return SITE


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_documentation(browser: Any, site: Path, name: str, width: int, scheme: str) -> None:
    """Pages are opened from the folder, without a server and without network."""
    found = opened(browser, site / name, width, scheme)
    assert found["width"] <= width
    assert found["broken"] == 0
    theme = browser.execute_script("return document.body.dataset.mdColorScheme")
    assert theme == {"light": "default", "dark": "slate"}[scheme]


def test_search_of_the_documentation(browser: Any, site: Path) -> None:
    opened(browser, site / "index.html", WIDTHS["desktop"])
    browser.execute_script("document.querySelector('#__search').click()")
    browser.find_element("css selector", "[data-md-component=search-query]").send_keys("calculator")
    wait = support.WebDriverWait(browser, 20)
    links = wait.until(lambda b: b.find_elements("css selector", ".md-search-result__item a"))
    assert any("ase.html" in str(link.get_attribute("href")) for link in links)
    assert browser.get_log("browser") == []
