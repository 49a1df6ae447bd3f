import base64
import html.parser
import io
import json
import re

import matplotlib.image
import numpy as np
import pytest

from lossbench.bench import anomaly_report, report, results
from lossbench.bench.collapse_figures import QUANTITIES
from lossbench.bench.drawing import brief
from lossbench.training.heat import common_limits, heat

LOSSES = ("svdd_one_class", "svdd_soft_boundary", "deep_sad")
CASES = ("field", "harbor", "clean")
BANDS = 12


def write_anomalies(directory, *, size=(30, 40), scales=(1.0, 40.0, 0.1), rows=20, bands=BANDS):
    """Turns the runs of a comparison into runs of anomaly detection; 'clean' has no anomaly."""
    plan = json.loads((directory / "plan.json").read_text())
    for spec in plan["runs"]:
        folder = directory / "runs" / spec["id"]
        if not (folder / "result.json").is_file():
            continue
        k = list(plan["losses"]).index(spec["loss"])
        rng = np.random.default_rng([k, spec["seed"]])
        result = json.loads((folder / "result.json").read_text())
        shrink = 0.5 if result["state"] == "diverged" else 0.01
        result["history"]["collapse"] = [
            {
                "step": 20 * i,
                "spread": float(np.exp(-shrink * i)),
                "effective_rank": 1 + 5 * float(np.exp(-shrink * i)),
                "distinct": 1.0,
                "outside": 0.1 + 0.02 * rng.normal(),
                "nu": 0.1,
                "radius": 0.4 + 0.01 * i,
                "drift": shrink * i / 12,
                "offset": 0.2,
            }
            for i in range(rows)
        ]
        if bands:
            weights = np.eye(bands)[[2, 7]] * 0.8 + 0.2 / bands
            result["history"]["selector_weights"] = [{"step": 400, "weights": weights.tolist()}]
        (folder / "result.json").write_text(json.dumps(result))
        if result["state"] == "completed":
            np.savez(folder / "examples.npz", **scenes(size, scales[k], rng, bands))
    return directory


def scenes(size, scale, rng, bands):
    """A false-color image, two scenes with blobs and one without, and chi-squared scores."""
    shape = (len(CASES), *size)
    labels = np.zeros(shape, np.uint8)
    labels[0, 5:8, 6:9] = labels[0, 20:22, 30:33] = labels[1, 12, 15:19] = 1
    image = np.random.default_rng(3).random((*shape, 3)) * 0.4
    image[:, 10:20] += 0.4
    scores = scale * (rng.chisquare(5, shape) + 14 * (labels == 1) * rng.random(shape))
    prediction = (scores > 15 * scale).astype(np.uint8)
    labels[:, -4:] = 255
    arrays = {
        "image": (255 * image).astype(np.uint8),
        "labels": labels,
        "prediction": prediction,
        "scores": scores.astype(np.float32),
    }
    if bands:
        arrays["wavelengths"] = np.linspace(400, 1000, bands)
        arrays["spectra"] = np.stack([np.linspace(0.2, 0.5, bands), np.linspace(0.4, 0.3, bands)])
    return arrays


@pytest.fixture
def anomalous(fabricate):
    def make(name="anomalies", *, scales=(1.0, 40.0, 0.1), bands=BANDS, rows=20, **changes):
        changes = {"losses": LOSSES, "seeds": (0, 1), "cases": CASES, "size": 8, **changes}
        changes = {"classes": ("anomalous",), **changes}
        return write_anomalies(fabricate(name, **changes), scales=scales, bands=bands, rows=rows)

    return make


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.images, self.texts, self.styles, self.inside, self.ids = {}, [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if found.get("id"):
            self.ids.append(found["id"])
        if tag == "img":
            self.images.setdefault(found["alt"], []).append(found["src"])
        elif tag in ("style", "section", "svg"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data):
        (self.styles if "style" in self.inside else self.texts).append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def page_of(directory):
    return Page(report.write_report(directory).read_text(encoding="utf-8"))


def pixels(uri):
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.round(matplotlib.image.imread(io.BytesIO(data)) * 255).astype(int)


def test_scores_stand_side_by_side_on_one_scale(anomalous):
    directory = anomalous()
    page = page_of(directory)
    assert "Anomaly scores" in page.text
    assert "Three test cases" not in page.text  # its pictures are of classes
    comparison = results.load(directory)
    runs = [next(r for r in comparison.of(loss) if r.seed == 0) for loss in LOSSES]
    examples = [run.examples() for run in runs]
    counted = [np.where(e.labels == 255, np.nan, e.scores) for e in examples]
    limits = common_limits(counted)
    assert f"from {brief(limits[0])} to {brief(limits[1])}" in page.text
    assert "Runs of seed 0." in page.text
    order = [CASES.index(name) for name in re.findall(r"case: (\w+) ", page.text)]
    assert sorted(order) == [0, 1, 2]
    for loss, scores in zip(LOSSES, counted, strict=True):
        shown = page.images[f"Scores under {loss}"]
        assert len(shown) == 3
        for uri, case in zip(shown, order, strict=True):
            apart = pixels(uri)[..., :3] - heat(scores[case], limits).astype(int)
            assert np.abs(apart).max() <= 3  # of 255 colors


def test_decisions_are_counted_and_a_clean_case_shows_its_false_alarms(anomalous):
    directory = anomalous()
    page = page_of(directory)
    run = results.load(directory).of(LOSSES[0])[0]
    examples = run.examples()
    where = examples.labels != 255
    alarms = int(((examples.prediction == 1) & (examples.labels == 0))[2].sum())
    assert alarms > 1
    assert f"0 found, {alarms:,} false alarms, 0 missed" in page.text
    assert "0 anomalous pixels" in page.text
    hits = int(((examples.prediction == 1) & (examples.labels == 1) & where)[0].sum())
    assert f"{hits} found" in page.text
    decisions = [images for alt, images in page.images.items() if alt.startswith("Decision under")]
    assert sum(map(len, decisions)) == 9
    orange = [0xD5, 0x5E, 0x00]
    painted = [(pixels(uri)[..., :3] == orange).all(-1).sum() for each in decisions for uri in each]
    assert alarms in painted


def scores_of(directory, cases=()):
    return anomaly_report.scores(results.load(directory), cases, lambda shape: "1")


def test_the_cost_of_a_detection_does_not_depend_on_the_scores_unit(anomalous):
    one, other = (scores_of(anomalous(str(s), scales=(s, s, s))) for s in (1.0, 1024.0))
    assert one["low"] != other["low"]
    for case, same in zip(one["cases"], other["cases"], strict=True):
        for shown, also in zip(case["losses"], same["losses"], strict=True):
            assert shown["cost"] == also["cost"]


def test_the_monitor_tells_which_runs_collapsed(anomalous):
    directory = anomalous(states={("deep_sad", 1): "diverged"})
    found = anomaly_report.collapse(results.load(directory))
    # exp(-i / 2) is below 5e-3 from i = 11 on, i / 24 above 1 / 2 from 13 on; 20 steps a row.
    beyond = "spread from step 220, drift of the center from step 260"
    assert found["beyond"] == [("deep_sad", 1, beyond)]
    assert len(found["curves"]) == len(QUANTITIES)
    text = page_of(directory).text
    assert f"deep_sad , seed 1: beyond a limit, {beyond}." in text
    assert "No run went beyond" not in text
    assert anomaly_report.collapse(results.load(anomalous("well")))["beyond"] == []


def test_weights_of_bands_are_drawn_over_the_spectra(anomalous):
    made = anomaly_report.selectors(results.load(anomalous()))
    assert list(made) == list(LOSSES)
    for svg in made.values():
        for words in ("normal spectrum", "anomalous spectrum", "Wavelength (nm)"):
            assert words in svg
        assert ">509<" in svg  # the band of the first selector, 400 + 2 * 600 / 11
    assert anomaly_report.selectors(results.load(anomalous("none", bands=0))) is None


def test_a_comparison_without_such_files_has_none_of_it(fabricate):
    text = page_of(fabricate()).text
    for words in ("Anomaly scores", "Collapse monitor", "Learned weights"):
        assert words not in text
    assert "Three test cases" in text


def test_tables_have_a_monitor_and_no_pictures(anomalous):
    directory = anomalous(bands=0)
    for path in directory.glob("runs/*/examples.npz"):
        path.unlink()
    text = page_of(directory).text
    assert "Collapse monitor" in text
    assert "Anomaly scores" not in text
    assert "Three test cases" not in text


@pytest.mark.parametrize("fill", ["constant", "nan", "infinite", "all anomalous", "none counted"])
def test_degenerate_scores_can_be_shown(anomalous, fill):
    directory = anomalous(losses=LOSSES[:2], seeds=(0,), bands=0)
    for path in directory.glob("runs/*/examples.npz"):
        with np.load(path) as file:
            arrays = dict(file)
        if fill == "constant":
            arrays["scores"][:] = 3
            arrays["prediction"][:] = 0
        if fill == "nan":
            arrays["scores"][:] = np.nan
        if fill == "infinite":
            arrays["scores"][:, :5] = np.inf
        if fill == "all anomalous":
            arrays["labels"][:] = 1
        if fill == "none counted":
            arrays["labels"][:] = 255
        np.savez(path, **arrays)
    found = scores_of(directory)
    assert len(found["cases"]) == 3
    assert all(len(case["losses"]) == 2 for case in found["cases"])


def test_another_seed_is_shown_where_the_first_lacks_a_loss(anomalous):
    assert scores_of(anomalous(states={("deep_sad", 0): "failed"}))["seed"] == 1
    mixed = {("deep_sad", 0): "failed", ("svdd_one_class", 1): "failed"}
    found = scores_of(anomalous("mixed", states=mixed))
    assert found["seed"] is None
    seeds = {shown["loss"]: shown["seed"] for shown in found["cases"][0]["losses"]}
    assert seeds == {"svdd_one_class": 0, "svdd_soft_boundary": 0, "deep_sad": 1}


def test_cases_are_the_ranked_ones_or_else_the_first(anomalous):
    directory = anomalous()
    assert [case["name"] for case in scores_of(directory)["cases"]] == list(CASES)
    found = scores_of(directory, [("Worst", "harbor", "0.5"), ("Best", "not there", "0.9")])
    assert [(c["kind"], c["name"], c["score"]) for c in found["cases"]] == [
        ("Worst", "harbor", "0.5")
    ]


def test_the_page_stays_whole_and_the_same(anomalous):
    directory = anomalous(losses=("<script>a", "$x_1$", "c"), states={("c", 1): "pending"})
    page = page_of(directory)
    assert len(page.ids) == len(set(page.ids))
    assert "<script>a" in page.text
    first = (directory / "report.html").read_bytes()
    assert report.write_report(directory).read_bytes() == first
    assert b"http://" not in first.replace(b"http-equiv", b"")


def test_the_line_of_a_histogram_is_where_all_decisions_begin(anomalous):
    examples = results.load(anomalous()).of(LOSSES[0])[0].examples()
    flagged = (examples.prediction == 1) & examples.where
    found = anomaly_report._threshold(examples, examples.scores)
    assert found == examples.scores[flagged].min() > 15
    # Decided image by image, there is no one threshold.
    examples.prediction[0] = 0
    assert anomaly_report._threshold(examples, examples.scores) is None
    examples.prediction[:] = 0
    assert anomaly_report._threshold(examples, examples.scores) is None
