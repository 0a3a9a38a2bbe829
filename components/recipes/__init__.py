"""One file a family. ``RECIPES`` is the seam: recipe ``x`` stands in ``x.py``, its served code in ``served/x.py``."""

RECIPES: dict[str, str] = {
    "classification": "components.recipes.classification:Classification",
    "pixelcnn": "components.recipes.pixelcnn:PixelCNNRecipe",
    "diffusion": "components.recipes.diffusion:Diffusion",
    "noisy_classifier": "components.recipes.noisy_classifier:NoisyClassifier",
}
