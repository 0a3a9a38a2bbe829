"""The report of translators whose figures are known: one that does nothing, a perfect one, one that makes garbage."""

import json
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from models.test_lpips import files

from components.core.artifact import Artifact
from components.core.batch import Split, ViewFacts, to_unit_range
from components.core.config.strict import SettingsError, parse
from components.stages.train.checkpoint import serialise
from components.translation.evaluation import evaluate
from components.translation.judges import Settings

SIZE, STEP = 4, 40
DOMAINS, LETTERS = ("sans", "serif", "mono"), ("A", "B", "C")
DOMAIN, LABEL, STYLE = 0, 1, 2  # pixels of the first row that hold an image's factors, in steps of 40
ASKED = Settings(images=64, num_styles=4, num_inputs=3, rows=6)

# A classifier that reads a pixel of the first row: its class k shows as the brightness 40 k.
JUDGE = """
import json
from pathlib import Path
from types import SimpleNamespace
import numpy as np

class Served:
    def __init__(self, folder):
        self.facts = json.loads((Path(folder) / "facts.json").read_text())

    def scores(self, image):
        brightness = image[:, 0, self.facts["pixel"], :1].astype(np.float32)
        levels = 40.0 * np.arange(len(self.facts["classes"]), dtype=np.float32)
        first = image[:, 0, :3, 0].astype(np.float32)
        return {"logits": -np.abs(brightness - levels), "features": np.concatenate([first, image[:, 1, :, 0]], 1)}
"""


class Identity:
    """Does nothing."""

    def __init__(self, style_width=0, domains=DOMAINS):
        self.facts = {"image_size": SIZE, "channels": 1, "domains": list(domains), "style_width": style_width}

    def translate(self, image, domain, *, style=None, reference=None, seed=0, first=0):
        assert domain.shape == (len(image),)
        return image

    def there_and_back(self, image, source, domain):
        one = np.zeros((len(image), 1))
        return self.translate(self.translate(image, domain, style=one), source, style=one)

    def styles_of(self, reference, domain):
        assert (reference[:, 0, DOMAIN, 0] == STEP * domain).all()  # examples are of the domain that is asked for
        return reference[:, 0, STYLE].astype(np.float32) / STEP


class Perfect(Identity):
    """Sets the domain's pixel and the style's, and no other."""

    def translate(self, image, domain, *, style=None, reference=None, seed=0, first=0):
        made = image.copy()
        made[:, 0, DOMAIN, 0] = STEP * domain
        if self.facts["style_width"]:
            if style is None:
                drawn = np.arange(first, first + len(image))[:, None] % 4
                style = drawn if reference is None else self.styles_of(reference, domain)
            made[:, 0, STYLE, 0] = np.round(STEP * style[:, 0])
        return made


class Garbage(Identity):
    def translate(self, image, domain, *, style=None, reference=None, seed=0, first=0):
        return np.full_like(image, 255)


class Coded(Perfect):
    """With codes, as MUNIT and UNIT have them; ``leaks``: the content tells the domain."""

    leaks = False

    def codes(self, image, source):
        rows = np.random.default_rng(int(source[0])).normal(size=(len(image), 3)).astype(np.float32)
        return {"content": image[:, 0, [DOMAIN if self.leaks else LABEL, STYLE], 0].astype(np.float32), "style": rows}

    def reconstruct(self, image, source):
        return image


def images(domains=3, letters=3, copies=4):
    """(pixels, domain, label): every domain with every letter, ``copies`` styles of each, and noise that says nothing."""
    factors = np.array(list(product(range(domains), range(letters), range(copies))))
    pixels = np.random.default_rng(0).integers(0, 20, (len(factors), SIZE, SIZE, 1), dtype=np.uint8)
    pixels[:, 0, :3, 0] = STEP * factors
    return pixels, factors[:, 0], factors[:, 1]


def split(pixels=None, domain=None, label=None, domains=DOMAINS):
    """Two batches; without a label where None is given beside pixels."""
    if pixels is None:
        pixels, domain, label = images()
    classes = {"domain": domains} | ({} if label is None else {"label": LETTERS})
    batches = []
    for part in (slice(0, 10), slice(10, None)):
        batch = {"image": to_unit_range(torch.from_numpy(pixels[part])), "domain": torch.from_numpy(domain[part])}
        batches.append(batch | ({} if label is None else {"label": torch.from_numpy(label[part])}))
    return Split(ViewFacts("v", SIZE, 1, classes, (0.0,), (1.0,), {"test": len(pixels)}, ""), batches)


def judge(folder, pixel, classes):
    folder.mkdir()
    (folder / "served.py").write_text(JUDGE)
    (folder / "facts.json").write_text(json.dumps({"image_size": SIZE, "channels": 1, "classes": classes, "pixel": pixel}))
    return Artifact(folder, "")


@pytest.fixture(scope="module")
def judges(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judges")
    return {
        "domains": judge(folder / "fonts", DOMAIN, ["sans", "serif", "mono", "slab"]),
        "content": judge(folder / "letters", LABEL, ["C", "B", "A"][::-1]),
        "modes": judge(folder / "weights", STYLE, ["0", "1", "2", "3"]),
    }


def report(served, data, settings, links):
    return evaluate(served, {"main": data}, SimpleNamespace(evaluate=settings), links)


def figures(found):
    return {name: metric.value for name, metric in found.metrics.items()}


def test_identity_keeps_the_content_and_reaches_no_domain(judges):
    found = figures(report(Identity(), split(), ASKED, judges))
    assert found["pairs_counted"] == 6
    assert found["content_kept_letters"] == 1
    assert found["domain_error_fonts"] == 1
    assert found["both_read_letters_fonts"] == found["both_read_identity_letters_fonts"] == 0
    assert found["both_read_real_letters_fonts"] == 1
    assert found["frechet_distance_fonts"] == pytest.approx(found["frechet_distance_identity_fonts"])
    assert found["cycle_error"] == 0
    assert not any(name.startswith(("diversity", "conditional")) for name in found)


def test_perfect_translations_are_read_as_both_and_styles_are_counted(judges):
    done = report(Perfect(1), split(), ASKED, judges)
    found = figures(done)
    for by in ("", "_reference"):
        assert found[f"both_read{by}_letters_fonts"] == found[f"content_kept{by}_letters"] == 1
        assert found[f"domain_error{by}_fonts"] == 0
        assert found[f"frechet_distance{by}_fonts"] < 0.2 * found["frechet_distance_identity_fonts"]
    assert found["conditional_inception_score_weights"] == pytest.approx(np.log(4))  # four styles, each another mode
    assert found["diversity_fonts"] == pytest.approx(STEP * 10 / 6, rel=1e-3)  # of 0, 1, 2, 3 two are 10 / 6 apart
    assert found["diversity_real_fonts"] > found["diversity_fonts"]
    assert {name: done.metrics[name].better for name in ("both_read_letters_fonts", "domain_error_fonts")} == {
        "both_read_letters_fonts": "max",
        "domain_error_fonts": "min",
    }


def test_garbage_is_neither(judges):
    found = figures(report(Garbage(), split(), ASKED, judges))
    assert found["both_read_letters_fonts"] == 0
    assert found["content_kept_letters"] == pytest.approx(1 / 3)  # all read as C
    assert found["cycle_error"] > 1.5


def test_items_are_one_an_image_in_the_view_s_order_and_their_mean_is_the_metric(judges):
    class OnlyFromSans(Perfect):
        """Succeeds with the images of domain 0 alone."""

        def translate(self, image, domain, **guide):
            made = super().translate(image, domain, **guide)
            return np.where(image[:, :1, :1] == 0, made, image)

    done = report(OnlyFromSans(), split(), ASKED, judges)
    name = "both_read_letters_fonts_all_pairs"
    assert done.items[name].tolist() == (images()[1] == 0).tolist()
    assert done.metrics[name].value == done.items[name].mean() == pytest.approx(1 / 3)
    assert done.groups.tolist() == images()[1].tolist()
    assert report(OnlyFromSans(), split(), ASKED.model_copy(update={"images": 6}), judges).items == {}  # not all translated


def test_pairs_that_the_judge_confuses_do_not_count(judges):
    pixels, domain, label = images()
    pixels[(domain == 2) & (label == 0), 0, DOMAIN] = 50  # a third of mono looks like serif (40) and not at all like sans (0)
    done = report(Perfect(), split(pixels, domain, label), ASKED, judges)
    assert done.metrics["pairs_counted"].value == 4
    rows = {(row["source"], row["target"]): row for row in done.tables["pairs"]}
    assert rows["serif", "mono"]["told_apart_fonts"] == pytest.approx((1 + 2 / 3) / 2)
    assert rows["sans", "mono"]["both_read_real_letters_fonts"] == pytest.approx(2 / 3)
    counted = [rows[pair]["both_read_real_letters_fonts"] for pair in rows if set(pair) != {"serif", "mono"}]
    assert done.metrics["both_read_real_letters_fonts"].value == pytest.approx(np.mean(counted))
    pixels[:, 0, DOMAIN] = 0
    with pytest.raises(
        ValueError, match=r"evaluate.min_judge_accuracy: fonts tells no two domains apart at 0.9 or better, the best"
    ):
        report(Perfect(), split(pixels, domain, label), ASKED, judges)


def test_fewer_judges_say_less(judges):
    pixels, domain, _ = images()
    unlabelled = figures(report(Perfect(), split(pixels, domain), ASKED, judges))  # nothing to keep
    assert unlabelled["domain_error_fonts"] == 0
    assert not any("letters" in name for name in unlabelled)
    content = figures(report(Perfect(), split(), ASKED, {"content": judges["content"]}))
    assert content["content_kept_letters"] == 1
    assert set(figures(report(Perfect(1), split(pixels, domain), ASKED, {}))) == {"cycle_error", "pairs_counted"}


def test_a_model_of_two_data_sets_is_evaluated_on_the_domains_of_the_view(judges):
    found = figures(report(Perfect(domains=(*DOMAINS, "slab")), split(), ASKED, judges))
    assert (found["pairs_counted"], found["both_read_letters_fonts"]) == (6, 1)


def test_codes_stand_beside_what_chance_gives(judges):
    pixels, domain, label = images(domains=2, copies=20)
    pixels[:, 0, STYLE] = np.random.default_rng(1).integers(0, 256, (len(pixels), 1))
    data, served = (pixels, domain, label, DOMAINS[:2]), Coded(1, DOMAINS[:2])
    done = report(served, split(*data), ASKED, judges)
    found = figures(done)
    assert found["reconstruction_error"] == 0
    assert 0 < found["style_distance_to_normal"] < 0.5
    assert 0 < found["style_distance_of_a_draw"] < 0.5
    assert [row["domain"] for row in done.tables["style_codes"]] == ["sans", "serif"]
    assert abs(found["content_distance"]) < 0.5
    served.leaks = True
    leaking = figures(report(served, split(*data), ASKED, judges))
    assert leaking["content_distance"] > 1
    assert abs(leaking["content_distance_of_halves"]) < 0.5


def test_lpips_names_the_side_that_small_images_are_enlarged_to(tmp_path):
    links = {}
    for role, weights in zip(("alexnet", "lpips"), files(), strict=True):
        (tmp_path / f"{role}.pt").write_bytes(serialise(weights))
        links[role] = Artifact(tmp_path / f"{role}.pt", "")
    pixels, domain, _ = images(domains=2)
    asked, data = ASKED.model_copy(update={"num_inputs": 1, "num_styles": 2}), (pixels, domain, None, DOMAINS[:2])
    found = figures(report(Perfect(1, DOMAINS[:2]), split(*data), asked, links))
    assert found["lpips_at_64"] > 0
    with pytest.raises(ValueError, match="link alexnet: LPIPS stands on two files"):
        report(Perfect(1, DOMAINS[:2]), split(*data), asked, {"alexnet": links["alexnet"]})


@pytest.mark.parametrize(("width", "sheets"), [(0, {"domains"}), (1, {"domains", "styles", "references", "interpolation"})])
def test_sheets_are_drawn_for_what_the_model_can_do(judges, width, sheets):
    pictures = report(Perfect(width), split(), ASKED, {}).pictures
    assert set(pictures) == sheets
    first = pictures["domains"]
    zoom = first.shape[0] // (ASKED.rows * (SIZE + 1))
    assert first.shape == (ASKED.rows * (SIZE + 1) * zoom, 4 * (SIZE + 1) * zoom, 3)
    corner = first[:: (SIZE + 1) * zoom, :: (SIZE + 1) * zoom, 0]  # the pixel of the domain, in every cell
    assert corner[:, 1:].tolist() == [[0, STEP, 2 * STEP]] * ASKED.rows
    if width:
        between = pictures["interpolation"][:: (SIZE + 1) * zoom, STYLE * zoom :: (SIZE + 1) * zoom, 0].astype(int)
        assert (between[:, 2] == between[:, 1]).all()  # begins with the first example's style
        assert (between[:, -2] == between[:, -1]).all()  # and ends with the other's


def test_the_same_twice_and_whatever_is_asked_at_once(judges, monkeypatch):
    first = report(Perfect(1), split(), ASKED, judges)
    monkeypatch.setattr("components.translation.judges.BATCH", 5)
    second = report(Perfect(1), split(), ASKED, judges)
    assert figures(first) == figures(second)
    assert first.tables == second.tables
    assert all(np.array_equal(first.pictures[name], second.pictures[name]) for name in first.pictures)


def test_what_does_not_fit_is_said(judges, tmp_path: Path):
    pixels, domain, label = images()
    with pytest.raises(ValueError, match="has the domains serif, sans; the model was made for sans, serif, mono"):
        report(Perfect(), split(pixels, domain % 2, label, DOMAINS[1::-1]), ASKED, judges)
    few = np.concatenate([np.flatnonzero(domain < 2), [24, 25]])
    with pytest.raises(ValueError, match=r"evaluate.split: test has 2 image\(s\) of domain mono; 4 are needed"):
        report(Perfect(), split(pixels[few], domain[few], label[few]), ASKED, judges)
    strange = {"domains": judge(tmp_path / "animals", DOMAIN, ["cat", "sans"])}
    with pytest.raises(ValueError, match="link domains: animals does not know serif, mono; it knows cat, sans"):
        report(Perfect(), split(), ASKED, strange)


def test_a_renamed_setting_is_told_its_new_name():
    with pytest.raises(SettingsError, match=r"evaluate.told_apart: renamed; it is called 'min_judge_accuracy' now"):
        parse(Settings, {"told_apart": 0.7}, "evaluate")


def test_uint8_batches_give_the_report_of_float_ones(judges):
    pixels, domain, label = images()
    batch = {"image": torch.from_numpy(pixels), "domain": torch.from_numpy(domain), "label": torch.from_numpy(label)}
    whole = split()
    uint8 = Split(
        whole.facts, [{name: tensor[part] for name, tensor in batch.items()} for part in (slice(0, 10), slice(10, None))]
    )
    assert figures(report(Perfect(1), uint8, ASKED, judges)) == figures(report(Perfect(1), whole, ASKED, judges))
