"""Families: one room each, with recipe, evaluation, served code and networks. ``RECIPES`` is the catalogue.

In a room, ``recipe.py`` holds the networks' training and their export, ``evaluation.py`` the metrics: its class ``Settings`` is
the run's ``evaluate`` block, its function ``evaluate`` measures what is served, an optional ``check(settings, view, linked)``
raises ValueError before any work. ``served.py`` travels with every export.
"""

RECIPES: dict[str, str] = {
    "classification": "components.families.classification.recipe:Classification",
    "clip": "components.families.clip.recipe:CLIPRecipe",
    "limoe": "components.families.limoe.recipe:LIMoERecipe",
    "pixelcnn": "components.families.pixelcnn.recipe:PixelCNNRecipe",
    "diffusion": "components.families.diffusion.recipe:Diffusion",
    "noisy_classifier": "components.families.noisy_classifier.recipe:NoisyClassifier",
    "munit": "components.families.munit.recipe:MUNITRecipe",
    "unit": "components.families.unit.recipe:UNITRecipe",
    "stargan": "components.families.stargan.recipe:StarGANRecipe",
    "stargan_v2": "components.families.stargan_v2.recipe:StarGANv2Recipe",
    "stargan_vc": "components.families.stargan_vc.recipe:StarGANVCRecipe",
    "acvae_vc": "components.families.acvae_vc.recipe:ACVAERecipe",
    "simmim": "components.families.simmim.recipe:SimMIMRecipe",
    "stylegan2": "components.families.stylegan2.recipe:StyleGAN2Recipe",
    "detr": "components.families.detr.recipe:DETRRecipe",
}
