"""One file a family. ``RECIPES`` is the seam: recipe ``x`` stands in ``x.py``, its served code in ``served/x.py``."""

RECIPES: dict[str, str] = {
    "classification": "components.recipes.classification:Classification",
    "pixelcnn": "components.recipes.pixelcnn:PixelCNNRecipe",
    "diffusion": "components.recipes.diffusion:Diffusion",
    "noisy_classifier": "components.recipes.noisy_classifier:NoisyClassifier",
    "munit": "components.recipes.munit:MUNITRecipe",
    "unit": "components.recipes.unit:UNITRecipe",
    "stargan": "components.recipes.stargan:StarGANRecipe",
    "stargan_v2": "components.recipes.stargan_v2:StarGANv2Recipe",
}
