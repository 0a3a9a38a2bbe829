"""Recognise the roles of the columns of a Hugging Face data set: picture, class, captions, several classes, boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CAPTIONS = ("caption", "captions", "text", "sentences")
LABELS = ("label", "labels", "class", "fine_label")


@dataclass(frozen=True)
class Roles:
    """Columns by role, None for a role that no column has. ``field``: of the image's struct with its bytes, "" without one.

    ``names``: column -> class names by number.
    """

    image: str
    field: str
    label: str | None
    caption: str | None
    labels: str | None
    objects: str | None
    names: dict[str, list[str]]

    def said(self) -> str:
        """Describe which column has which role."""
        given = {"label": self.label, "caption": self.caption, "labels": self.labels, "objects": self.objects}
        return ", ".join(f"{role} from {column!r}" for role, column in ({"image": self.image} | given).items() if column)


def roles_of(features: dict[str, Any], types: dict[str, str], chosen: dict[str, str | None]) -> Roles:
    """Return the roles. ``chosen``: role -> column that the settings name. ValueError for an unknown column or no picture."""
    for role, column in chosen.items():
        if column and column not in types:
            raise ValueError(f"{role}: no column {column!r}; there are {', '.join(types)}")
    names = {column: found for column in types if (found := class_names(features.get(column)))}
    image = chosen["image"] or _image(features, types)
    label = chosen["label"] or _one([c for c in names if _kind(features[c]) == "ClassLabel"], LABELS)
    several = chosen["labels"] or _one([c for c in names if _kind(features[c]) != "ClassLabel" and "list" in types[c]], LABELS)
    return Roles(
        image=image,
        field="bytes" if types[image].startswith("struct") else "",
        label=label or next((c for c in LABELS if types.get(c) in ("int64", "int32", "string")), None),
        caption=chosen["caption"] or next((c for c in CAPTIONS if "string" in types.get(c, "")), None),
        labels=several,
        objects=chosen["objects"] or ("objects" if "bbox" in types.get("objects", "") else None),
        names=names | ({"objects": found} if (found := _category_names(features.get(chosen["objects"] or "objects"))) else {}),
    )


def _image(features: dict[str, Any], types: dict[str, str]) -> str:
    """Return the only column with pictures."""
    declared = [column for column in types if _kind(features.get(column)) == "Image"]
    structs = [column for column, kind in types.items() if kind.startswith("struct") and "bytes: " in kind]
    found = declared or structs or [column for column, kind in types.items() if "binary" in kind]
    if len(found) != 1:
        several = (
            f"several columns with pictures ({', '.join(found)}); image: names one" if found else "no column with pictures"
        )
        raise ValueError(f"{several}; there are {', '.join(types)}")
    return found[0]


def _one(columns: list[str], preferred: tuple[str, ...]) -> str | None:
    """Return the only column, or the preferred one of several."""
    return columns[0] if len(columns) == 1 else next((name for name in preferred if name in columns), None)


def _kind(feature: Any) -> str:
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def class_names(feature: Any) -> list[str]:
    """Return the names of a ClassLabel, also of a list of them; empty for another feature."""
    if isinstance(feature, list):
        return class_names(feature[0]) if feature else []
    if not isinstance(feature, dict):
        return []
    if isinstance(feature.get("names"), list):
        return [str(name) for name in feature["names"]]
    return class_names(feature.get("feature"))


def _category_names(feature: Any) -> list[str]:
    """Return the class names of the boxes, whose feature is a list of structs or a struct of lists."""
    inner = feature[0] if isinstance(feature, list) and feature else feature
    inner = inner.get("feature", inner) if isinstance(inner, dict) else {}
    found = (class_names(inner.get(key)) for key in ("category", "categories", "label", "labels", "category_id"))
    return next((names for names in found if names), []) if isinstance(inner, dict) else []
