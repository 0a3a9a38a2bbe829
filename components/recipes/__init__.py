"""One file a family. ``RECIPES`` is the seam: a recipe named ``x`` stands in ``components/recipes/x.py``, its served code in ``served/x.py``."""

RECIPES: dict[str, str] = {
    "classification": "components.recipes.classification:Classification",
}
