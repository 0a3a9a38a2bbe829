"""Pictures with boxes: COCO, VOC and YOLO, against boxes that are seen in the pixels; from the files to a view."""

import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from components.core import catalogue
from components.core.config.strict import parse
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.prepare import make_view
from components.stages.fetch.formats.boxes import turned
from components.stages.fetch.recognise import recognise
from components.stages.views.view import open_view

NAMES = ["ship", "car"]
WIDTH, HEIGHT = 40, 30


def scenes(count=4):
    """(uint8 [30, 40], (left, upper, right, lower) of the bright rectangle in pixels, its class), ..."""
    rng = np.random.default_rng(0)
    for number in range(count):
        left, upper = rng.integers(1, 12, 2)
        right, lower = left + rng.integers(8, 20), upper + rng.integers(6, 14)
        image = np.full((HEIGHT, WIDTH), 20 + number, np.uint8)
        image[upper:lower, left:right] = 220
        yield image, tuple(map(int, (left, upper, right, lower))), NAMES[number % 2]


def save(path, image, orientation=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(path, exif=exif)


def write_coco(root, orientation=1):
    images, annotations = [], []
    for number, (image, (left, upper, right, lower), name) in enumerate(scenes()):
        save(root / "val2017" / f"{number}.png", image, orientation)
        images.append({"id": number, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT})
        box = [left, upper, right - left, lower - upper]
        annotations.append({"image_id": number, "category_id": 7 + NAMES.index(name), "bbox": box, "iscrowd": 0})
    annotations.append({"image_id": 0, "category_id": 7, "bbox": [0, 0, 5, 5], "iscrowd": 1})
    categories = [{"id": 7 + index, "name": name} for index, name in enumerate(NAMES)]
    (root / "annotations").mkdir()
    content = {"images": images, "categories": categories, "annotations": annotations}
    (root / "annotations/instances_val2017.json").write_text(json.dumps(content))


def voc_xml(name, box, size=(WIDTH, HEIGHT)):
    left, upper, right, lower = box
    corners = f"<xmin>{left}</xmin><ymin>{upper}</ymin><xmax>{right}</xmax><ymax>{lower}</ymax>"
    frame = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>1</depth></size>"
    return f"<annotation>{frame}<object><name>{name}</name><bndbox>{corners}</bndbox></object></annotation>"


def write_voc(root, orientation=1):
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for number, (image, (left, upper, right, lower), name) in enumerate(scenes()):
        save(root / "JPEGImages" / f"{number}.png", image, orientation)
        (root / f"Annotations/{number}.xml").write_text(voc_xml(name, (left + 1, upper + 1, right, lower)))
    (root / "ImageSets/Main/val.txt").write_text("0\n1\n2\n3\n")


def write_yolo(root, orientation=1):
    (root / "labels/val").mkdir(parents=True)
    for number, (image, (left, upper, right, lower), name) in enumerate(scenes()):
        save(root / "images/val" / f"{number}.png", image, orientation)
        box = (left + right) / 2 / WIDTH, (upper + lower) / 2 / HEIGHT, (right - left) / WIDTH, (lower - upper) / HEIGHT
        (root / f"labels/val/{number}.txt").write_text(f"{NAMES.index(name)} {' '.join(map(str, box))}\n")
    (root / "data.yaml").write_text(f"path: /somewhere/else\ntrain:\nval: ../images/val\nnc: 2\nnames: {NAMES}\n")


FORMATS = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo}


def fetch(source, root, out, **settings):
    out.mkdir()
    cls = catalogue.load("source", source, "x")
    cls.fetch(parse(cls.Settings, {"source": source, "path": str(root)} | settings, "datasets.x"), out, 0, out)
    return json.loads((out / "dataset.json").read_text())


def view_of(dataset, out, side=40):
    block = {"dataset": "x", "image_size": side, "channels": 1, "fit": "pad"}
    make_view("v", parse(ViewSettings, block, "views.v"), dataset, out, 0)
    return open_view(out)


def assert_boxes_are_bright(view, split):
    """The box of every picture is where its bright rectangle is, to a pixel."""
    part = view.split(split)
    for image, boxes, mask in zip(part.images, part.moving["boxes"], part.moving["box_mask"], strict=True):
        rows, columns = np.nonzero(image[..., 0] > 120)
        cx, cy, w, h = boxes[0] * 40
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], seen, atol=1)
        assert mask.tolist() == [True]


@pytest.mark.parametrize("source", FORMATS)
def test_boxes_reach_the_view_and_the_format_is_recognised(source, tmp_path):
    FORMATS[source](tmp_path / "p")
    found = recognise(tmp_path / "p")
    assert (found.source, found.faults, found.classes, found.files) == (source, [], None, 4)
    assert (found.splits, found.boxes) == (("validation",), {"ship": 2, "car": 2})
    index = fetch(source, tmp_path / "p", tmp_path / "out", **found.settings)
    assert set(index["classes"]) == {"box_label"}
    view = view_of(tmp_path / "out", tmp_path / "view")
    assert_boxes_are_bright(view, "validation")
    names = view.facts.classes["box_label"]
    assert [names[label] for label in view.split("validation").moving["box_label"][:, 0]] == NAMES * 2
    again = fetch(source, tmp_path / "p", tmp_path / "again", **found.settings)
    assert again == index
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("source", ["coco", "voc"])
def test_boxes_of_stored_pictures_turn_with_the_exif_orientation(source, orientation, tmp_path):
    FORMATS[source](tmp_path / "p", orientation)
    fetch(source, tmp_path / "p", tmp_path / "out")
    assert_boxes_are_bright(view_of(tmp_path / "out", tmp_path / "view"), "validation")


@pytest.mark.parametrize("orientation", [3, 6])
def test_boxes_of_displayed_pictures_stay(orientation, tmp_path):
    """YOLO's tools draw on the displayed picture; COCO's width and height tell where the sides are swapped."""
    root = tmp_path / "p"
    write_yolo(root)
    for path in (root / "images/val").iterdir():
        with Image.open(path) as image:  # stored so that it is displayed as before
            image.load()
            back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
            save(path, np.asarray(image.transpose(back)), orientation)
    fetch("yolo", root, tmp_path / "out")
    assert_boxes_are_bright(view_of(tmp_path / "out", tmp_path / "view"), "validation")
    fetch("yolo", root, tmp_path / "stored", boxes_on="stored")
    turned_view = view_of(tmp_path / "stored", tmp_path / "turned")
    with pytest.raises(AssertionError):
        assert_boxes_are_bright(turned_view, "validation")
    if orientation == 6:
        write_coco(tmp_path / "c")
        for path in (root / "images/val").iterdir():
            path.rename(tmp_path / "c/val2017" / path.name)
        fetch("coco", tmp_path / "c", tmp_path / "coco")
        assert_boxes_are_bright(view_of(tmp_path / "coco", tmp_path / "again"), "validation")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_box_is_that_of_pillows_own_turn(orientation):
    image = np.zeros((20, 30), np.uint8)
    image[3:9, 4:15] = 255
    picture = Image.fromarray(image)
    picture.getexif()[0x0112] = orientation
    shown = np.asarray(ImageOps.exif_transpose(picture))
    rows, columns = np.nonzero(shown)
    height, width = shown.shape
    cx, cy, w, h = turned((4 / 30, 3 / 20, 15 / 30, 9 / 20), orientation)
    seen = [columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height]
    np.testing.assert_allclose([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], seen)


def test_every_wrong_box_is_named_or_clipped(tmp_path, caplog):
    write_voc(tmp_path / "p")
    wrong = {"0": (30, 5, 30, 20), "1": (1, 1, 60, 20), "2": (50, 5, 60, 20), "3": (0, 0, 41, 30)}  # 3: rounding alone
    for name, box in wrong.items():
        left, upper, right, lower = box
        shifted = (left + 1, upper, right, lower) if name == "0" else (left, upper, right, lower)
        (tmp_path / f"p/Annotations/{name}.xml").write_text(voc_xml("car", shifted))
    with pytest.raises(ValueError, match=r"3 faults\n.*0\.xml.* has no area.*\n.*1\.xml.* 40 x 30.*\n.*2\.xml.*not inside"):
        fetch("voc", tmp_path / "p", tmp_path / "out")
    fetch("voc", tmp_path / "p", tmp_path / "clipped", invalid_boxes="clip")
    assert np.load(tmp_path / "clipped/validation.box_image.npy").tolist() == [1, 3]
    assert "1 boxes clipped, 2 left out" in caplog.text


def test_an_empty_split_and_two_pictures_of_one_annotation(tmp_path):
    write_voc(tmp_path / "p")
    (tmp_path / "p/ImageSets/Main/test.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"no pictures in the test split"):
        fetch("voc", tmp_path / "p", tmp_path / "out")
    (tmp_path / "p/JPEGImages/1.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1\.png: 1\.jpg has the same annotation"):
        fetch("voc", tmp_path / "p", tmp_path / "twice")


def test_another_size_than_the_picture_has_is_an_error(tmp_path):
    write_voc(tmp_path / "p")
    (tmp_path / "p/Annotations/2.xml").write_text(voc_xml("car", (1, 1, 9, 9), (80, 60)))
    with pytest.raises(ValueError, match=r"2\.xml: the picture has 40 x 30 pixels, its annotation says 80 x 60"):
        fetch("voc", tmp_path / "p", tmp_path / "out")


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><annotation>&b;</annotation>'


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (BOMB, "a document type .* is refused"),
        (BOMB.encode("utf-16"), "a document type .* is refused"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><annotation/>', "a document type"),
        ("<a>" * 60 + "</a>" * 60, "nested more than 50 deep"),
        ("<annotation>", "not readable as XML"),
        ("<annotation><object><name>x</name></object></annotation>", "object 1: name and bndbox are needed"),
        (voc_xml("car", ("x", 1, 2, 3)), "xmin: 'x' is no number"),
    ],
)
def test_xml_made_to_harm_or_broken(tmp_path, xml, message):
    write_voc(tmp_path / "p")
    (tmp_path / "p/Annotations/1.xml").write_bytes(xml if isinstance(xml, bytes) else xml.encode())
    with pytest.raises(ValueError, match=rf"1\.xml.*{message}"):
        fetch("voc", tmp_path / "p", tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["images"][0].update(file_name="../../secret.png"), r"secret\.png' is no path inside the folder"),
        (lambda c: c["images"][0].update(file_name="9.png"), r"val2017/9\.png: no such file"),
        (
            lambda c: c["annotations"][0].update(bbox=[1, 2, 3, True]),
            r"annotation 0 of 0\.png: the box .* is not \[x, y, w, h\]",
        ),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 3]), r"has no area"),
        (lambda c: c["annotations"][0].update(image_id=99), r"image_id 99 is not listed"),
        (lambda c: c.pop("images"), r"not in COCO's format: no 'images'"),
        (lambda c: c["images"].append(dict(c["images"][0], id=50)), r"two images or two categories have the same name"),
    ],
)
def test_a_wrong_coco_file_is_named(tmp_path, change, message):
    write_coco(tmp_path / "p")
    path = tmp_path / "p/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    files = {"annotations": "annotations/instances_val2017.json", "images": "val2017"}
    with pytest.raises(ValueError, match=message):
        fetch("coco", tmp_path / "p", tmp_path / "out", splits={"validation": files})


def test_captions_with_and_without_boxes(tmp_path):
    write_coco(tmp_path / "p")
    folder = tmp_path / "p/annotations"
    content = json.loads((folder / "instances_val2017.json").read_text())
    told = [{"image_id": i % 4, "caption": f"number {i}"} for i in range(6)]
    (folder / "captions_val2017.json").write_text(json.dumps({"images": content["images"], "annotations": told}))
    texts = [["number 0", "number 4"], ["number 1", "number 5"], ["number 2"], ["number 3"]]
    fetch("coco", tmp_path / "p", tmp_path / "both")
    assert json.loads((tmp_path / "both/validation.text.json").read_text()) == texts
    assert len(np.load(tmp_path / "both/validation.boxes.npy")) == 4
    (folder / "instances_val2017.json").unlink()
    found = recognise(tmp_path / "p")
    assert (found.source, found.captions, found.boxes, found.faults) == ("coco", True, None, [])
    index = fetch("coco", tmp_path / "p", tmp_path / "alone")
    assert (index["classes"], set(index["splits"]["validation"])) == ({}, {"archive", "text"})
    (folder / "captions_val2017.json").write_text(json.dumps({"images": content["images"], "annotations": told[:3]}))
    with pytest.raises(ValueError, match=r"val2017/3\.png has no caption"):
        fetch("coco", tmp_path / "p", tmp_path / "none")


def test_splits_of_coco_with_different_categories(tmp_path):
    write_coco(tmp_path / "p")
    content = json.loads((tmp_path / "p/annotations/instances_val2017.json").read_text())
    content["categories"][0]["name"] = "boat"
    (tmp_path / "p/annotations/instances_train2017.json").write_text(json.dumps(content))
    (tmp_path / "p/train2017").symlink_to("val2017")
    with pytest.raises(ValueError, match=r"the splits have different categories: boat, ship only in some"):
        fetch("coco", tmp_path / "p", tmp_path / "out")


def test_json_that_is_nested_too_deep(tmp_path):
    write_coco(tmp_path / "p")
    (tmp_path / "p/annotations/instances_val2017.json").write_text('{"images": [], "annotations": ' + "[" * 10**5)
    with pytest.raises(ValueError, match=r"instances_val2017\.json: not readable as JSON"):
        fetch("coco", tmp_path / "p", tmp_path / "out")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.2 0.2", r"class 2 is not in names, 0 to 1"),
        ("0 0.5 0.5 0.2", r"the points of a polygon, are expected"),
        ("0 a b c d", r"numbers are expected"),
        ("0 0.5 0.5 1.5 0.2", r"is not inside the picture"),
        ("0 nan 0.5 0.2 0.2", r"has no area"),
    ],
)
def test_a_wrong_yolo_label_is_named_with_its_line(tmp_path, line, message):
    write_yolo(tmp_path / "p")
    (tmp_path / "p/labels/val/1.txt").write_text(line)
    with pytest.raises(ValueError, match=rf"labels/val/1\.txt: '{line}'.*{message}"):
        fetch("yolo", tmp_path / "p", tmp_path / "out")


def test_yolo_polygons_lists_and_pictures_without_labels(tmp_path):
    root = tmp_path / "p"
    write_yolo(root)
    (root / "labels/val/0.txt").write_text("1 0.1 0.2 0.5 0.3 0.2 0.6\n" * 2)  # twice: once
    (root / "labels/val/1.txt").unlink()
    (root / "list.txt").write_text("./images/val/0.png\nimages/val/1.png\n")
    (root / "data.yaml").write_text("val: list.txt\nnames: {0: ship, 1: car}\n")
    fetch("yolo", root, tmp_path / "out")
    np.testing.assert_allclose(np.load(tmp_path / "out/validation.boxes.npy"), [[0.3, 0.4, 0.4, 0.4]], atol=1e-6)
    (root / "list.txt").write_text("../outside.png\nimages/val/7.png\n")
    with pytest.raises(ValueError, match=r"2 faults\n.*line 1: '\.\./outside\.png' is no path.*\n.*line 2.*no such file"):
        fetch("yolo", root, tmp_path / "wrong")


def test_a_link_that_leads_back(tmp_path):
    write_yolo(tmp_path / "p")
    (tmp_path / "p/images/val/loop").symlink_to(".")
    with pytest.raises(ValueError, match=r"loop: a link that leads back to a folder that it is in"):
        fetch("yolo", tmp_path / "p", tmp_path / "out")


def test_layouts_of_roboflow(tmp_path):
    """Everything of a split in one folder: COCO as <split>/_annotations.coco.json, VOC as XML beside the pictures."""
    write_coco(tmp_path / "c")
    (tmp_path / "c/val2017").rename(tmp_path / "c/valid")
    (tmp_path / "c/annotations/instances_val2017.json").rename(tmp_path / "c/valid/_annotations.coco.json")
    (tmp_path / "c/annotations").rmdir()
    write_voc(tmp_path / "v")
    for path in [*(tmp_path / "v/JPEGImages").iterdir(), *(tmp_path / "v/Annotations").iterdir()]:
        (tmp_path / "v/valid").mkdir(exist_ok=True)
        path.rename(tmp_path / "v/valid" / path.name)
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / "v" / folder).rmdir()
    for source, root in (("coco", tmp_path / "c"), ("voc", tmp_path / "v")):
        found = recognise(root)
        assert (found.source, found.splits, found.files, found.faults) == (source, ("validation",), 4, [])
        fetch(source, root, tmp_path / source)
        assert_boxes_are_bright(view_of(tmp_path / source, tmp_path / f"view {source}"), "validation")


def test_real_sets(real_data, tmp_path):
    index = fetch("coco", real_data / "coco_mini", tmp_path / "coco")
    assert len(index["classes"]["box_label"]) == 80
    assert {len(text) for text in json.loads((tmp_path / "coco/train.text.json").read_text())} <= {5, 6, 7}
    assert len(np.load(tmp_path / "coco/validation.boxes.npy")) > 200
    index = fetch("voc", real_data / "bccd", tmp_path / "voc")
    assert index["classes"] == {"box_label": ["Platelets", "RBC", "WBC"]}
    assert set(index["splits"]) == {"train", "validation", "test"}
    with pytest.raises(ValueError, match=r"bccd: 2 faults\n.*00343\.xml.* has no area.*\n.*00338\.xml.* has no area"):
        fetch("voc", real_data / "bccd", tmp_path / "refused", first_pixel=0)  # two boxes of a single pixel
    fetch("voc", real_data / "bccd", tmp_path / "clipped", first_pixel=0, invalid_boxes="clip")
