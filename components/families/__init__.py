"""Families: one room each, with recipe, evaluation, served code and networks. ``RECIPES`` is the catalogue."""

RECIPES: dict[str, str] = {
    "classification": "components.families.classification.recipe:Classification",
    "pixelcnn": "components.families.pixelcnn.recipe:PixelCNNRecipe",
    "diffusion": "components.families.diffusion.recipe:Diffusion",
    "noisy_classifier": "components.families.noisy_classifier.recipe:NoisyClassifier",
    "munit": "components.families.munit.recipe:MUNITRecipe",
    "unit": "components.families.unit.recipe:UNITRecipe",
    "stargan": "components.families.stargan.recipe:StarGANRecipe",
    "stargan_v2": "components.families.stargan_v2.recipe:StarGANv2Recipe",
}
